"""Loading polygons: other forms are kept, or reported."""

import numpy as np
import pytest
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.dataset import Compose
from pycocotools import mask as coco_mask

from polarseg.datasets.transforms import LoadPolygonAnnotations
from polarseg.registry import TRANSFORMS

HEIGHT, WIDTH = 40, 60
POLYGON = [[10, 8, 30, 8, 30, 29, 10, 29]]


def run_lengths(compressed=True):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:15, 20:50] = 1
    if not compressed:
        counts = [20 * HEIGHT + 5, *([10, HEIGHT - 10] * 29), 10, HEIGHT - 15 + 10 * HEIGHT]
        return dict(size=[HEIGHT, WIDTH], counts=counts), mask
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=[HEIGHT, WIDTH], counts=rle['counts'].decode()), mask


def results_of(*masks, ignore=()):
    instances = [
        dict(bbox=[8, 8, 31, 30], bbox_label=i, ignore_flag=int(i in ignore), mask=mask)
        for i, mask in enumerate(masks)
    ]
    return dict(
        instances=instances,
        ori_shape=(HEIGHT, WIDTH),
        img_shape=(HEIGHT, WIDTH),
        img_id=17,
        img=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
    )


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'polarseg.datasets.skip_log.print_log', lambda text, **_: lines.append(text)
    )
    return lines


def test_polygons_stay_polygons(log):
    parts = [[1.5, 2, 9, 2, 9, 7.25], [20.0, 20, 30, 20, 30, 31]]
    results = LoadPolygonAnnotations()(results_of(POLYGON, parts))
    masks = results['gt_masks']
    assert isinstance(masks, PolygonMasks)
    assert [[part.tolist() for part in instance] for instance in masks.masks] == [POLYGON, parts]
    assert results['gt_bboxes'].tensor.shape == (2, 4)
    assert results['gt_bboxes_labels'].tolist() == [0, 1]
    assert results['gt_ignore_flags'].tolist() == [False, False]
    assert not log


def test_whole_numbers_are_not_truncated_on_a_resize():
    steps = Compose(
        [
            LoadPolygonAnnotations(),
            TRANSFORMS.build(dict(type='ShortestEdgeResize', scales=[50])),
        ]
    )
    (part,) = steps(results_of(POLYGON))['gt_masks'].masks[0]
    np.testing.assert_allclose(part, np.array(POLYGON[0]) * 1.25)
    assert (part % 1).any()


@pytest.mark.parametrize('compressed', [True, False])
def test_a_picture_with_run_lengths_gets_bitmaps_and_keeps_every_instance(log, compressed):
    rle, mask = run_lengths(compressed)
    results = LoadPolygonAnnotations()(results_of(POLYGON, rle))
    masks = results['gt_masks']
    assert isinstance(masks, BitmapMasks)
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(POLYGON, HEIGHT, WIDTH)))
    np.testing.assert_array_equal(masks.masks, np.stack([drawn, mask]))
    assert not results['gt_ignore_flags'].any()
    assert not log


def test_a_crowds_run_lengths_do_not_count(log):
    results = LoadPolygonAnnotations()(results_of(POLYGON, run_lengths()[0], ignore=[1]))
    assert isinstance(results['gt_masks'], PolygonMasks)
    assert results['gt_ignore_flags'].tolist() == [False, True]
    assert not log


def test_an_instance_without_a_polygon_is_ignored_logged_and_counted(log):
    load = LoadPolygonAnnotations()
    results = load(results_of([[1, 2, 3, 4]], POLYGON))
    assert results['gt_ignore_flags'].tolist() == [True, False]
    assert dict(load.skips.counts) == {'no usable polygon or run lengths': 1}
    assert len(log) == 1
    for part in ('LoadPolygonAnnotations', 'instance 0', 'image 17'):
        assert part in log[0]


def test_no_instances():
    results = LoadPolygonAnnotations()(results_of())
    assert len(results['gt_masks']) == len(results['gt_bboxes']) == 0
    assert isinstance(results['gt_masks'], PolygonMasks)


def test_box_type_and_other_arguments_are_passed_on():
    load = LoadPolygonAnnotations(box_type=None)
    assert isinstance(load(results_of(POLYGON))['gt_bboxes'], np.ndarray)
    assert 'LoadPolygonAnnotations(LoadAnnotations(' in repr(load)
