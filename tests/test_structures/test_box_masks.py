"""Instances held as maps over boxes: pixels, RLE, indexing, and the rooms that show them."""

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.structures import BoxMaskInstances, masks_to_rle

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def maps():
    return torch.rand(5, 14, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def boxes():
    """Inside, over each border, thinner than a pixel."""
    return torch.tensor(
        [
            [3.2, 4.1, 30.7, 40.3],
            [-8.5, 2.0, 20.0, 30.0],
            [40.0, 20.0, 80.0, 60.0],
            [0.0, 0.0, WIDTH, HEIGHT],
            [10.2, 10.1, 10.6, 30.0],
        ]
    )


@pytest.fixture
def masks(maps, boxes):
    return BoxMaskInstances(maps, boxes, HEIGHT, WIDTH)


def test_pixels_are_those_of_mmdet(masks, maps, boxes):
    found = masks.to_ndarray()
    assert found.shape == (5, HEIGHT, WIDTH)
    assert found.dtype == np.uint8
    for index in range(5):
        pasted = _do_paste_mask(maps[index, None, None], boxes[index, None], HEIGHT, WIDTH, False)
        np.testing.assert_array_equal(found[index], pasted[0][0] >= 0.5)
    assert found[:4].any(axis=(1, 2)).all()


def test_rle_is_the_encoded_mask(masks):
    for rle, mask in zip(masks.to_rle(), masks.to_ndarray(), strict=True):
        assert rle == coco_mask.encode(np.asfortranarray(mask))
    assert masks_to_rle(masks) == masks.to_rle()


@pytest.mark.parametrize(
    ('rule', 'threshold', 'filled'),
    [
        ('half_pixel', 0.5, 10 * 8),
        ('half_pixel', 0.51, 0),
        ('integer_box', 0.5, 0),
        ('integer_box', 0.49, 11 * 9),
    ],
)
def test_rule_and_threshold_go_to_the_pasting(rule, threshold, filled):
    """At the threshold itself the rules differ; the last pixel belongs to an integer box."""
    box = torch.tensor([[20.0, 10.0, 30.0, 18.0]])
    even = torch.full((1, 28, 28), 0.5)
    masks = BoxMaskInstances(even, box, HEIGHT, WIDTH, rule=rule, threshold=threshold)
    inner = masks[[0]].cpu().to_ndarray()[0, 11:17, 21:29]
    assert inner.all() if filled else not inner.any()


def test_none():
    none = BoxMaskInstances(torch.zeros(0, 28, 28), torch.zeros(0, 4), HEIGHT, WIDTH)
    assert len(none) == 0
    assert none.to_ndarray().shape == (0, HEIGHT, WIDTH)
    assert none.to_rle() == []
    assert len(none[[]]) == len(none[torch.zeros(0, dtype=torch.bool)]) == 0
    assert len(BoxMaskInstances.cat([none, none])) == 0


@pytest.mark.parametrize(
    ('maps_shape', 'boxes_shape', 'sentence'),
    [
        ((4, 28), (4, 4), r'\[N, R, S\]'),
        ((3, 1, 28, 28), (3, 4), r'\[N, R, S\]'),
        ((3, 28, 28), (2, 4), r'\[3, 4\]'),
        ((3, 28, 28), (3, 5), r'\[3, 4\]'),
    ],
)
def test_wrong_shape(maps_shape, boxes_shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        BoxMaskInstances(torch.zeros(maps_shape), torch.zeros(boxes_shape), HEIGHT, WIDTH)


def test_unknown_rule(maps, boxes):
    with pytest.raises(ValueError, match=r"half_pixel.*'nearest'"):
        BoxMaskInstances(maps, boxes, HEIGHT, WIDTH, rule='nearest')


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (torch.tensor([True, False, True, False, False]), [0, 2]),
        (torch.tensor([3, 1]), [3, 1]),
        (torch.zeros(5, dtype=torch.bool), []),
        (slice(None, 2), [0, 1]),
        (2, [2]),
    ],
    ids=str,
)
def test_inside_instance_data(maps, boxes, index, rows):
    masks = BoxMaskInstances(maps, boxes, HEIGHT, WIDTH, rule='integer_box', threshold=0.25)
    chosen = InstanceData(labels=torch.arange(5), masks=masks)[index]
    assert chosen.labels.tolist() == rows
    joined = InstanceData.cat([chosen, chosen]).masks
    assert torch.equal(joined.probabilities, maps[rows + rows])
    assert torch.equal(joined.boxes, boxes[rows + rows])
    assert (joined.height, joined.width) == (HEIGHT, WIDTH)
    assert (joined.rule, joined.threshold) == ('integer_box', 0.25)


def test_moving(masks):
    attached = BoxMaskInstances(
        masks.probabilities.clone().requires_grad_() * 1, masks.boxes, HEIGHT, WIDTH
    )
    assert attached.to_rle() == masks.to_rle()
    assert not attached.detach().probabilities.requires_grad
    moved = InstanceData(masks=masks).to('meta').masks
    assert moved.probabilities.is_meta
    assert moved.boxes.is_meta
    assert masks.to(torch.float64).boxes.dtype == torch.float64
    assert repr(masks) == 'BoxMaskInstances(5 maps of 14x12, 48x64)'
