"""paste_masks_to_rle against mmdet's pasting and torch's interpolate, encoded by pycocotools."""

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from pycocotools import mask as coco_mask
from torch.nn import functional

from polarseg.ops import paste_masks_to_rle

RULES = ('half_pixel', 'integer_box')


# ---- references ----------------------------------------------------------------------------------


def encoded(pixels):
    return coco_mask.encode(np.asfortranarray(np.asarray(pixels, dtype=np.uint8)))


def empty(height, width):
    return encoded(np.zeros((height, width)))


def pasted_by_mmdet(mask, box, height, width, threshold):
    pixels = torch.zeros(height, width, dtype=torch.bool)
    try:
        part, region = _do_paste_mask(mask[None, None], box[None], height, width, skip_empty=True)
    except RuntimeError:  # the box lies beside the picture: torch.arange refuses
        return empty(height, width)
    pixels[region] = part[0] >= threshold
    return encoded(pixels)


def pasted_by_interpolate(mask, box, height, width, threshold):
    rows, columns = mask.shape
    half = (box[2:] - box[:2]) * 0.5
    centre = (box[2:] + box[:2]) * 0.5
    half = torch.stack([half[0] * ((columns + 2) / columns), half[1] * ((rows + 2) / rows)])
    x1, y1, x2, y2 = torch.cat([centre - half, centre + half]).int().tolist()
    size = (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
    ringed = functional.pad(mask, (1, 1, 1, 1))[None, None]
    resized = functional.interpolate(ringed, size=size, mode='bilinear', align_corners=False)
    pixels = torch.zeros(height, width, dtype=torch.bool)
    left, right, top, bottom = max(x1, 0), min(x2 + 1, width), max(y1, 0), min(y2 + 1, height)
    if left < right and top < bottom:
        part = resized[0, 0, top - y1 : bottom - y1, left - x1 : right - x1]
        pixels[top:bottom, left:right] = part > threshold
    return encoded(pixels)


REFERENCES = {'half_pixel': pasted_by_mmdet, 'integer_box': pasted_by_interpolate}


# ---- masks and boxes -----------------------------------------------------------------------------


def random_masks(generator, kind, rows, columns):
    values = torch.rand(rows, columns, generator=generator)
    return {
        'random': values,
        'quarters': (values * 4).round() / 4,  # means at exactly the threshold are common
        'binary': (values > 0.5).float(),
        'saturated': (values * 2 - 0.5).clamp(0, 1),
    }[kind]


def random_box(generator, kind, height, width):
    corner = torch.rand(2, generator=generator) * torch.tensor([width, height])
    extent = torch.rand(2, generator=generator) * 60 + 0.5
    box = torch.cat([corner, corner + extent])
    steps = torch.randint(-2, 3, (4,), generator=generator)
    return {
        'real': box,
        'whole': box.round(),
        'halves': (box * 2).round() / 2,
        'power': torch.cat([corner.round(), corner.round() + 2.0 ** steps[:2].abs() * 14]),
        'over the border': torch.cat([corner - extent, corner + extent]),
        'large': torch.cat([corner - extent * 9, corner + extent * 9]),
        'tiny or turned': torch.cat([corner, corner]) + steps * 0.25,
        'anywhere': torch.rand(4, generator=generator) * 300 - 100,
        'point': torch.cat([corner.round(), corner.round()]),
    }[kind]


MASKS = ['random', 'quarters', 'binary', 'saturated']
BOXES = [
    *('real', 'whole', 'halves', 'power', 'over the border', 'large', 'tiny or turned'),
    *('anywhere', 'point'),
]
SIZES = [(28, 28), (14, 14), (56, 56), (7, 7), (3, 5), (1, 1)]


# ---- identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('mask_kind', MASKS)
@pytest.mark.parametrize('box_kind', BOXES)
def test_pasting_is_the_references_byte_for_byte(rule, mask_kind, box_kind):
    generator = torch.Generator().manual_seed(1)
    for turn in range(36):
        height, width = torch.randint(1, 90, (2,), generator=generator).tolist()
        mask = random_masks(generator, mask_kind, *SIZES[turn % len(SIZES)])
        box = random_box(generator, box_kind, height, width)
        threshold = (0.5, 0.5, 0.25, 0.3, 0.0, 1.0, 0.75)[turn % 7]
        actual = paste_masks_to_rle(mask[None], box[None], height, width, threshold, rule)
        expected = REFERENCES[rule](mask, box, height, width, threshold)
        assert actual == [expected], (box, mask.shape, height, width, threshold)


@pytest.mark.parametrize('rule', RULES)
def test_smooth_masks_on_a_large_picture(rule):
    generator = torch.Generator().manual_seed(2)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 28)] * 2, indexing='ij')
    noise = torch.randn(24, 28, 28, generator=generator) * 0.5
    masks = torch.sigmoid((0.7 - torch.hypot(x, y)) * 12 + noise)
    corners = torch.rand(24, 2, generator=generator) * 350
    boxes = torch.cat([corners, corners + torch.rand(24, 2, generator=generator) * 400 + 9], 1)
    rles = paste_masks_to_rle(masks, boxes, 400, 500, rule=rule)
    for mask, box, rle in zip(masks, boxes, rles, strict=True):
        assert rle == REFERENCES[rule](mask, box, 400, 500, 0.5)
        assert coco_mask.area(rle) == coco_mask.decode(rle).sum() > 0


# ---- conventions ---------------------------------------------------------------------------------


def test_half_pixel_by_hand():
    ones = torch.ones(1, 4, 4)
    pixels = coco_mask.decode(paste_masks_to_rle(ones, torch.tensor([[2.0, 1, 6, 3]]), 5, 8)[0])
    np.testing.assert_array_equal(
        np.argwhere(pixels), [[y, x] for y in (1, 2) for x in range(2, 6)]
    )


def test_rules_treat_the_threshold_itself_differently():
    half = torch.full((1, 4, 4), 0.5)
    box = torch.tensor([[2.0, 2, 10, 10]])
    assert coco_mask.area(paste_masks_to_rle(half, box, 12, 12, 0.5)[0]) > 0
    assert coco_mask.area(paste_masks_to_rle(half, box, 12, 12, 0.5, 'integer_box')[0]) == 0


def test_threshold_zero_takes_the_region_that_mmdet_looks_at():
    rle = paste_masks_to_rle(torch.zeros(1, 4, 4), torch.tensor([[3.0, 4, 6, 8]]), 20, 20, 0.0)[0]
    np.testing.assert_array_equal(
        np.argwhere(coco_mask.decode(rle)), [[y, x] for y in range(3, 9) for x in range(2, 7)]
    )


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize(
    'box',
    [
        [float('nan'), 0, 5, 5],
        [0, 0, 5, float('inf')],
        [-float('inf'), 0, 5, 5],
        [-50, 0, -20, 5],
        [40, 0, 60, 5],
        [0, 40, 5, 60],
        [20, 20, 5, 5],
        [1e30, 1e30, 2e30, 2e30],
    ],
    ids=str,
)
def test_boxes_without_pixels(rule, box):
    rle = paste_masks_to_rle(torch.ones(1, 4, 4), torch.tensor([box]).float(), 30, 30, rule=rule)
    assert rle == [empty(30, 30)]


def test_huge_boxes():
    box = torch.tensor([[-1e30, -1e30, 1e30, 1e30], [-1e6, -1e6, 1e6, 1e6]])
    full = encoded(np.ones((9, 7)))
    assert paste_masks_to_rle(torch.ones(2, 4, 4), box, 9, 7) == [full, full]
    rles = paste_masks_to_rle(torch.ones(2, 4, 4), box, 9, 7, rule='integer_box')
    assert rles == [empty(9, 7), full]  # the first one's pixels are no int32


def test_probabilities_that_are_no_numbers_are_background_where_they_reach():
    masks = torch.ones(1, 8, 8)
    masks[0, 2, 3] = float('nan')
    box = torch.tensor([[0.0, 0, 32, 32]])
    rle = paste_masks_to_rle(masks, box, 32, 32)[0]
    assert rle == pasted_by_mmdet(masks[0], box[0], 32, 32, 0.5)
    corners = 4  # of the picture: they fade into the zeros around
    assert coco_mask.area(rle) == 32 * 32 - 8 * 8 - corners


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize('rule', RULES)
def test_batch_equals_single_masks_and_threads_do_not_matter(rule):
    generator = torch.Generator().manual_seed(3)
    masks = torch.rand(17, 14, 14, generator=generator)
    boxes = torch.stack([random_box(generator, 'over the border', 60, 80) for _ in range(17)])
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(paste_masks_to_rle(masks, boxes, 60, 80, rule=rule))
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]
    single = [
        paste_masks_to_rle(masks[n : n + 1], boxes[n : n + 1], 60, 80, rule=rule)[0]
        for n in range(17)
    ]
    assert results[0] == single


@pytest.mark.parametrize('rule', RULES)
def test_nothing(rule):
    assert paste_masks_to_rle(torch.zeros(0, 28, 28), torch.zeros(0, 4), 9, 9, rule=rule) == []
    assert paste_masks_to_rle(torch.zeros(0, 0, 0), torch.zeros(0, 4), 9, 9, rule=rule) == []
    box = torch.tensor([[0.0, 0, 4, 4]])
    for height, width in ((0, 5), (5, 0), (0, 0)):
        rle = paste_masks_to_rle(torch.ones(1, 4, 4), box, height, width, rule=rule)
        assert rle == [empty(height, width)]


def test_dtypes_and_layouts():
    generator = torch.Generator().manual_seed(4)
    masks = random_masks(generator, 'quarters', 14, 14)[None]
    boxes = torch.tensor([[3.5, 4, 40, 31.25]])
    expected = paste_masks_to_rle(masks, boxes, 50, 50)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert paste_masks_to_rle(masks.to(dtype), boxes.to(dtype), 50, 50) == expected
    turned = masks.mT.contiguous().mT.requires_grad_()
    assert paste_masks_to_rle(turned, boxes.mT.contiguous().mT, 50, 50) == expected


@pytest.mark.parametrize(
    ('changed', 'error', 'sentence'),
    [
        ({'masks': torch.zeros(2, 1, 4, 4)}, ValueError, r'masks must have shape \(n, r, s\)'),
        ({'masks': torch.zeros(2, 4, 4).bool()}, TypeError, 'masks must be floating-point'),
        ({'masks': torch.zeros(2, 0, 4)}, ValueError, r'must not be of size 0.*\[2, 0, 4\]'),
        ({'boxes': torch.zeros(2, 5)}, ValueError, r'boxes must have shape \(n, 4\)'),
        ({'boxes': torch.zeros(3, 4)}, ValueError, 'one box for each mask, got 3 for 2 masks'),
        ({'boxes': torch.zeros(2, 4).int()}, TypeError, 'boxes must be floating-point'),
        ({'height': -3}, ValueError, 'must not be negative, got -3 and 9'),
        ({'height': 2**30}, ValueError, r'fewer than 2\^31 pixels'),
        ({'threshold': -0.1}, ValueError, 'threshold must be finite and at least 0, got -0.1'),
        ({'threshold': float('nan')}, ValueError, 'threshold must be finite and at least 0'),
        ({'rule': 'cv2'}, ValueError, "'half_pixel' or 'integer_box', got 'cv2'"),
    ],
    ids=str,
)
def test_refusals(changed, error, sentence):
    arguments = {'masks': torch.zeros(2, 4, 4), 'boxes': torch.zeros(2, 4), 'height': 9, 'width': 9}
    with pytest.raises(error, match=sentence):
        paste_masks_to_rle(**(arguments | changed))
