"""PackedContours: packing, indexing, and life inside InstanceData."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from polarseg.structures import PackedContours

LENGTHS = [3, 1, 4, 2]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.uniform(0, 100, (length, 2)).astype(np.float32) for length in LENGTHS]


@pytest.fixture
def packed(arrays):
    return PackedContours.from_list(arrays)


def assert_holds(packed, arrays):
    assert len(packed) == len(arrays)
    assert packed.offsets.tolist() == np.cumsum([0, *map(len, arrays)]).tolist()
    assert packed.points.dtype == torch.float32
    assert packed.offsets.dtype == torch.int64
    assert packed.points.shape == (sum(map(len, arrays)), 2)
    for actual, expected in zip(packed.numpy(), arrays):
        np.testing.assert_array_equal(actual, expected)


def test_from_list_keeps_every_contour(packed, arrays):
    assert_holds(packed, arrays)
    assert [len(contour) for contour in packed] == LENGTHS


def test_from_list_takes_lists_integers_and_contours_without_points():
    packed = PackedContours.from_list([[[1, 2], [3, 4]], np.zeros((0, 2)), np.array([[5, 6]])])
    assert_holds(packed, [np.array([[1, 2], [3, 4]]), np.zeros((0, 2)), np.array([[5, 6]])])


def test_without_contours():
    empty = PackedContours.from_list([])
    assert_holds(empty, [])
    assert list(empty) == []
    assert_holds(empty[[]], [])
    assert_holds(empty[torch.zeros(0, dtype=torch.bool)], [])
    assert_holds(PackedContours.cat([]), [])


INDICES = {
    'int': (2, [2]),
    'negative int': (-1, [3]),
    'numpy int': (np.int64(1), [1]),
    'slice': (slice(1, 3), [1, 2]),
    'reversed by list': ([3, 2, 1, 0], [3, 2, 1, 0]),
    'empty slice': (slice(2, 2), []),
    'bool list': ([True, False, False, True], [0, 3]),
    'bool array': (np.array([False, True, True, False]), [1, 2]),
    'nothing by mask': (np.zeros(4, bool), []),
    'int array': (np.array([2, 0, 2]), [2, 0, 2]),
    'empty int array': (np.array([], np.int64), []),
    'empty list': ([], []),
    'bool tensor': (torch.tensor([True, True, False, False]), [0, 1]),
    'int tensor': (torch.tensor([3, 1]), [3, 1]),
    'int32 tensor': (torch.tensor([3, 1], dtype=torch.int32), [3, 1]),
    'scalar tensor': (torch.tensor(2), [2]),
}


@pytest.mark.parametrize('name', INDICES)
def test_indexing(packed, arrays, name):
    index, rows = INDICES[name]
    assert_holds(packed[index], [arrays[row] for row in rows])
    assert_holds(packed, arrays)


@pytest.mark.parametrize('index', [4, -5, [0, 4], np.ones(3, bool)], ids=str)
def test_rows_that_do_not_exist(packed, index):
    with pytest.raises(IndexError):
        packed[index]


def test_cat_keeps_order_and_empty_parts(packed, arrays):
    joined = PackedContours.cat([packed[2:], PackedContours.from_list([]), packed[:1]])
    assert_holds(joined, [arrays[2], arrays[3], arrays[0]])


def test_to(packed, arrays):
    assert_holds(packed.to('cpu', non_blocking=True), arrays)
    moved = packed.to('meta')
    assert moved.points.device.type == moved.offsets.device.type == 'meta'


@pytest.fixture
def instances(packed):
    return InstanceData(labels=torch.arange(4), contours=packed)


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (torch.tensor([True, False, True, False]), [0, 2]),
        (torch.tensor([2, 0]), [2, 0]),
        (np.array([False, True, False, True]), [1, 3]),
        (torch.zeros(4, dtype=torch.bool), []),
        (slice(1, None), [1, 2, 3]),
        (-1, [3]),
    ],
    ids=str,
)
def test_inside_instance_data(instances, arrays, index, rows):
    chosen = instances[index]
    assert chosen.labels.tolist() == rows
    assert_holds(chosen.contours, [arrays[row] for row in rows])


def test_cat_of_instance_data(instances, arrays):
    joined = InstanceData.cat([instances[2:], instances[:2]])
    assert joined.labels.tolist() == [2, 3, 0, 1]
    assert_holds(joined.contours, arrays[2:] + arrays[:2])


def test_instance_data_moves_contours(instances):
    assert instances.to('meta').contours.points.device.type == 'meta'


@pytest.mark.gpu
def test_indexing_on_the_device(packed, arrays):
    on_device = packed.to('cuda')
    for index, rows in INDICES.values():
        chosen = on_device[index.cuda() if isinstance(index, torch.Tensor) else index]
        assert chosen.points.is_cuda
        assert_holds(chosen.to('cpu'), [arrays[row] for row in rows])
