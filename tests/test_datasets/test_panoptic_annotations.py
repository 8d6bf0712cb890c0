"""mmdet's loading of panoptic annotations without panopticapi."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoPanopticDataset
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from polarseg.evaluation import CocoPanopticQualityMetric
from polarseg.registry import TRANSFORMS
from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import Category, colors_to_ids, write_panoptic

SHAPE = (40, 60)
# in the file's order, which is that of mmdet's numbers
CATEGORIES = [
    Category(3, 'cat', True),
    Category(17, 'dog', True),
    Category(92, 'sky', False),
    Category(100, 'sea', False),
]
META = dict(
    classes=('cat', 'dog', 'sky', 'sea'), thing_classes=('cat', 'dog'), stuff_classes=('sky', 'sea')
)


@pytest.fixture
def folder(tmp_path):
    """Sky above, sea below, void between; two dogs, one of them in two parts; a crowd of cats."""
    ids = np.zeros(SHAPE, np.int64)
    ids[:18], ids[20:] = 70000, 260
    ids[5:15, 10:20] = 7
    ids[25:30, 5:15] = ids[25:30, 20:30] = 12345
    ids[:5, 50:] = 9
    segments = [
        Segment(70000, 92, False),
        Segment(7, 17, True),
        Segment(260, 100, False),
        Segment(12345, 17, True),
        Segment(9, 3, True, iscrowd=True),
    ]
    write_panoptic(tmp_path / 'truth.json', [(4, 'a.png', PanopticMap(ids, segments))], CATEGORIES)
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((*SHAPE, 3), np.uint8))
    return tmp_path, ids


@pytest.fixture
def loaded(folder):
    with DefaultScope.overwrite_default_scope('polarseg'):
        dataset = CocoPanopticDataset(
            ann_file='truth.json',
            data_root=str(folder[0]),
            data_prefix=dict(img='', seg='truth/'),
            metainfo=META,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations')],
        )
        return dataset[0]


def test_ids_of_colours():
    colors = np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)
    assert colors_to_ids(colors).tolist() == [[1 + 2 * 256 + 3 * 65536, 2**24 - 1]]


def test_boxes_masks_and_labels(folder, loaded):
    ids = folder[1]
    assert loaded['gt_bboxes_labels'].tolist() == [1, 1]
    assert loaded['gt_bboxes'].tensor.tolist() == [[10, 5, 20, 15], [5, 25, 30, 30]]
    for mask, number in zip(loaded['gt_masks'].to_ndarray(), (7, 12345)):
        assert (mask == (ids == number)).all()
    expected = np.full(SHAPE, 255)
    for number, label in ((70000, 2), (260, 3), (7, 1), (12345, 1), (9, 0)):
        expected[ids == number] = label
    assert (loaded['gt_seg_map'] == expected).all()


def test_what_is_loaded_as_mmdets_result_has_full_quality(folder, loaded):
    """The numbers of mmdet's data set are those that the metric reads."""
    joined = loaded['gt_seg_map'].copy()
    joined[joined == 255] = 4
    for instance, mask in enumerate(loaded['gt_masks'].to_ndarray(), start=1):
        joined[mask > 0] += 1000 * instance
    # a prediction for the crowd counts for nothing
    joined[joined == 0] = 3000
    metric = CocoPanopticQualityMetric(str(folder[0] / 'truth.json'))
    metric.dataset_meta = META
    found = PixelData(sem_seg=torch.from_numpy(joined)[None])
    metric.process({}, [dict(img_id=4, pred_panoptic_seg=found)])
    scores = metric.evaluate(1)
    assert [scores[f'coco_panoptic/{name}'] for name in ('PQ', 'PQ_th', 'PQ_st')] == [100] * 3


def test_options_are_mmdets():
    build = TRANSFORMS.build
    transform = build(dict(type='LoadPanopticAnnotations', with_seg=False, with_mask=False))
    assert (transform.with_bbox, transform.with_mask, transform.with_seg) == (True, False, False)
    assert not transform.with_keypoints
