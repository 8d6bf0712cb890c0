"""Fusion of given masks and a given semantic map."""

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from polarseg.models import PanopticFusion
from polarseg.structures import masks_to_rle

pytestmark = pytest.mark.golden('blendmask_units')


class Masks:
    """Masks that can be indexed and give run lengths, as those of our detectors."""

    def __init__(self, masks):
        self.masks = masks

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, index):
        return Masks(self.masks[index])

    def to_rle(self):
        return masks_to_rle(BitmapMasks(self.masks, *self.masks.shape[1:]))


def test_fusion(case):
    params, arrays = case['units']['panoptic']['params'], case['arrays']
    fusion = PanopticFusion(
        num_things_classes=80,
        instance_score_thr=params['instance_confidence_threshold'],
        overlap_thr=params['overlap_threshold'],
        stuff_area_limit=params['stuff_area_limit'],
    )
    instances = InstanceData(
        scores=torch.tensor(params['scores']),
        labels=torch.tensor(params['classes']),
        masks=Masks(arrays['panoptic_masks']),
    )
    found = fusion(instances, torch.from_numpy(arrays['panoptic_semantic']))
    np.testing.assert_array_equal(found.ids, arrays['panoptic_map'])
    published = params['segments_info']
    assert [segment.id for segment in found.segments] == [entry['id'] for entry in published]
    for segment, entry in zip(found.segments, published):
        category = entry['category_id'] + (0 if entry['isthing'] else 79)
        assert (segment.isthing, segment.category_id) == (entry['isthing'], category)
        assert segment.score == entry.get('score')
        assert segment.area == (found.ids == segment.id).sum()
        assert entry.get('area', segment.area) == segment.area
