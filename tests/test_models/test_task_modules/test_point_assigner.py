"""PointAssigner against a plain loop written from the papers' words."""

import numpy as np
import pytest
import torch

from polarseg.models.task_modules import PointAssigner
from polarseg.registry import TASK_UTILS

STRIDES = (8, 16, 32)
RANGES = ((-1, 24), (24, 48), (48, 1e8))
SIZE = 96


def grids(height=SIZE, width=SIZE):
    """Locations x = j * s + s // 2 of every level."""
    levels = []
    for stride in STRIDES:
        x, y = (torch.arange(size // stride) * stride + stride // 2 for size in (width, height))
        levels.append(torch.stack(torch.meshgrid(x, y, indexing='xy'), -1).float())
    return levels


def all_points(levels):
    return torch.cat([level.flatten(0, 1) for level in levels])


def slow_assign(levels, boxes, centers, sampling_center, radius, inclusive):
    """One location and one instance after the other."""
    index, distances = [], []
    for points, stride, (low, high) in zip(levels, STRIDES, RANGES):
        for x, y in points.flatten(0, 1).tolist():
            best, best_area, best_sides = -1, float('inf'), [0.0] * 4
            for number, (x1, y1, x2, y2) in enumerate(boxes):
                region = [x1, y1, x2, y2]
                if sampling_center is not None:
                    cx, cy = centers[number]
                    if sampling_center == 'box':
                        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
                    reach = radius * stride
                    region = [
                        max(cx - reach, x1), max(cy - reach, y1),
                        min(cx + reach, x2), min(cy + reach, y2),
                    ]  # fmt: skip
                if not (region[0] < x < region[2] and region[1] < y < region[3]):
                    continue
                sides = [x - x1, y - y1, x2 - x, y2 - y]
                if not low <= max(sides) <= high:
                    continue
                edge = 1 if inclusive else 0
                area = (x2 - x1 + edge) * (y2 - y1 + edge)
                if area < best_area:
                    best, best_area, best_sides = number, area, sides
            index.append(best)
            distances.append(best_sides)
    return index, distances


def random_case(seed):
    """Whole-numbered boxes, so that ties in area and range ends happen, and centres anywhere."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 9)
    corner = rng.integers(-10, 70, (count, 2))
    size = rng.choice([6, 12, 20, 24, 40, 48, 60, 90], (count, 2))
    boxes = np.concatenate([corner, corner + size], 1)
    centers = corner + rng.uniform(0, 1, (count, 2)) * size
    outside = rng.uniform(size=count) < 0.2
    centers[outside] += 30
    return boxes.tolist(), np.trunc(centers).tolist()


@pytest.mark.parametrize('inclusive', [False, True])
@pytest.mark.parametrize(
    ('sampling_center', 'radius'), [('mass', 1.5), ('box', 1.5), ('mass', 0.75), (None, 1.5)]
)
def test_against_the_loop(sampling_center, radius, inclusive):
    positives = 0
    for seed in range(25):
        levels = grids(width=[SIZE, SIZE // 2][seed % 2])
        boxes, centers = random_case(seed)
        assigner = PointAssigner(RANGES, sampling_center, radius, inclusive)
        found = assigner(levels, STRIDES, torch.tensor(boxes).float(), torch.tensor(centers))
        index, sides = slow_assign(levels, boxes, centers, sampling_center, radius, inclusive)
        rows = [row for row, own in enumerate(index) if own >= 0]
        assert found.positive.tolist() == rows
        assert found.gt_index.tolist() == [index[row] for row in rows]
        assert found.distances.tolist() == [sides[row] for row in rows]
        assert torch.equal(found.points, all_points(levels)[rows])
        sizes = torch.tensor([level.shape[:2].numel() for level in levels])
        assert torch.equal(found.level, torch.arange(3).repeat_interleave(sizes)[rows])
        assert found.positive.dtype == found.gt_index.dtype == torch.int64
        positives += len(rows)
    assert positives > 50, 'the cases assign next to nothing'


@pytest.mark.parametrize('sampling_center', ['mass', 'box', None])
def test_a_batch_equals_its_pictures(sampling_center):
    assigner = PointAssigner(RANGES, sampling_center)
    cases = [random_case(seed) for seed in (3, 4, 5)]
    boxes = [torch.tensor(boxes).float() for boxes, _ in cases]
    centers = [torch.tensor(centers).float() for _, centers in cases]
    alone = [assigner(grids(), STRIDES, *case) for case in zip(boxes, centers)]
    # the second picture of four has no instance, and the others' come in any order
    number = torch.cat([torch.full((len(one),), n) for one, n in zip(boxes, (0, 2, 3))])
    shuffled = torch.randperm(len(number), generator=torch.Generator().manual_seed(0))
    boxes, centers = torch.cat(boxes), torch.cat(centers)
    arguments = boxes[shuffled], centers[shuffled], number[shuffled]
    found = assigner(grids(), STRIDES, *arguments, num_pictures=4)
    num_locations = len(all_points(grids()))
    expected = [one.positive + n * num_locations for one, n in zip(alone, (0, 2, 3))]
    assert torch.equal(found.positive, torch.cat(expected))
    for own, other in list(zip(found, zip(*alone)))[2:]:
        assert torch.equal(own, torch.cat(other))
    assert torch.equal(number[shuffled][found.gt_index], found.positive // num_locations)
    starts = (0, len(cases[0][0]), len(cases[0][0]) + len(cases[1][0]))
    expected = torch.cat([one.gt_index + start for one, start in zip(alone, starts)])
    assert torch.equal(boxes[expected], boxes[shuffled][found.gt_index])


def assign(boxes, centers=None, **options):
    options = dict(regress_ranges=RANGES, sampling_center=None) | options
    boxes = torch.tensor(boxes, dtype=torch.float32)
    centers = None if centers is None else torch.tensor(centers, dtype=torch.float32)
    found = PointAssigner(**options)(grids(), STRIDES, boxes, centers)
    gt_index = torch.full((len(all_points(grids())),), -1)
    gt_index[found.positive] = found.gt_index
    return gt_index


def at(gt_index, x, y, level=0):
    """Winner at one location."""
    before = len(all_points(grids()[:level])) if level else 0
    rows = (grids()[level].flatten(0, 1) == torch.tensor([x, y])).all(dim=1).nonzero()
    return gt_index[before + rows.item()].item()


def test_the_smallest_box_wins_and_ties_go_to_the_lower_index():
    large, small = [4, 4, 36, 36], [12, 12, 30, 30]
    assert at(assign([large, small]), 20, 20) == 1
    assert at(assign([small, large]), 20, 20) == 0
    assert at(assign([large, small, small, small]), 20, 20) == 1


def test_inclusive_areas_can_turn_the_order():
    """10 x 20 and 14 x 14: 200 > 196, but 11 * 21 = 231 > 225; 40 x 5 and 14 x 14 turn."""
    flat, square = [0, 17, 40, 22.02], [13, 13, 27, 27.4]
    areas = [40 * 5.02, 14 * 14.4]
    inclusive = [41 * 6.02, 15 * 15.4]
    assert (areas[0] < areas[1]) != (inclusive[0] < inclusive[1])
    assert at(assign([flat, square]), 20, 20) == 0
    assert at(assign([flat, square], inclusive_boxes=True), 20, 20) == 1


def test_strictly_inside_the_region():
    assert at(assign([[4, 4, 20, 20]]), 12, 12) == 0
    assert at(assign([[4, 4, 12, 20]]), 12, 12) == -1
    assert at(assign([[12, 4, 20, 20]]), 12, 12) == -1
    mass = dict(sampling_center='mass', radius=1.0)
    assert at(assign([[0, 0, 30, 30]], [[4, 12]], **mass), 12, 12) == -1
    assert at(assign([[0, 0, 30, 30]], [[4.01, 12]], **mass), 12, 12) == 0


def test_both_ends_of_a_range_belong_to_it():
    box = [12 - 24, 4, 30, 20]  # the left side is 24 away from x = 12
    assert at(assign([box]), 12, 12) == 0
    narrow = ((-1, 8), (24, 48), (48, 1e8))
    box = [24 - 24, 4, 40, 40]
    assert at(assign([box], regress_ranges=narrow), 24, 24, level=1) == 0
    box = [0.1, 0.1, 47.9, 47.9]  # 23.9 at most
    assert at(assign([box], regress_ranges=narrow), 24, 24, level=1) == -1


def test_range_is_measured_to_the_whole_box():
    """A location near the centre of a large object belongs to the level of the box's size."""
    mass = dict(sampling_center='mass')
    found = assign([[0, 0, 96, 96]], [[48, 48]], **mass)
    levels = found.split([points.shape[:2].numel() for points in grids()])
    assert [(level >= 0).any().item() for level in levels] == [False, False, True]


def test_box_center_needs_no_centers_and_mass_center_uses_them():
    box = [[0, 0, 40, 40]]
    by_box = assign(box, sampling_center='box', radius=0.6)
    by_mass = assign(box, [[34, 6]], sampling_center='mass', radius=0.6)
    assert at(by_box, 20, 20) == 0
    assert at(by_mass, 20, 20) == -1
    assert at(by_mass, 36, 4) == -1  # 36 away from the left side, beyond the range
    assert (by_box >= 0).any()


def test_a_mass_center_of_zero_is_like_any_other():
    found = assign([[-20, -20, 20, 20]], [[0, 0]], sampling_center='mass')
    assert at(found, 4, 4) == 0


@pytest.mark.parametrize('shape', [(0, 0), (0, 5), (5, 0)])
def test_a_level_without_locations(shape):
    boxes, centers = random_case(3)
    arguments = STRIDES, torch.tensor(boxes).float(), torch.tensor(centers)
    levels = [torch.zeros(*shape, 2), *grids()[1:]]
    found = PointAssigner(RANGES, 'mass')(levels, *arguments)
    whole = PointAssigner(((-2, -1), *RANGES[1:]), 'mass')(grids(), *arguments)
    assert len(found.positive)
    assert torch.equal(found.positive, whole.positive - len(all_points(grids()[:1])))
    for own, other in list(zip(found, whole))[1:]:
        assert torch.equal(own, other)


@pytest.mark.parametrize('sampling_center', ['mass', 'box', None])
def test_no_instances(sampling_center):
    assigner = PointAssigner(RANGES, sampling_center)
    found = assigner(grids(), STRIDES, torch.zeros(0, 4), torch.zeros(0, 2))
    shapes = [part.shape for part in found]
    assert shapes == [(0,), (0,), (0,), (0, 2), (0, 4)]


@pytest.mark.parametrize('sampling_center', ['mass', 'box', None])
@pytest.mark.parametrize('side', range(4))
def test_a_side_that_is_not_a_number_is_nobodys(sampling_center, side):
    boxes = torch.tensor([[0.0, 0, 40, 40], [0, 0, 40, 40], [30, 30, 10, 10]])
    boxes[0, side] = torch.nan
    centers = torch.tensor([[20.0, 20], [20, 20], [20, 20]])
    assigner = PointAssigner(RANGES, sampling_center)
    found = assigner(grids(), STRIDES, boxes, centers)
    assert len(found.positive) > 0
    assert (found.gt_index == 1).all()
    alone = assigner(grids(), STRIDES, boxes[1:2], centers[1:2])
    assert torch.equal(found.positive, alone.positive)


def test_boxes_without_an_end():
    boxes = torch.tensor([[-torch.inf, -torch.inf, torch.inf, torch.inf]])
    ranges = [(-1, torch.inf)] * 3
    found = PointAssigner(ranges, None)(grids(), STRIDES, boxes)
    assert torch.equal(found.positive, torch.arange(len(all_points(grids()))))


def test_errors():
    with pytest.raises(ValueError, match=r"sampling_center.*'middle'"):
        PointAssigner(sampling_center='middle')
    with pytest.raises(ValueError, match=r'radius.*0'):
        PointAssigner(radius=0)
    assigner = PointAssigner(RANGES, 'mass')
    boxes = torch.zeros(2, 4)
    for centers in (None, torch.zeros(1, 2)):
        with pytest.raises(ValueError, match='TracePolarContours'):
            assigner(grids(), STRIDES, boxes, centers)
    with pytest.raises(ValueError, match='3 levels, 2 strides and 3 regress ranges'):
        assigner(grids(), STRIDES[:2], boxes, torch.zeros(2, 2))
    flat = [level.flatten(0, 1) for level in grids()]
    with pytest.raises(ValueError, match=r'must be a grid .*\(144, 2\)'):
        assigner(flat, STRIDES, boxes, torch.zeros(2, 2))


def test_built_from_a_config():
    assigner = TASK_UTILS.build(dict(type='PointAssigner', sampling_center='mass'))
    assert assigner.regress_ranges[-1] == (512, 1e8)
