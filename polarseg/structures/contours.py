"""Contours of instances and their mass centres.

PolarMask (arXiv 1909.13226), section 3.2: the rays of an instance end on its contour, and the mass
centre decides which locations answer for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from polarseg.structures.indexing import InstanceIndex, chosen_rows

__all__ = ['PackedContours', 'largest_contour', 'mass_center', 'thin_contour']


def largest_contour(mask: np.ndarray) -> np.ndarray | None:
    """The contour that stands for an instance: the one with the largest enclosed area.

    Every border pixel is a point. Of several components only the one that encloses most counts, and
    holes in it are ignored, as in the published models. Among equals the first found wins.

    Args:
        mask: ``[H, W]`` uint8 or bool, non-zero inside the instance.

    Returns:
        ``[P, 2]`` float32 x, y in pixels, or None where the mask is empty.
    """
    contours, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE
    )
    if not contours:
        return None
    return max(contours, key=cv2.contourArea).reshape(-1, 2).astype(np.float32)


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
    """Area centroid of the polygon through the contour's points.

    The sum over the vertices is sequential in float64 (``np.cumsum``), since the truncation below
    makes the last bit visible: where the true centroid of a symmetric shape is a whole number, the
    order of summation decides which integer comes out. Pairwise summation (``np.sum``) would differ
    from the published centres.

    Args:
        contour: ``[P, 2]`` x, y, P at least 1.
        truncate: cut both coordinates to whole pixels towards zero, as the published models do.
            False keeps the sub-pixel centroid.

    Returns:
        x and y in pixels. A contour without area (a line, a single pixel), or one that crosses
        itself so that its centroid leaves the box around it, gives the mean of its points. The
        centre may lie outside the shape (crescents, rings).

    Raises:
        ValueError: if the contour has no point.
    """
    if len(contour) == 0:
        raise ValueError('the mass centre of a contour without points does not exist')
    x, y = contour.astype(np.float64).T
    x_before, y_before = np.roll(x, 1), np.roll(y, 1)
    slices = (x * y_before - y * x_before) / 2.0
    area = np.cumsum(slices)[-1]
    center = x.mean(), y.mean()
    if area != 0:
        centroid = (
            np.cumsum(slices * (x + x_before) / 3.0)[-1] / area,
            np.cumsum(slices * (y + y_before) / 3.0)[-1] / area,
        )
        # an area that is rounding alone, or that cancels out, throws the quotient anywhere
        if x.min() <= centroid[0] <= x.max() and y.min() <= centroid[1] <= y.max():
            center = centroid
    return (float(int(center[0])), float(int(center[1]))) if truncate else center


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
