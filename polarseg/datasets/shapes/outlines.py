"""The outlines of the categories, and how an outline becomes pixels.

A category is told by its outline alone: colour and texture are drawn without regard to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ['CATEGORIES', 'Category', 'Stamp', 'bar_outline', 'random_outline', 'rasterise']

Outline = list[np.ndarray]
"""Closed curves as float arrays ``[n, 2]`` of x, y; the even-odd rule tells inside from outside."""


@dataclass(frozen=True)
class Category:
    """A kind of shape.

    Attributes:
        id: COCO category id; fixed, so that files with fewer categories agree with the full ones.
        draw: Draws an outline about the origin, of free scale and orientation.
        solid: One piece without holes that is star-convex, so recognisable when tiny and useful
            when it fills the picture.
    """

    id: int
    draw: Callable[[np.random.Generator], Outline]
    solid: bool


def _circle(points: int = 64, aspect: float = 1.0) -> np.ndarray:
    angles = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angles), aspect * np.sin(angles)], axis=1)


def _ellipse(rng: np.random.Generator) -> Outline:
    return [_circle(aspect=rng.uniform(0.6, 1.0))]


def _polygon(rng: np.random.Generator) -> Outline:
    sides = int(rng.integers(3, 6))
    # Points on a circle stay in convex position whatever their angles, also after stretching.
    angles = (np.arange(sides) + rng.uniform(-0.15, 0.15, sides)) * (2.0 * np.pi / sides)
    corners = np.stack([np.cos(angles), rng.uniform(0.8, 1.0) * np.sin(angles)], axis=1)
    return [corners]


def _star(rng: np.random.Generator) -> Outline:
    spikes = int(rng.integers(5, 8))
    angles = np.arange(2 * spikes) * (np.pi / spikes)
    radii = np.where(np.arange(2 * spikes) % 2 == 0, 1.0, rng.uniform(0.42, 0.55))
    return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)]


def _blob(rng: np.random.Generator) -> Outline:
    angles = np.linspace(0.0, 2.0 * np.pi, 96, endpoint=False)
    radii = 1.0 + rng.uniform(0.2, 0.3) * np.cos(rng.integers(3, 6) * angles)
    radii += rng.uniform(0.0, 0.12) * np.cos(2 * angles + rng.uniform(0.0, 2.0 * np.pi))
    return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)]


def bar_outline(aspect: float) -> Outline:
    """A lying rectangle of length 2 and height ``2 * aspect`` about the origin."""
    return [np.array([[-1, -aspect], [1, -aspect], [1, aspect], [-1, aspect]], dtype=float)]


def _bar(rng: np.random.Generator) -> Outline:
    return bar_outline(rng.uniform(0.15, 0.25))


def _crescent(rng: np.random.Generator) -> Outline:
    thickness = rng.uniform(0.35, 0.55)
    # The bite's circle crosses the unit circle only if its radius is above 1 - thickness / 2.
    bite = 1.0 - thickness / 2.0 + rng.uniform(0.06, 0.25)
    offset = bite - 1.0 + thickness
    cut_x = (1.0 - bite**2 + offset**2) / (2.0 * offset)
    cut_y = np.sqrt(1.0 - cut_x**2)
    start = np.arctan2(cut_y, cut_x)
    outer = np.linspace(start, 2.0 * np.pi - start, 48)
    start = np.arctan2(cut_y, cut_x - offset)
    inner = np.linspace(2.0 * np.pi - start, start, 48)
    back = np.stack([offset + bite * np.cos(inner), bite * np.sin(inner)], axis=1)
    return [np.concatenate([np.stack([np.cos(outer), np.sin(outer)], axis=1), back[1:-1]])]


def _ring(rng: np.random.Generator) -> Outline:
    outer = _circle(aspect=rng.uniform(0.75, 1.0))
    return [outer, outer * rng.uniform(0.45, 0.65)]


def _pair(rng: np.random.Generator) -> Outline:
    distance = 1.0 + rng.uniform(0.12, 0.25)
    disc = _circle(aspect=rng.uniform(0.85, 1.0))
    shift = np.array([distance, 0.0])
    return [disc - shift, disc + shift]


CATEGORIES: dict[str, Category] = {
    'ellipse': Category(1, _ellipse, solid=True),
    'polygon': Category(2, _polygon, solid=True),
    'star': Category(3, _star, solid=True),
    'blob': Category(4, _blob, solid=True),
    'bar': Category(5, _bar, solid=False),
    'crescent': Category(6, _crescent, solid=False),
    'ring': Category(7, _ring, solid=False),
    'pair': Category(8, _pair, solid=False),
}
"""Every category by name: discs and ellipses, convex polygons, stars, smooth lobed blobs, bars,
crescents (not star-convex), rings (a hole) and pairs of discs that are one object (two parts)."""


def _rotate(outline: Outline, angle: float) -> Outline:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [curve @ turn for curve in outline]


def _fit(outline: Outline, size: float | tuple[float, float]) -> Outline:
    """Centre an outline on the origin and scale it to a longest side, or to a width and height.

    Rasterising paints every pixel that an edge touches, about half a pixel on either side, so the
    outline is made one pixel smaller than the wanted extent.
    """
    points = np.concatenate(outline)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = high - low
    wanted = np.asarray(size, dtype=float) - 1.0
    scale = wanted / (extent.max() if wanted.ndim == 0 else extent)
    return [(curve - (low + high) / 2.0) * scale for curve in outline]


def random_outline(
    name: str, size: float | tuple[float, float], rng: np.random.Generator
) -> Outline:
    """Draw an outline of a category at random shape and orientation.

    Args:
        name: Key of :data:`CATEGORIES`.
        size: Longest side of the upright bounding box in pixels, or its width and height.
        rng: Source of randomness.

    Returns:
        Closed curves ``[n, 2]`` in pixels whose common bounding box is centred on the origin.
    """
    outline = CATEGORIES[name].draw(rng)
    return _fit(_rotate(outline, rng.uniform(0.0, 2.0 * np.pi)), size)


@dataclass(frozen=True)
class Stamp:
    """The whole mask of one object, also where it lies outside the picture.

    Attributes:
        mask: Boolean array ``[h, w]``, the object's pixels.
        x: Picture column of the mask's first column; may be negative.
        y: Picture row of the mask's first row; may be negative.
    """

    mask: np.ndarray
    x: int
    y: int

    @property
    def area(self) -> int:
        """Number of pixels of the whole object."""
        return int(np.count_nonzero(self.mask))

    def crop(self, height: int, width: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """The part inside a picture: slices of the picture, and the mask there (may be empty)."""
        top, left = max(self.y, 0), max(self.x, 0)
        bottom = max(min(self.y + self.mask.shape[0], height), top)
        right = max(min(self.x + self.mask.shape[1], width), left)
        inner = self.mask[top - self.y : bottom - self.y, left - self.x : right - self.x]
        return (slice(top, bottom), slice(left, right)), inner


def rasterise(outline: Outline, centre: tuple[float, float], angle: float = 0.0) -> Stamp:
    """Paint an outline into a mask of its own extent.

    Args:
        outline: Closed curves ``[n, 2]`` in pixels about the origin.
        centre: Picture position (x, y) of the origin; pixel centres lie on whole numbers.
        angle: Turn about the origin before painting, radians.

    Returns:
        The stamp; holes follow the even-odd rule.
    """
    curves = [curve + centre for curve in _rotate(outline, angle)]
    points = np.concatenate(curves)
    low = np.floor(points.min(axis=0)).astype(int) - 1
    high = np.ceil(points.max(axis=0)).astype(int) + 2
    canvas = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    fraction_bits = 4
    scaled = [np.round((curve - low) * (1 << fraction_bits)).astype(np.int32) for curve in curves]
    cv2.fillPoly(canvas, scaled, 1, lineType=cv2.LINE_8, shift=fraction_bits)
    return Stamp(canvas.astype(bool), int(low[0]), int(low[1]))
