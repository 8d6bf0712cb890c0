"""Contours of instances and their mass centres.

PolarMask (arXiv 1909.13226), section 3.2: the rays of an instance end on its contour, and the mass
centre decides which locations answer for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polarseg import ops
from polarseg.structures.indexing import InstanceIndex, chosen_rows

__all__ = [
    'PackedContours',
    'largest_contour',
    'largest_contours',
    'mass_center',
    'mass_centers',
    'thin_contour',
]

EXTREMES = np.minimum, np.maximum


def largest_contour(mask: np.ndarray) -> np.ndarray | None:
    """The contour that stands for an instance: the one with the largest enclosed area.

    Every border pixel is a point. Of several components only the one that encloses most counts, and
    holes in it are ignored, as in the published models. Among equals the one wins whose first
    pixel comes last, row by row, as OpenCV lists it first.

    Args:
        mask: ``[H, W]`` uint8 or bool, non-zero inside the instance.

    Returns:
        ``[P, 2]`` float32 x, y in pixels, or None where the mask is empty.
    """
    return largest_contours(np.asarray(mask)[None])[0]


def largest_contours(masks: np.ndarray) -> list[np.ndarray | None]:
    """:func:`largest_contour` of each mask, by :func:`polarseg.ops.largest_contours`.

    Args:
        masks: ``[G, H, W]`` uint8 or bool, non-zero inside the instances.
    """
    if masks.dtype == bool:
        masks = np.ascontiguousarray(masks).view(np.uint8)
    masks = np.require(masks, np.uint8, ['C', 'W'])  # torch warns of what it may not write to
    points, offsets = ops.largest_contours(torch.from_numpy(masks))
    contours = np.split(points.numpy(), offsets[1:-1].numpy()) if len(masks) else []
    return [contour if len(contour) else None for contour in contours]


def thin_contour(contour: np.ndarray, keep: int = 360) -> np.ndarray:
    """Keep every (n // keep)-th point of a contour of n > keep points (the legacy FastLoader).

    Between ``keep`` and ``2 * keep - 1`` points remain; shorter contours come back unchanged.

    Raises:
        ValueError: if ``keep`` is below 3.
    """
    if keep < 3:
        raise ValueError(f'a contour cannot be thinned to fewer than 3 points, got keep={keep}')
    count = len(contour)
    return contour[:: count // keep] if count > keep else contour


def mass_center(contour: np.ndarray, truncate: bool = True) -> tuple[float, float]:
    """Area centroid of the polygon through the contour's points; see :func:`mass_centers`.

    Args:
        contour: ``[P, 2]`` x, y, P at least 1.
        truncate: as for :func:`mass_centers`.

    Returns:
        x and y in pixels.

    Raises:
        ValueError: if the contour has no point.
    """
    x, y = mass_centers([contour], truncate)[0].tolist()
    return x, y


def mass_centers(contours: Sequence[np.ndarray], truncate: bool = True) -> np.ndarray:
    """Area centroids of the polygons through the points of some contours.

    The sum over the vertices is sequential in float64 (``np.bincount``), since the truncation below
    makes the last bit visible: where the true centroid of a symmetric shape is a whole number, the
    order of summation decides which integer comes out. Pairwise summation (``np.sum``) would differ
    from the published centres.

    Args:
        contours: G arrays ``[P_g, 2]`` x, y, every P_g at least 1.
        truncate: cut both coordinates to whole pixels towards zero, as the published models do.
            False keeps the sub-pixel centroid.

    Returns:
        ``[G, 2]`` float64 x, y in pixels. A contour without area (a line, a single pixel), or one
        that crosses itself so that its centroid leaves the box around it, gives the mean of its
        points. The centre may lie outside the shape (crescents, rings).

    Raises:
        ValueError: if a contour has no point.
    """
    if not contours:
        return np.zeros((0, 2))
    sizes = np.array([len(contour) for contour in contours])
    if not sizes.all():
        raise ValueError('the mass centre of a contour without points does not exist')
    ends = np.cumsum(sizes)
    starts = ends - sizes
    x, y = np.ascontiguousarray(np.concatenate(contours).T, dtype=np.float64)
    x_before, y_before = np.empty_like(x), np.empty_like(y)
    for own, before in ((x, x_before), (y, y_before)):
        before[1:] = own[:-1]
        before[starts] = own[ends - 1]
    slices = (x * y_before - y * x_before) / 2.0
    moments = np.stack([slices, slices * (x + x_before) / 3.0, slices * (y + y_before) / 3.0])
    instance = np.repeat(np.arange(len(sizes)), sizes)
    sums = np.stack([np.bincount(instance, moment) for moment in moments])
    with np.errstate(divide='ignore', invalid='ignore'):
        centers = (sums[1:] / sums[0]).T
    corners = [np.stack([f.reduceat(x, starts), f.reduceat(y, starts)], -1) for f in EXTREMES]
    # an area that is rounding alone, or that cancels out, throws the quotient anywhere
    good = ((corners[0] <= centers) & (centers <= corners[1])).all(axis=1)
    for g in np.flatnonzero(~good):
        own = slice(starts[g], ends[g])
        centers[g] = x[own].mean(), y[own].mean()
    return np.trunc(centers) if truncate else centers


@dataclass
class PackedContours:
    """The contours of G instances in two tensors, as ``polarseg.ops.polar_ray_targets`` takes them.

    It is indexed by instance like a list (integer arrays, masks, slices), so that it can stand in
    an ``InstanceData`` beside boxes and labels.

    Attributes:
        points: ``[P, 2]`` float32 x, y of all contours, one after the other, pixels.
        offsets: ``[G + 1]`` int64; contour g is ``points[offsets[g]:offsets[g + 1]]``.
    """

    points: Tensor
    offsets: Tensor

    @classmethod
    def from_list(cls, contours: Iterable[np.ndarray]) -> 'PackedContours':
        """Pack ``[P_g, 2]`` arrays, float32 after packing. No contour at all is allowed."""
        arrays = [np.asarray(contour, dtype=np.float32).reshape(-1, 2) for contour in contours]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        points = np.concatenate(arrays) if arrays else np.zeros((0, 2), np.float32)
        return cls(torch.from_numpy(points), torch.from_numpy(offsets))

    @classmethod
    def cat(cls, parts: Sequence['PackedContours']) -> 'PackedContours':
        """One pack of all contours of several packs, in their order, on the device of the first."""
        if not parts:
            return cls.from_list([])
        if len(parts) == 1:
            return parts[0]
        lengths = torch.cat([part.offsets.diff() for part in parts])
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return cls(torch.cat([part.points for part in parts]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.points.split(self.offsets.diff().tolist()))

    def __getitem__(self, index: InstanceIndex) -> 'PackedContours':
        contours = list(self)
        kept = [contours[row] for row in chosen_rows(index, len(self)).tolist()]
        lengths = self.offsets.new_tensor([0, *map(len, kept)])
        points = torch.cat(kept) if kept else self.points[:0]
        return PackedContours(points, lengths.cumsum(0))

    def to(self, device: torch.device | str, **kwargs: bool) -> 'PackedContours':
        """Move both tensors to a device; ``kwargs`` are ``Tensor.to``'s (``non_blocking``)."""
        return PackedContours(self.points.to(device, **kwargs), self.offsets.to(device, **kwargs))

    def numpy(self) -> list[np.ndarray]:
        """The contours as a list of ``[P_g, 2]`` float32 arrays."""
        return [contour.cpu().numpy() for contour in self]
