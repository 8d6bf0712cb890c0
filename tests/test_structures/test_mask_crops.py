"""Crops of ground-truth masks and the share of an instance inside of a box."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from pycocotools import mask as coco_mask

from polarseg.structures import area_ratios, crop_masks

HEIGHT, WIDTH = 90, 120


def outline(rng, center, radius, corners=9):
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = radius * rng.uniform(0.6, 1.2, corners)
    points = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return points.ravel()


@pytest.fixture
def polygons():
    """Of one, two disjoint and two overlapping parts; of none that has an inside."""
    rng = np.random.default_rng(2)
    parts = [
        [outline(rng, (40, 40), 25)],
        [outline(rng, (30, 60), 15), outline(rng, (90, 30), 20)],
        [outline(rng, (70, 50), 25), outline(rng, (80, 60), 20)],
        [np.array([10.0, 10.0, 30.0, 40.0])],
    ]
    return PolygonMasks(parts, HEIGHT, WIDTH)


@pytest.fixture
def boxes():
    """Eight for each instance; inside, across the border, and some thinner than a pixel."""
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(32, 2, generator=generator) * torch.tensor([90.0, 60]) - 10
    side = torch.rand(32, 2, generator=generator) * 60 + 2
    side[::8, 0] = 0.3
    return torch.cat([corner, corner + side], 1)


@pytest.fixture
def index():
    return torch.arange(4).repeat_interleave(8)


def coco_raster(parts, origin, scale, height, width):
    """pycocotools by itself, one instance at a time."""
    moved = [(np.reshape(part, (-1, 2)) - origin) * scale for part in parts if len(part) >= 6]
    if not moved:
        return np.zeros((height, width), bool)
    rles = coco_mask.frPyObjects([part.ravel().tolist() for part in moved], height, width)
    return coco_mask.decode(coco_mask.merge(rles)).astype(bool)


@pytest.mark.parametrize('size', [28, 56])
@pytest.mark.parametrize('min_side', [0.1, 1])
def test_polygon_crops_are_those_of_coco(polygons, boxes, index, size, min_side):
    crops = crop_masks(polygons, index, boxes, size, min_side=min_side)
    assert crops.shape == (32, size, size)
    assert crops.dtype == torch.bool
    for crop, box, row in zip(crops.numpy(), boxes.numpy(), index):
        scale = size / np.maximum(box[2:] - box[:2], min_side).astype(float)
        expected = coco_raster(polygons.masks[row], box[:2].astype(float), scale, size, size)
        np.testing.assert_array_equal(crop, expected)
    assert crops[:24].any()
    assert not crops[24:].any()


def test_polygon_crops_cover_what_is_inside(polygons, boxes, index):
    """By the distance of each pixel's centre to the outlines, away from them."""
    wide = boxes[:, 2] - boxes[:, 0] > 1
    for crop, box, row in zip(crop_masks(polygons, index, boxes, 28), boxes.numpy(), index):
        if not wide[(boxes.numpy() == box).all(1).argmax()] or row == 3:
            continue
        side = (box[2:] - box[:2]) / 28
        for y in range(0, 28, 3):
            for x in range(0, 28, 3):
                point = tuple((box[:2] + (np.array([x, y]) + 0.5) * side).astype(float))
                depths = [
                    cv2.pointPolygonTest(part.reshape(-1, 1, 2).astype(np.float32), point, True)
                    for part in polygons.masks[row]
                ]
                if min(map(abs, depths)) > 1.5 * side.max():
                    assert crop[y, x] == (max(depths) > 0)


def test_wide_boxes_give_the_crops_of_mmdet(polygons, boxes, index):
    wide = boxes[:, 2] - boxes[:, 0] >= 1
    chosen, rows = boxes[wide], index[wide]
    rows = rows.clamp(max=2)
    expected = polygons.crop_and_resize(chosen.numpy(), (56, 56), rows.numpy()).to_ndarray()
    np.testing.assert_array_equal(crop_masks(polygons, rows, chosen, 56), expected)


def test_bitmap_crops_are_those_of_mmdet(polygons, boxes, index):
    bitmaps = BitmapMasks(polygons[:3].to_ndarray(), HEIGHT, WIDTH)
    rows = index.clamp(max=2)
    expected = bitmaps.crop_and_resize(boxes, (28, 28), rows).to_ndarray()
    crops = crop_masks(bitmaps, rows, boxes, 28)
    np.testing.assert_array_equal(crops, expected)
    assert crops.any()


@pytest.mark.parametrize('kind', ['polygons', 'bitmaps'])
def test_limit_to_the_picture(polygons, index, kind):
    masks = polygons[:3]
    if kind == 'bitmaps':
        masks = BitmapMasks(masks.to_ndarray(), HEIGHT, WIDTH)
    boxes = torch.tensor([[-20.0, -9, 60, 50], [60, 40, 150, 100], [130, 95, 140, 99]])
    inner = torch.tensor([[0.0, 0, 60, 50], [60, 40, WIDTH, HEIGHT], [119, 89, 120, 90]])
    rows = torch.tensor([0, 2, 1])
    limited = crop_masks(masks, rows, boxes, 28, image_size=(HEIGHT, WIDTH))
    assert torch.equal(limited, crop_masks(masks, rows, inner, 28))
    assert not torch.equal(limited, crop_masks(masks, rows, boxes, 28))


def test_a_batch_is_its_single_boxes(polygons, boxes, index):
    bitmaps = BitmapMasks(polygons[:3].to_ndarray(), HEIGHT, WIDTH)
    size = dict(image_size=(HEIGHT, WIDTH))
    functions = [
        lambda i, b: crop_masks(polygons, i, b, 28),
        lambda i, b: crop_masks(bitmaps, i.clamp(max=2), b, 28),
        lambda i, b: area_ratios(polygons, i, b),
        lambda i, b: area_ratios(polygons, i, b, 'first_part', **size),
    ]
    for function in functions:
        single = [function(index[k : k + 1], boxes[k : k + 1]) for k in range(len(boxes))]
        assert torch.equal(function(index, boxes), torch.cat(single))


def test_no_box(polygons):
    none = torch.zeros(0, dtype=torch.long), torch.zeros(0, 4)
    empty = [PolygonMasks([], HEIGHT, WIDTH), BitmapMasks([], HEIGHT, WIDTH), polygons]
    for masks in empty:
        assert crop_masks(masks, *none, 28).shape == (0, 28, 28)
        assert area_ratios(masks, *none).shape == (0,)
        assert area_ratios(masks, *none, 'first_part', (HEIGHT, WIDTH)).shape == (0,)


SQUARE = [np.array([10.0, 10, 30, 10, 30, 30, 10, 30])]
TWO = [*SQUARE, np.array([50.0, 10, 60, 10, 60, 30, 50, 30])]


@pytest.mark.parametrize(
    ('parts', 'box', 'all_parts', 'first_part'),
    [
        (SQUARE, [5, 5, 40, 40], 1.0, 1.0),
        (SQUARE, [20, 5, 40, 40], 0.5, 0.5),
        (SQUARE, [20, 20, 40.9, 40], 0.25, 0.25),
        (SQUARE, [40, 40, 60, 60], 0.0, 0.0),
        # a side of less than a pixel is a canvas of none
        (SQUARE, [20, 10, 20.9, 30], 0.0, 0.0),
        # 400 of 600, and the second part does not count
        (TWO, [5, 5, 40, 40], 2 / 3, 1.0),
        (TWO, [20, 10, 60, 30], 2 / 3, 0.5),
        # parts of the same place are counted twice
        (SQUARE * 2, [20, 5, 40, 40], 0.5, 0.5),
    ],
)
def test_ratios_of_squares(parts, box, all_parts, first_part):
    masks = PolygonMasks([parts], HEIGHT, WIDTH)
    args = masks, torch.tensor([0]), torch.tensor([box], dtype=torch.float32)
    assert area_ratios(*args).tolist() == pytest.approx([all_parts])
    found = area_ratios(*args, 'first_part', (HEIGHT, WIDTH))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([first_part])


def test_only_the_second_rule_exceeds_one(polygons):
    """The whole area is rasterised from another corner: other pixels are at its edge."""
    generator = torch.Generator().manual_seed(4)
    boxes = torch.tensor([8.0, 5, 75, 80]) + torch.rand(40, 4, generator=generator)
    rows = torch.zeros(40, dtype=torch.long)
    assert area_ratios(polygons, rows, boxes).max() <= 1
    ratios = area_ratios(polygons, rows, boxes, 'first_part', (HEIGHT, WIDTH))
    assert 1 < ratios.max() < 1.02
    assert ratios.min() > 0.98


def test_ratios_of_bitmaps(polygons, boxes, index):
    pixels = polygons[:3].to_ndarray()
    bitmaps = BitmapMasks(pixels, HEIGHT, WIDTH)
    rows = index.clamp(max=2)
    x, y = np.arange(WIDTH) + 0.5, np.arange(HEIGHT)[:, None] + 0.5
    found = area_ratios(bitmaps, rows, boxes)
    for ratio, row, (x1, y1, x2, y2) in zip(found, rows, boxes.numpy()):
        inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        assert ratio == (pixels[row] & inside).sum() / pixels[row].sum()
    first = area_ratios(bitmaps, rows, boxes, 'first_part', (HEIGHT, WIDTH))
    assert torch.equal(found, first)


def test_polygons_and_their_bitmaps_agree(polygons, boxes, index):
    bitmaps = BitmapMasks(polygons[:2].to_ndarray(), HEIGHT, WIDTH)
    wide = (boxes[:, 2] - boxes[:, 0] > 20) & (index < 2)
    expected = area_ratios(bitmaps, index[wide], boxes[wide])
    found = area_ratios(polygons, index[wide], boxes[wide])
    assert (found - expected).abs().max() < 0.05


def test_instance_without_an_inside(polygons, boxes):
    rows = torch.full((32,), 3)
    assert not area_ratios(polygons, rows, boxes).any()
    assert not area_ratios(polygons, rows, boxes, 'first_part', (HEIGHT, WIDTH)).any()
    empty = BitmapMasks(np.zeros((1, HEIGHT, WIDTH), np.uint8), HEIGHT, WIDTH)
    assert not area_ratios(empty, rows * 0, boxes).any()


@pytest.mark.parametrize('function', [lambda *a: crop_masks(*a, 28), area_ratios])
def test_bad_input(polygons, boxes, index, function):
    with pytest.raises(TypeError, match='PolygonMasks or BitmapMasks'):
        function(np.zeros((4, HEIGHT, WIDTH)), index, boxes)
    with pytest.raises(ValueError, match=r'index \[K\], got \[32, 4\] and \[31\]'):
        function(polygons, index[:31], boxes)


def test_bad_rules(polygons, boxes, index):
    with pytest.raises(ValueError, match=r"all_parts.*'second_part'"):
        area_ratios(polygons, index, boxes, 'second_part')
    with pytest.raises(ValueError, match='needs image_size'):
        area_ratios(polygons, index, boxes, 'first_part')
