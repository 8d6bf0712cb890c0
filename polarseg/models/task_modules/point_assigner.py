"""THE location to ground truth assignment of all three systems.

FCOS (arXiv 1904.01355), section 3, with centre sampling; PolarMask (arXiv 1909.13226), section 3.2,
samples around the mass centre instead of the box centre.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

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
            points: for each level ``[N_l, 2]`` x, y, pixels of the network input.
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
        parts = [
            self._assign_level(
                level_points,
                self.radius * stride,
                limits,
                bboxes[order],
                centers[order] if self.sampling_center else None,
            )
            for level_points, stride, limits in zip(points, strides, self.regress_ranges)
        ]
        rank = torch.cat([part[0] for part in parts])
        # rank G, no candidate, looks up the -1 behind the order
        gt_index = torch.cat([order, order.new_full((1,), -1)])[rank]
        return PointAssignment(gt_index, torch.cat([part[1] for part in parts]))

    def _areas(self, bboxes: Tensor) -> Tensor:
        edge = 1 if self.inclusive_boxes else 0
        return (bboxes[:, 2] - bboxes[:, 0] + edge) * (bboxes[:, 3] - bboxes[:, 1] + edge)

    @staticmethod
    def _assign_level(
        points: Tensor,
        half_width: float,
        limits: tuple[float, float],
        bboxes: Tensor,
        centers: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Rank of the winner among boxes sorted by area (G for none), and the distances to it."""
        count = len(bboxes)
        if count == 0:
            none = torch.zeros(len(points), dtype=torch.long, device=points.device)
            return none, bboxes.new_zeros(len(points), 4)
        low_corner, high_corner = bboxes[:, :2], bboxes[:, 2:]
        located = points[:, None]
        distances = torch.cat([located - low_corner, high_corner - located], dim=-1)
        if centers is not None:
            low_corner = torch.maximum(centers - half_width, low_corner)
            high_corner = torch.minimum(centers + half_width, high_corner)
        inside = ((located > low_corner) & (located < high_corner)).all(dim=-1)
        largest = distances.amax(dim=-1)
        candidate = inside & (largest >= limits[0]) & (largest <= limits[1])
        ranks = torch.arange(count, device=points.device)
        # amin of ranks, not argmax of candidates: ties of argmax are not settled on every device
        rank = torch.where(candidate, ranks, count).amin(dim=1)
        found = rank.clamp(max=count - 1)[:, None, None].expand(-1, 1, 4)
        own = distances.gather(1, found)[:, 0]
        return rank, torch.where((rank < count)[:, None], own, 0.0)
