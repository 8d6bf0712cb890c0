"""Instances held as polygons: pixels, RLE, boxes, indexing."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.structures import PolygonInstances, fill_polygon

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
