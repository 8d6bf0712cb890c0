"""Targets of a batch against its pictures one by one, and box centerness against the formula."""

import pytest
import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmengine.structures import InstanceData

from polarseg.models.task_modules import PointAssigner, box_centerness, point_targets

STRIDES = (8, 16)
SIZES = [(6, 9), (3, 5)]
LOCATIONS = 6 * 9 + 3 * 5
POINTS = MlvlPointGenerator(STRIDES).grid_priors(SIZES, device='cpu')
ASSIGNER = PointAssigner(regress_ranges=[(-1, 24), (24, 1e8)])


def random_instances(seed, count):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    side = torch.rand(count, 2, generator=generator) * 30 + 6
    labels = torch.randint(0, 4, (count,), generator=generator)
    return InstanceData(bboxes=torch.cat([corner, corner + side], 1), labels=labels)


def targets_of(batch):
    return point_targets(ASSIGNER, POINTS, SIZES, STRIDES, batch, num_classes=4)


@pytest.mark.parametrize('seed', range(5))
def test_a_batch_with_an_empty_picture(seed):
    batch = [random_instances(seed, 3), random_instances(0, 0), random_instances(seed + 50, 5)]
    found = targets_of(batch)
    boxes = torch.cat([instances.bboxes for instances in batch])
    all_labels = torch.cat([instances.labels for instances in batch])
    assert found.labels.shape == (3 * LOCATIONS,)
    assert len(found.positive) > 5
    background = torch.ones(3 * LOCATIONS, dtype=torch.bool)
    background[found.positive] = False
    assert (found.labels[background] == 4).all()
    assert (found.labels[LOCATIONS : 2 * LOCATIONS] == 4).all()
    picture = found.positive // LOCATIONS
    first = torch.tensor([0, 3, 3])[picture]
    last = torch.tensor([3, 3, 8])[picture]
    assert ((first <= found.gt_index) & (found.gt_index < last)).all()
    assert torch.equal(found.labels[found.positive], all_labels[found.gt_index])
    own = boxes[found.gt_index]
    expected = torch.cat([found.points - own[:, :2], own[:, 2:] - found.points], 1)
    assert torch.equal(found.distances, expected)
    assert (found.distances > 0).all()
    location = found.positive % LOCATIONS
    assert torch.equal(found.points, torch.cat(POINTS)[location])
    assert torch.equal(found.strides, torch.where(location < 54, 8.0, 16.0))


@pytest.mark.parametrize('seed', range(3))
def test_each_picture_by_itself(seed):
    batch = [random_instances(seed, 4), random_instances(seed + 9, 2)]
    together = targets_of(batch)
    grids = [level.unflatten(0, size) for level, size in zip(POINTS, SIZES)]
    for picture, instances in enumerate(batch):
        alone = ASSIGNER(grids, STRIDES, instances.bboxes)
        rows = together.positive // LOCATIONS == picture
        assert torch.equal(together.positive[rows] - picture * LOCATIONS, alone.positive)
        assert torch.equal(together.gt_index[rows] - 4 * picture, alone.gt_index)


def test_nothing_at_all():
    found = targets_of([random_instances(0, 0)] * 2)
    assert (found.labels == 4).all()
    assert [len(part) for part in found[1:]] == [0] * 5
    assert found.distances.shape == (0, 4)
    assert box_centerness(found.distances).shape == (0,)


def test_box_centerness():
    distances = torch.rand(100, 4, generator=torch.Generator().manual_seed(0)) * 50 + 0.1
    for (left, top, right, bottom), value in zip(distances.tolist(), box_centerness(distances)):
        horizontal = min(left, right) / max(left, right)
        vertical = min(top, bottom) / max(top, bottom)
        assert value.item() == pytest.approx((horizontal * vertical) ** 0.5, rel=1e-5)
    assert box_centerness(torch.tensor([[3.0, 5, 3, 5]])).item() == 1
