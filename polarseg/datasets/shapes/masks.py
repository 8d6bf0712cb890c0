"""From a visible mask to a COCO segmentation, and what can be measured on a mask.

Pixels belong to a mask as unit squares: the pixel in column j and row i covers
``[j, j + 1] x [i, i + 1]``, which is how COCO's polygons are rasterised.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_utils

__all__ = [
    'count_parts',
    'encode_mask',
    'has_hole',
    'hidden_share',
    'segmentation_of',
    'tight_box',
    'trace_polygon',
]


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Smallest upright box of a mask.

    Args:
        mask: Boolean array ``[h, w]`` with at least one pixel.

    Returns:
        x, y, width, height in whole pixels.

    Raises:
        ValueError: If the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError('an empty mask has no bounding box')
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Compressed run lengths with text counts, ready for JSON.

    Args:
        mask: Boolean array ``[h, w]``.

    Returns:
        ``{'size': [h, w], 'counts': str}``.
    """
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': [int(v) for v in rle['size']], 'counts': rle['counts'].decode('ascii')}


def _part_areas(mask: np.ndarray) -> np.ndarray:
    """Areas of the 4-connected parts of a mask."""
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)[2]
    return stats[1:, cv2.CC_STAT_AREA]


def count_parts(mask: np.ndarray, least_share: float = 0.0) -> int:
    """Number of 4-connected parts of a mask.

    Args:
        mask: Boolean array ``[h, w]``.
        least_share: Parts below this share of the mask's area are not counted.

    Returns:
        The number of parts.
    """
    areas = _part_areas(mask)
    return int(np.count_nonzero(areas >= least_share * areas.sum()))


def has_hole(mask: np.ndarray) -> bool:
    """Whether a mask encloses background (4-connected, so a diagonal gap is no way out)."""
    return len(_part_areas(~np.pad(mask, 1))) > 1


def hidden_share(mask: np.ndarray) -> float:
    """Share of a mask that cannot be seen from its mass centre along straight lines in the mask.

    Zero for shapes that are star-convex about their mass centre, one where the centre itself lies
    outside: the part that a contour in polar coordinates about that centre (PolarMask,
    arXiv 1909.13226) cannot tell from filled or lost area.

    Args:
        mask: Boolean array ``[h, w]`` with at least one pixel.

    Returns:
        A number in ``[0, 1]``, exact to the sampling of 180 rays at half a pixel.
    """
    x, y, width, height = tight_box(mask)
    inner = mask[y : y + height, x : x + width].astype(np.uint8)
    rows, columns = np.nonzero(inner)
    centre = (float(columns.mean()), float(rows.mean()))
    reach = float(np.hypot(width, height))
    steps = max(int(2 * reach), 2)
    flags = cv2.WARP_POLAR_LINEAR | cv2.INTER_NEAREST | cv2.WARP_FILL_OUTLIERS
    rays = cv2.warpPolar(inner, (steps, 180), centre, reach, flags).astype(bool)
    seen = np.logical_and.accumulate(rays, axis=1)
    ring_areas = np.arange(steps) + 0.5
    total = float((rays * ring_areas).sum())
    return 1.0 - float((seen * ring_areas).sum()) / total if total else 1.0


def trace_polygon(mask: np.ndarray) -> list[float] | None:
    """Walk around the pixel edges of a mask that is one piece without holes.

    Args:
        mask: Boolean array ``[h, w]`` with at least one pixel.

    Returns:
        ``[x0, y0, x1, y1, ...]`` of the corners, clockwise as seen; rasterising and shoelace
        formula both give the mask's pixels exactly. None if the mask has several 4-connected
        parts or encloses background, which one simple polygon cannot tell.
    """
    if count_parts(mask) != 1 or has_hole(mask):
        return None
    x0, y0, width, height = tight_box(mask)
    inner = np.pad(mask[y0 : y0 + height, x0 : x0 + width], 1)
    body = inner[1:-1, 1:-1]
    # The side of a pixel that each neighbour may leave bare, as (start, end) corners.
    sides = (
        (inner[:-2, 1:-1], (0, 0), (1, 0)),
        (inner[1:-1, 2:], (1, 0), (1, 1)),
        (inner[2:, 1:-1], (1, 1), (0, 1)),
        (inner[1:-1, :-2], (0, 1), (0, 0)),
    )
    follow: dict[tuple[int, int], tuple[int, int]] = {}
    for neighbour, start, end in sides:
        rows, columns = np.nonzero(body & ~neighbour)
        for x, y in zip(columns.tolist(), rows.tolist()):
            follow[x + start[0], y + start[1]] = (x + end[0], y + end[1])
    corner = min(follow)  # An extreme corner, so the first and the last edge meet at an angle.
    path = []
    while corner in follow:
        path.append(corner)
        corner = follow.pop(corner)
    points = np.array(path)
    arriving = points - np.roll(points, 1, axis=0)
    leaving = np.roll(points, -1, axis=0) - points
    corners = points[(arriving != leaving).any(axis=1)] + [x0, y0]
    return corners.astype(float).ravel().tolist()


def segmentation_of(mask: np.ndarray) -> list[list[float]] | dict[str, Any]:
    """COCO segmentation of a visible mask.

    Args:
        mask: Boolean array ``[h, w]`` with at least one pixel.

    Returns:
        A list of one polygon where the mask is one piece without holes, else text run lengths.
    """
    polygon = trace_polygon(mask)
    return encode_mask(mask) if polygon is None else [polygon]
