"""Fusion of given masks and a given semantic map."""

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from polarseg.models import PanopticFusion

pytestmark = pytest.mark.golden('blendmask_units')


def test_fusion(case):
    params, arrays = case['units']['panoptic']['params'], case['arrays']
    fusion = PanopticFusion(
        num_things_classes=80,
        instance_score_thr=params['instance_confidence_threshold'],
        overlap_thr=params['overlap_threshold'],
        stuff_area_limit=params['stuff_area_limit'],
    )
    masks = arrays['panoptic_masks']
    instances = InstanceData(
        scores=torch.tensor(params['scores']),
        labels=torch.tensor(params['classes']),
        masks=BitmapMasks(masks, *masks.shape[1:]),
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
