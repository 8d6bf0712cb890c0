"""Instances held as polygons: pixels, RLE, boxes, indexing."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.structures import PolygonInstances, clip_polygon, fill_polygon

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def vertices():
    """Round and self-crossing outlines, some with negative and outer coordinates."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform(-8, 70, (5, 9, 2)).astype(np.float32))


@pytest.fixture
def polygons(vertices):
    return PolygonInstances(vertices, HEIGHT, WIDTH)


def test_pixels_inside_the_picture_are_those_of_cv2(vertices):
    version = tuple(int(part) for part in cv2.__version__.split('.')[:2])
    if (4, 8) <= version < (4, 11):
        pytest.skip('OpenCV 4.8 to 4.10 fills by another rule than was published')
    inside = vertices.clamp(min=0).minimum(torch.tensor([WIDTH - 1.0, HEIGHT - 1.0]))
    masks = PolygonInstances(inside, HEIGHT, WIDTH).to_ndarray()
    assert masks.shape == (5, HEIGHT, WIDTH)
    assert masks.dtype == np.uint8
    for mask, polygon in zip(masks, inside.numpy()):
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(expected, [np.trunc(polygon).astype(np.int32)], 1)
        np.testing.assert_array_equal(mask, expected)
        assert mask.any()


def test_vertices_are_truncated_and_the_outline_is_filled():
    mask = fill_polygon(np.array([[2.9, 3.9], [6.9, 3.2], [6.1, 5.9], [2.2, 5.1]]), 10, 12)
    expected = np.zeros((10, 12), np.uint8)
    expected[3:6, 2:7] = 1
    np.testing.assert_array_equal(mask, expected)
    assert fill_polygon(np.array([[-0.9, -0.9]]), 4, 4).nonzero() == (0, 0)


def test_polygon_without_vertices_fills_nothing():
    assert not fill_polygon(np.zeros((0, 2)), 5, 5).any()


def test_rle_is_the_encoded_mask(polygons):
    for rle, mask in zip(polygons.to_rle(), polygons.to_ndarray(), strict=True):
        assert rle == coco_mask.encode(np.asfortranarray(mask))
        np.testing.assert_array_equal(coco_mask.decode(rle), mask)


def test_boxes(polygons, vertices):
    boxes = polygons.boxes()
    np.testing.assert_array_equal(boxes[:, :2], vertices.numpy().min(axis=1))
    np.testing.assert_array_equal(boxes[:, 2:], vertices.numpy().max(axis=1))


def test_coco_polygons(polygons, vertices):
    segmentations = polygons.to_coco_polygons()
    assert len(segmentations) == 5
    for segmentation, polygon in zip(segmentations, vertices):
        assert segmentation == [polygon.reshape(-1).tolist()]
    square = PolygonInstances(torch.tensor([[[4.0, 4], [20, 4], [20, 30], [4, 30]]]), 40, 40)
    rles = coco_mask.frPyObjects(square.to_coco_polygons()[0], 40, 40)
    assert coco_mask.area(coco_mask.merge(rles)) == 16 * 26
    assert coco_mask.area(square.to_rle()[0]) == 17 * 27


def test_none():
    none = PolygonInstances(torch.zeros(0, 36, 2), HEIGHT, WIDTH)
    assert len(none) == 0
    assert none.to_ndarray().shape == (0, HEIGHT, WIDTH)
    assert none.boxes().shape == (0, 4)
    assert none.to_rle() == none.to_coco_polygons() == []
    assert len(none[[]]) == len(none[torch.zeros(0, dtype=torch.bool)]) == 0


@pytest.mark.parametrize('shape', [(4, 2), (3, 4, 3), (1, 3, 4, 2)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r'\[N, V, 2\]'):
        PolygonInstances(torch.zeros(shape), HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (1, [1]),
        (-1, [4]),
        (np.int64(2), [2]),
        (torch.tensor(3), [3]),
        (slice(1, 3), [1, 2]),
        ([], []),
        ([4, 0], [4, 0]),
        ([True, False, False, False, True], [0, 4]),
        (np.array([2, 2]), [2, 2]),
        (torch.tensor([False, True, False, True, False]), [1, 3]),
        (torch.zeros(0, dtype=torch.long), []),
    ],
    ids=str,
)
def test_indexing(polygons, vertices, index, rows):
    chosen = polygons[index]
    assert torch.equal(chosen.vertices, vertices[rows])
    assert (chosen.height, chosen.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize('index', [5, -6, [0, 9]], ids=str)
def test_instances_that_do_not_exist(polygons, index):
    with pytest.raises(IndexError):
        polygons[index]


def test_iteration_ends(polygons, vertices):
    parts = [part for part, _ in zip(polygons, range(10))]
    assert [part.vertices.tolist() for part in parts] == vertices[:, None].tolist()


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
def test_inside_instance_data(polygons, vertices, index, rows):
    chosen = InstanceData(labels=torch.arange(5), masks=polygons)[index]
    assert chosen.labels.tolist() == rows
    assert torch.equal(chosen.masks.vertices, vertices[rows])
    joined = InstanceData.cat([chosen, chosen])
    assert torch.equal(joined.masks.vertices, vertices[rows + rows])
    assert (joined.masks.height, joined.masks.width) == (HEIGHT, WIDTH)


def test_moving(polygons):
    attached = PolygonInstances(polygons.vertices.clone().requires_grad_() * 2, HEIGHT, WIDTH)
    assert not attached.detach().vertices.requires_grad
    assert attached.to(torch.float64).vertices.dtype == torch.float64
    assert attached.cpu().to_ndarray().any()
    assert InstanceData(masks=polygons).to('meta').masks.vertices.is_meta
    assert repr(polygons) == 'PolygonInstances(5 polygons of 9 vertices, 48x64)'


WINDOW = (10.0, 5.0, 30.0, 25.0)


def even_odd(polygons, xs, ys):
    """Whether points are inside of an odd number of rings, by counting the edges to their right."""
    inside = np.zeros(np.broadcast(xs, ys).shape, bool)
    for polygon in polygons:
        for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0)):
            crosses = (y1 > ys) != (y2 > ys)
            with np.errstate(divide='ignore', invalid='ignore'):
                inside ^= crosses & (xs < x1 + (ys - y1) / (y2 - y1) * (x2 - x1))
    return inside


def shoelace(polygon):
    x, y = np.asarray(polygon).T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def assert_clipped(polygon, window=WINDOW):
    """Inside of the window as before, nothing outside; at random points."""
    parts = clip_polygon(polygon, window)
    rng = np.random.default_rng(5)
    xs, ys = rng.uniform(-5, 45, (2, 4000))
    in_window = (xs > window[0]) & (xs < window[2]) & (ys > window[1]) & (ys < window[3])
    found = np.sum([even_odd([part], xs, ys) for part in parts], axis=0)
    # the parts do not overlap
    np.testing.assert_array_equal(found, even_odd([polygon], xs, ys) & in_window)
    for part in parts:
        assert (part >= window[:2]).all()
        assert (part <= window[2:]).all()
    return parts


@pytest.mark.parametrize('seed', range(25))
@pytest.mark.parametrize('count', [3, 4, 9])
def test_clipped_polygons_are_those_of_points(seed, count):
    assert_clipped(np.random.default_rng(seed).uniform(0, 40, (count, 2)))


def test_a_comb_becomes_its_teeth():
    # three teeth pointing into the window from its left
    comb = [(0, 6), (20, 6), (20, 9), (2, 9), (2, 12), (25, 12), (25, 15), (2, 15), (2, 20)]
    parts = assert_clipped(np.array([*comb, (15.5, 20), (15.5, 24), (0, 24)]))
    assert sorted(shoelace(part) for part in parts) == [5.5 * 4, 10 * 3, 15 * 3]


def test_an_outline_that_touches_itself_keeps_its_hole():
    ring = [(5, 10), (35, 10), (35, 20), (5, 20), (5, 15), (15, 15), (15, 18), (25, 18), (25, 12)]
    ring = np.array([*ring, (15, 12), (15, 15), (5, 15)])
    (part,) = assert_clipped(ring)
    # COCO's rasterisation leaves the hole open, too
    rle = coco_mask.frPyObjects([part.ravel().tolist()], HEIGHT, WIDTH)
    mask = coco_mask.decode(rle)[..., 0]
    assert mask.sum() == 20 * 10 - 10 * 6
    assert not mask[13:17, 16:24].any()


@pytest.mark.parametrize(
    'polygon',
    [
        [(11, 6), (29, 7), (20, 24)],
        [(10, 5), (30, 5), (30, 25), (10, 25)],
        [(11, 6), (29, 24), (29, 6), (11, 24)],  # crosses itself
    ],
)
def test_a_polygon_inside_of_the_window_stays_as_it_is(polygon):
    (part,) = assert_clipped(np.array(polygon, np.float64))
    np.testing.assert_array_equal(part, polygon)


@pytest.mark.parametrize(
    'polygon',
    [
        [(0, 0), (9, 0), (9, 9)],
        [(0, 0), (10, 0), (10, 30), (0, 30)],  # along the border
        [(0, 25), (40, 25), (20, 30)],
        [(30, 10), (40, 10), (40, 20)],
        [(9, 0), (9, 26), (40, 26), (8, 27)],  # around it
        [(12, 7), (20, 7), (16, 7)],  # flat
        [(0, 15), (40, 15), (20, 15)],
        [(12, 7), (12, 7), (12, 7)],
        [(12, 7), (20, 9)],
        [],
    ],
)
def test_nothing_is_left(polygon):
    assert clip_polygon(np.reshape(np.array(polygon, np.float64), (-1, 2)), WINDOW) == []


@pytest.mark.parametrize('polygon', [np.zeros(6), np.full((3, 2), np.nan), np.zeros((3, 3))])
def test_what_is_no_polygon(polygon):
    with pytest.raises(ValueError, match=r'polygon must be \[V, 2\] finite'):
        clip_polygon(polygon, WINDOW)
