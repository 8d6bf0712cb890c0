"""The last step from maps over boxes to final instances."""

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.structures import InstanceData

from polarseg.models.mask_heads import place_box_masks

META = dict(img_shape=(60, 80), ori_shape=(90, 160), scale_factor=(0.5, 60 / 90))
BOXES = torch.tensor(
    [[10.0, 5, 50, 40], [-12, -6, 30, 50], [85, 10, 99, 20], [0, 0, 80, 60], [20, 30, 20, 50]]
)


@pytest.fixture
def found():
    return InstanceData(bboxes=BOXES.clone(), labels=torch.arange(5), anything=torch.rand(5, 2))


@pytest.fixture
def maps():
    return torch.rand(5, 14, 14)


def test_scaled_then_clipped_then_filtered(found, maps):
    placed = place_box_masks(found, maps, META, rescale=True)
    expected = torch.tensor([[20.0, 7.5, 100, 60], [0, 0, 60, 75], [0, 0, 160, 90]])
    torch.testing.assert_close(placed.bboxes, expected)
    assert placed.labels.tolist() == [0, 1, 3]
    assert torch.equal(placed.anything, found.anything[[0, 1, 3]])
    for index, kept in enumerate([0, 1, 3]):
        pasted = _do_paste_mask(maps[kept, None, None], expected[index, None], 90, 160, False)
        np.testing.assert_array_equal(placed.masks.to_ndarray()[index], pasted[0][0] >= 0.5)


def test_in_pixels_of_the_network_input(found, maps):
    placed = place_box_masks(found, maps, META, rescale=False)
    assert placed.bboxes.tolist() == [[10, 5, 50, 40], [0, 0, 30, 50], [0, 0, 80, 60]]
    assert placed.masks.to_ndarray().shape == (3, 60, 80)


def test_without_clipping(found, maps):
    placed = place_box_masks(found, maps, META, False, 'integer_box', 0.25, clip_boxes=False)
    assert torch.equal(placed.bboxes, BOXES)
    assert (placed.masks.rule, placed.masks.threshold) == ('integer_box', 0.25)


def test_inclusive_boxes_end_at_the_last_pixel(found, maps):
    """A box of one column has a width."""
    placed = place_box_masks(found, maps, META, False, inclusive_boxes=True)
    assert placed.labels.tolist() == [0, 1, 2, 3, 4]
    assert placed.bboxes[1].tolist() == [0, 0, 30, 50]
    assert placed.bboxes[2].tolist() == [79, 10, 79, 20]
    assert placed.bboxes[3].tolist() == [0, 0, 79, 59]


def test_the_given_instances_stay_as_they_are(found, maps):
    place_box_masks(found, maps, META, rescale=True)
    assert torch.equal(found.bboxes, BOXES)
    assert 'masks' not in found


def test_none(found, maps):
    placed = place_box_masks(found[:0], maps[:0], META, rescale=True)
    assert len(placed) == 0
    assert placed.masks.to_rle() == []
