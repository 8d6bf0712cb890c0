"""THE location to ground truth assignment of all three systems.

FCOS (arXiv 1904.01355), section 3, with centre sampling; PolarMask (arXiv 1909.13226), section 3.2,
samples around the mass centre instead of the box centre.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from polarseg.registry import TASK_UTILS

__all__ = ['INFINITY', 'PointAssigner', 'PointAssignment']

INFINITY = 1e8
"""Upper end of the last regress range, pixels."""

SAMPLING_CENTERS = ('mass', 'box', None)


class PointAssignment(NamedTuple):
    """Which instance each location answers for.

    Attributes:
        gt_index: ``[N]`` int64 index of the instance, -1 for background.
        distances: ``[N, 4]`` float32 left, top, right, bottom to the sides of that instance's box,
            pixels; zeros for background.
    """

    gt_index: Tensor
    distances: Tensor

    @property
    def positive(self) -> Tensor:
        """``[K]`` int64 indices of the positive locations, ascending."""
        return (self.gt_index >= 0).nonzero(as_tuple=True)[0]


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
    ) -> PointAssignment:
        """Assign the locations of one picture.

        Args:
            points: for each level ``[N_l, 2]`` x, y, pixels of the network input; or a grid
                ``[H_l, W_l, 2]``, whose columns share x and whose rows share y, which is quicker.
            strides: of the levels, pixels.
            bboxes: ``[G, 4]`` x1, y1, x2, y2, pixels of the network input; G may be 0.
            centers: ``[G, 2]`` mass centres, demanded by ``sampling_center='mass'``.

        Returns:
            The assignment of all locations, level after level.

        Raises:
            ValueError: if levels, strides and regress ranges differ in number, or centres are
                missing or do not match the boxes.
        """
        if not len(points) == len(strides) == len(self.regress_ranges):
            raise ValueError(
                f'{len(points)} levels, {len(strides)} strides and {len(self.regress_ranges)} '
                'regress ranges do not match'
            )
        if self.sampling_center == 'mass' and (centers is None or len(centers) != len(bboxes)):
            raise ValueError(
                "sampling_center='mass' needs one mass centre for each box; "
                'the transform TracePolarContours makes them'
            )
        if self.sampling_center == 'box':
            centers = (bboxes[:, :2] + bboxes[:, 2:]) / 2
        order = self._areas(bboxes).argsort(stable=True)
        bboxes, centers = bboxes[order], centers[order] if self.sampling_center else None
        rank, location = self._candidates(points, strides, bboxes, centers)
        located = torch.cat([level_points.reshape(-1, 2) for level_points in points])
        distances = self._distances(located[location], bboxes[rank])
        low, high = self._limits([part.shape[:-1].numel() for part in points], location, located)
        largest = distances.amax(dim=-1)
        in_range = (largest >= low) & (largest <= high)
        # rank G: no candidate. It looks up the -1 behind the order.
        rank = torch.where(in_range, rank, len(order))
        winner = torch.full_like(located[:, 0], len(order), dtype=torch.long)
        winner = winner.scatter_reduce(0, location, rank, 'amin')
        gt_index = torch.cat([order, order.new_full((1,), -1)])[winner]
        positive = (gt_index >= 0).nonzero(as_tuple=True)[0]
        own = located.new_zeros(len(located), 4)
        own[positive] = self._distances(located[positive], bboxes[winner[positive]])
        return PointAssignment(gt_index, own)

    def _areas(self, bboxes: Tensor) -> Tensor:
        edge = 1 if self.inclusive_boxes else 0
        return (bboxes[:, 2] - bboxes[:, 0] + edge) * (bboxes[:, 3] - bboxes[:, 1] + edge)

    def _limits(
        self, level_sizes: Sequence[int], location: Tensor, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Ends of the regress range of some locations, of their numbers over all levels."""
        ends = torch.tensor(level_sizes, device=like.device).cumsum(0)
        level = torch.bucketize(location, ends, right=True)
        low, high = like.new_tensor(self.regress_ranges)[level].unbind(dim=1)
        return low, high

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
    ) -> tuple[Tensor, Tensor]:
        """All pairs of an instance and a location strictly inside its sampling region.

        Rows of locations are tried before the locations of the rows that pass, so that the work is
        far from all instances times all locations.

        Returns:
            ``[K]`` int64 indices of the instances and of the locations over all levels.
        """
        row_tests, column_tests, widths, heights = [], [], [], []
        for level_points, stride in zip(points, strides):
            rows, columns = self._inside(level_points, self.radius * stride, bboxes, centers)
            row_tests.append(rows)
            column_tests.append(columns)
            heights.append(rows.shape[1])
            widths.append(columns.shape[1])
        widest = max(widths)
        columns = torch.stack([F.pad(test, (0, widest - test.shape[1])) for test in column_tests])
        levels = torch.arange(len(points)).repeat_interleave(torch.tensor(heights))
        row_widths = torch.tensor(widths)[levels]
        starts = row_widths.cumsum(0) - row_widths
        levels, starts = levels.to(bboxes.device), starts.to(bboxes.device)

        instance, row = torch.cat(row_tests, dim=1).nonzero(as_tuple=True)
        pair, column = columns[levels[row], instance].nonzero(as_tuple=True)
        return instance[pair], starts[row[pair]] + column

    @staticmethod
    def _inside(
        points: Tensor, half_width: float, bboxes: Tensor, centers: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Which rows, ``[G, H]``, and which columns, ``[G, W]``, are inside the sampling region.

        Locations without a grid are rows of one column each, which is always inside.
        """
        low, high = bboxes[:, :2], bboxes[:, 2:]
        if centers is not None:
            low = torch.maximum(centers - half_width, low)
            high = torch.minimum(centers + half_width, high)
        grid = points.dim() == 3
        x, y = (points[0, :, 0], points[:, 0, 1]) if grid else points.unbind(dim=1)
        columns = (x > low[:, :1]) & (x < high[:, :1])
        rows = (y > low[:, 1:]) & (y < high[:, 1:])
        return (rows, columns) if grid else (rows & columns, torch.ones_like(rows[:, :1]))
