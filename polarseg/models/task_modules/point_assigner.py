"""THE location to ground truth assignment of all three systems.

FCOS (arXiv 1904.01355), section 3, with centre sampling; PolarMask (arXiv 1909.13226), section 3.2,
samples around the mass centre instead of the box centre.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from polarseg.registry import TASK_UTILS

__all__ = ['INFINITY', 'PointAssigner', 'PointAssignment']

INFINITY = 1e8
"""Upper end of the last regress range, pixels."""

SAMPLING_CENTERS = ('mass', 'box', None)


class PointAssignment(NamedTuple):
    """The K positive locations of a batch of B pictures with N locations each.

    Attributes:
        positive: ``[K]`` int64 indices of the locations among the B * N, ascending; all others are
            background.
        gt_index: ``[K]`` int64 the instance that each answers for.
        level: ``[K]`` int64 of each.
        points: ``[K, 2]`` float32 x, y, pixels.
        distances: ``[K, 4]`` float32 left, top, right, bottom to the sides of the instance's box,
            pixels.
    """

    positive: Tensor
    gt_index: Tensor
    level: Tensor
    points: Tensor
    distances: Tensor


class _Candidates(NamedTuple):
    """Pairs of an instance and a location strictly inside its sampling region.

    Attributes:
        instance: ``[K]`` int64.
        location: ``[K]`` int64 index among all locations of one picture.
        level: ``[K]`` int64.
        points: ``[K, 2]`` x, y of the location, pixels.
    """

    instance: Tensor
    location: Tensor
    level: Tensor
    points: Tensor


@TASK_UTILS.register_module()
class PointAssigner:
    """Assigns each location of every level to at most one instance.

    A location is a candidate for an instance if it lies strictly inside the sampling region (the
    square of half width ``radius * stride`` around the centre, each side clipped to the box) and
    if the largest of its distances to the four sides of the whole box lies in the level's regress
    range, both ends included. Among candidates the smallest box area wins; ties go to the lower
    index.

    Args:
        regress_ranges: (low, high) for each level, pixels.
        sampling_center: 'mass' (PolarMask), 'box' (FCOS with centre sampling), or None for every
            location inside the box (FCOS without).
        radius: half width of the sampling region in strides.
        inclusive_boxes: boxes name their last pixel, so areas are ``(w + 1) * (h + 1)``.

    Raises:
        ValueError: for an unknown ``sampling_center`` or a radius that is not positive.
    """

    def __init__(
        self,
        regress_ranges: Sequence[tuple[float, float]] = (
            (-1, 64),
            (64, 128),
            (128, 256),
            (256, 512),
            (512, INFINITY),
        ),
        sampling_center: str | None = 'box',
        radius: float = 1.5,
        inclusive_boxes: bool = False,
    ) -> None:
        if sampling_center not in SAMPLING_CENTERS:
            raise ValueError(
                f'sampling_center must be one of {SAMPLING_CENTERS}, got {sampling_center!r}'
            )
        if radius <= 0:
            raise ValueError(f'radius must be positive, got {radius}')
        self.regress_ranges = tuple(tuple(limits) for limits in regress_ranges)
        self.sampling_center = sampling_center
        self.radius = radius
        self.inclusive_boxes = inclusive_boxes

    def __call__(
        self,
        points: Sequence[Tensor],
        strides: Sequence[float],
        bboxes: Tensor,
        centers: Tensor | None = None,
        picture: Tensor | None = None,
        num_pictures: int = 1,
    ) -> PointAssignment:
        """Assign the locations of a picture, or of a batch of pictures with the same locations.

        The number of operations does not depend on the number of instances and pictures.

        Args:
            points: for each of L levels a grid ``[H_l, W_l, 2]`` of x, y, pixels of the network
                input, whose columns share x and whose rows share y, both ascending.
            strides: of the levels, pixels.
            bboxes: ``[G, 4]`` x1, y1, x2, y2, pixels of the network input; G may be 0.
            centers: ``[G, 2]`` mass centres, demanded by ``sampling_center='mass'``.
            picture: ``[G]`` int64 which picture of the batch each box is in; None for the first.
            num_pictures: B.

        Returns:
            The locations that answer for an instance, counted picture after picture, level after
            level, row by row.

        Raises:
            ValueError: if levels, strides and regress ranges differ in number, a level is no grid,
                or centres are missing or do not match the boxes.
        """
        self._check(points, strides, bboxes, centers)
        if self.sampling_center == 'box':
            centers = (bboxes[:, :2] + bboxes[:, 2:]) / 2
        order = self._areas(bboxes).argsort(stable=True)
        bboxes, centers = bboxes[order], centers[order] if self.sampling_center else None
        rank, location, level, located = self._candidates(points, strides, bboxes, centers)
        distances = self._distances(located, bboxes[rank])
        largest = distances.amax(dim=-1)
        low, high = bboxes.new_tensor(self.regress_ranges)[level].unbind(dim=1)
        in_range = (largest >= low) & (largest <= high)
        num_locations = sum(grid.shape[:2].numel() for grid in points)
        if picture is not None:
            location = location + picture[order][rank] * num_locations
        # the lowest rank wins; G is that of nobody
        rank = torch.where(in_range, rank, len(order))
        winner = rank.new_full((num_pictures * num_locations,), len(order))
        winner.scatter_reduce_(0, location, rank, 'amin')
        won = (in_range & (winner[location] == rank)).nonzero(as_tuple=True)[0]
        positive, place = location[won].sort()
        won = won[place]
        return PointAssignment(positive, order[rank[won]], level[won], located[won], distances[won])

    def _check(
        self,
        points: Sequence[Tensor],
        strides: Sequence[float],
        bboxes: Tensor,
        centers: Tensor | None,
    ) -> None:
        if not len(points) == len(strides) == len(self.regress_ranges):
            raise ValueError(
                f'{len(points)} levels, {len(strides)} strides and {len(self.regress_ranges)} '
                'regress ranges do not match'
            )
        shapes = [tuple(grid.shape) for grid in points]
        if not all(len(shape) == 3 and shape[2] == 2 for shape in shapes):
            raise ValueError(f'each level must be a grid [H, W, 2] of locations, got {shapes}')
        if self.sampling_center == 'mass' and (centers is None or len(centers) != len(bboxes)):
            raise ValueError(
                "sampling_center='mass' needs one mass centre for each box; "
                'the transform TracePolarContours makes them'
            )

    def _areas(self, bboxes: Tensor) -> Tensor:
        edge = 1 if self.inclusive_boxes else 0
        return (bboxes[:, 2] - bboxes[:, 0] + edge) * (bboxes[:, 3] - bboxes[:, 1] + edge)

    @staticmethod
    def _distances(points: Tensor, bboxes: Tensor) -> Tensor:
        """``[K, 4]`` left, top, right, bottom from each point to the sides of its own box."""
        return torch.cat([points - bboxes[:, :2], bboxes[:, 2:] - points], dim=-1)

    def _candidates(
        self,
        points: Sequence[Tensor],
        strides: Sequence[float],
        bboxes: Tensor,
        centers: Tensor | None,
    ) -> _Candidates:
        """All candidates but for the regress ranges.

        The locations of a level inside a sampling region are a rectangle of its grid.
        """
        num_levels = len(points)
        # the first row's x and the first column's y, where a level has any
        lines = [grid[:1, :, 0].flatten() for grid in points]
        lines += [grid[:, :1, 1].flatten() for grid in points]
        lines = pad_sequence(lines, batch_first=True, padding_value=torch.inf)  # [2 L, M]
        low, high = bboxes[None, :, :2], bboxes[None, :, 2:]
        if centers is not None:
            half_width = bboxes.new_tensor([self.radius * stride for stride in strides])
            low = torch.maximum(centers - half_width[:, None, None], low)
            high = torch.minimum(centers + half_width[:, None, None], high)
        low, high = (
            side.expand(num_levels, -1, -1).permute(2, 0, 1).flatten(0, 1).contiguous()
            for side in (low, high)
        )  # [2 L, G]
        # what is not a number would be found behind all lines
        high = high.where(high == high, -torch.inf)
        first = torch.searchsorted(lines, low, right=True)
        counts = (torch.searchsorted(lines, high) - first).clamp(min=0)
        first_column, first_row = first.reshape(2, -1)  # [L * G]
        columns, rows = counts.reshape(2, -1)

        size = columns * rows
        region = torch.repeat_interleave(size)
        inner = torch.arange(len(region), device=region.device) - (size.cumsum(0) - size)[region]
        own_columns = columns[region]
        row = first_row[region] + inner // own_columns
        column = first_column[region] + inner % own_columns
        level, instance = region // max(len(bboxes), 1), region % max(len(bboxes), 1)

        located = torch.stack([lines[level, column], lines[num_levels + level, row]], dim=-1)
        sizes = torch.tensor([grid.shape[:2] for grid in points], device=region.device)
        start = sizes.prod(dim=1).cumsum(0) - sizes.prod(dim=1)
        location = start[level] + row * sizes[level, 1] + column
        return _Candidates(instance, location, level, located)
