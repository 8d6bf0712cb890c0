"""Resizing by the shorter side, against plain Python and Pillow."""
# ruff: noqa: NPY002  (what is tested draws from numpy's global generator)

import math

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from PIL import Image

import polarseg.datasets.transforms as room
from polarseg.datasets.transforms import ShortestEdgeResize
from polarseg.datasets.transforms.shortest_edge_resize import shortest_edge_size


def sizes(count, seed=0):
    """Pictures' sizes (height, width), short sides and longest sides at random."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        height, width = rng.integers(1, 1500, 2).tolist()
        yield (height, width), int(rng.integers(1, 900)), int(rng.integers(200, 1400))


def half_up(number):
    return math.floor(number + 0.5)


def test_half_up_keeps_both_sides_within_half_a_pixel():
    for size, short_side, max_size in sizes(2000):
        ratio = min(short_side / min(size), max_size / max(size))
        found = shortest_edge_size(size, short_side, max_size)
        for side, new in zip(size, found):
            # within rounding noise of the exact product; a side never vanishes
            around = {max(half_up(side * ratio + noise), 1) for noise in (-1e-9, 0, 1e-9)}
            assert new in around
        assert max(found) <= max_size
        assert shortest_edge_size(size[::-1], short_side, max_size) == found[::-1]


def test_truncate_rounds_one_side_and_truncates_the_other():
    for size, short_side, max_size in sizes(2000, seed=1):
        short, long = sorted(size)
        if long * short_side > max_size * short:
            short_side = max(round(max_size * short / long), 1)
        expected = short_side, short_side * long // short
        found = shortest_edge_size(size, short_side, max_size, 'truncate')
        assert found == (expected if size[0] <= size[1] else expected[::-1])


@pytest.mark.parametrize(
    ('size', 'short_side', 'max_size', 'expected'),
    [
        # (height, width): half up, truncated
        ((480, 640), 800, 1333, [(800, 1067), (800, 1066)]),
        ((427, 640), 800, 1333, [(800, 1199), (800, 1199)]),
        ((640, 425), 800, 1333, [(1205, 800), (1204, 800)]),
        ((360, 640), 800, 1333, [(750, 1333), (750, 1333)]),
        ((612, 612), 600, 1000, [(600, 600), (600, 600)]),
        ((333, 500), 600, None, [(600, 901), (600, 900)]),
        ((100, 1000), 600, 1000, [(100, 1000), (100, 1000)]),
        ((3, 2000), 600, 1000, [(2, 1000), (2, 1333)]),
        ((1, 5000), 600, 1000, [(1, 1000), (1, 5000)]),
    ],
)
def test_sizes_by_hand(size, short_side, max_size, expected):
    roundings = ('half_up', 'truncate')
    assert [shortest_edge_size(size, short_side, max_size, r) for r in roundings] == expected


def picture(height=30, width=47, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('short_side', [17, 30, 64])
@pytest.mark.parametrize('rounding', ['half_up', 'truncate'])
def test_picture_is_pillows_own(short_side, rounding):
    image = picture()
    results = ShortestEdgeResize(short_side, 90, rounding=rounding)(dict(img=image))
    height, width = shortest_edge_size((30, 47), short_side, 90, rounding)
    expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(results['img'], expected)
    assert results['img_shape'] == (height, width)
    assert results['scale_factor'] == (width / 47, height / 30)


def annotated():
    return dict(
        img=picture(),
        gt_bboxes=HorizontalBoxes(np.array([[2.0, 3.0, 40.0, 29.0], [-4.0, 0.0, 60.0, 30.0]])),
        gt_masks=PolygonMasks(
            [[np.array([2.5, 3, 40, 3, 21, 29])], [np.array([0.0, 0, 47, 0, 47, 30])] * 2], 30, 47
        ),
    )


@pytest.mark.parametrize('clip', [True, False])
def test_boxes_and_polygons_scale_along_each_axis(clip):
    before = annotated()
    boxes, polygons = before['gt_bboxes'].tensor.numpy().copy(), before['gt_masks'].masks
    resize = ShortestEdgeResize(41, rounding='truncate', clip_object_border=clip)
    results = resize(before)
    height, width = 41, 41 * 47 // 30
    x, y = width / 47, height / 30
    assert x != y
    expected = boxes * [x, y, x, y]
    if clip:
        expected = expected.clip(0, [width, height] * 2)
    np.testing.assert_allclose(results['gt_bboxes'].tensor.numpy(), expected, rtol=1e-6)
    assert (results['gt_masks'].height, results['gt_masks'].width) == (height, width)
    for parts, old in zip(results['gt_masks'].masks, polygons):
        for part, old_part in zip(parts, old, strict=True):
            np.testing.assert_allclose(part.reshape(-1, 2), old_part.reshape(-1, 2) * [x, y])


def test_bitmaps_and_label_maps_get_the_size_of_the_picture():
    masks = np.zeros((2, 30, 47), np.uint8)
    masks[0, 5:20, 8:30] = 1
    labels = np.repeat(np.arange(30, dtype=np.uint8)[:, None], 47, axis=1)
    results = dict(img=picture(), gt_masks=BitmapMasks(masks, 30, 47), gt_seg_map=labels)
    results = ShortestEdgeResize(60)(results)
    assert results['gt_masks'].masks.shape == (2, 60, 94)
    assert results['gt_masks'].masks[0].sum() == 4 * masks[0].sum()
    rows = np.repeat(np.arange(60)[:, None] // 2, 94, axis=1)
    np.testing.assert_array_equal(results['gt_seg_map'], rows)


def test_every_integer_of_a_range_is_drawn_and_nothing_else():
    resize = ShortestEdgeResize([640, 648], sampling='range')
    np.random.seed(0)
    drawn = [resize.draw() for _ in range(400)]
    assert set(drawn) == set(range(640, 649))
    assert ShortestEdgeResize([7, 7], sampling='range').draw() == 7


def test_a_choice_is_among_the_listed_ones():
    scales = [640, 672, 704]
    np.random.seed(0)
    drawn = [ShortestEdgeResize(scales).draw() for _ in range(100)]
    assert set(drawn) == set(scales)


@pytest.mark.parametrize('sampling', ['range', 'choice'])
def test_numpys_seed_decides(sampling):
    resize = ShortestEdgeResize([20, 60], sampling=sampling)
    runs = []
    for _ in range(2):
        np.random.seed(5)
        runs.append([resize(dict(img=picture()))['img_shape'] for _ in range(12)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


def test_one_scale_draws_nothing():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    ShortestEdgeResize([20])(dict(img=picture()))
    assert np.random.rand() == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(scales=[]), 'scales'),
        (dict(scales=[600.5]), '600.5'),
        (dict(scales=[0]), 'scales'),
        (dict(scales=[600], max_size=0), 'max_size'),
        (dict(scales=[600, 800], sampling='uniform'), 'uniform'),
        (dict(scales=[800, 600], sampling='range'), r'\[800, 600\]'),
        (dict(scales=[1, 2, 3], sampling='range'), r'\[1, 2, 3\]'),
        (dict(scales=[600], rounding='floor'), 'floor'),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ShortestEdgeResize(**options)


def test_repr_shows_the_arguments():
    resize = ShortestEdgeResize([6, 8], 9, 'range', 'truncate', False)
    copy = eval(repr(resize), vars(room))
    assert repr(copy) == repr(resize)
    assert vars(copy)['scales'] == [6, 8]
