"""Backgrounds of several kinds of stuff, each told by its texture and its range of colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from polarseg.datasets.shapes.textures import smooth_noise

__all__ = ['STUFF', 'Ground', 'StuffKind', 'lay_out']

LEAST_SHARE = 0.12
"""Of the picture that a region covers at least when it is cut off, things not counted."""

CUTS = 30
"""Attempts to cut off another region."""

Painter = Callable[[int, int, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class StuffKind:
    """A kind of stuff.

    Attributes:
        id: Category id in panoptic files; fixed, and none of a shape's.
        colours: Lowest and highest mean colour, RGB.
        paint: Makes ``[height, width, 3]`` float32 of height, width, mean colour (BGR) and a
            source of randomness.
    """

    id: int
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    paint: Painter


def _sky(height: int, width: int, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paler downwards, with soft clouds."""
    clouds = smooth_noise(height, width, rng, rng.uniform(28.0, 44.0))
    clouds = np.clip((clouds - rng.uniform(-0.1, 0.4)) * 1.6, 0.0, 1.0) * 0.75
    pale = np.linspace(-0.1, 0.3, height, dtype=np.float32)[:, None]
    white = np.clip(clouds + pale, -0.1, 1.0)[..., None]
    return colour + (np.float32(250.0) - colour) * white


def _grass(height: int, width: int, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Upright blades of varied green on patches that are lusher or drier."""
    blades = rng.standard_normal((height // 4 + 2, width)).astype(np.float32)
    blades = cv2.resize(blades, (width, height), interpolation=cv2.INTER_LINEAR)
    patches = smooth_noise(height, width, rng, 30.0)
    tint = np.array([10.0, 24.0, 14.0], np.float32)
    return colour + blades[..., None] * tint + patches[..., None] * np.float32([4.0, 10.0, 16.0])


def _water(height: int, width: int, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ripples that run across, with glints on their crests."""
    rows = np.mgrid[:height, :width][0].astype(np.float32)
    bent = rows + 5.0 * smooth_noise(height, width, rng, rng.uniform(20.0, 36.0))
    waves = np.sin(bent * np.float32(2.0 * np.pi / rng.uniform(7.0, 11.0)))
    ripples = waves + 0.5 * smooth_noise(height, width, rng, 8.0)
    glints = np.clip(ripples - 0.75, 0.0, 1.0)
    return colour + ripples[..., None] * np.float32([18.0, 16.0, 10.0]) + glints[..., None] * 50.0


def _sand(height: int, width: int, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grains on low dunes."""
    grains = rng.standard_normal((height, width)).astype(np.float32)
    dunes = smooth_noise(height, width, rng, 40.0)
    return colour + grains[..., None] * 13.0 + dunes[..., None] * np.float32([14.0, 12.0, 10.0])


def _bricks(height: int, width: int, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Courses of bricks, every other one shifted by half a brick, with pale joints."""
    tall = int(rng.integers(7, 11))
    long = 2 * tall + int(rng.integers(0, 3))
    rows, columns = np.mgrid[:height, :width]
    rows = rows + int(rng.integers(tall))
    course = rows // tall
    columns = columns + int(rng.integers(long)) + course % 2 * (long // 2)
    brick = columns // long
    shades = rng.normal(0.0, 13.0, (course.max() + 1, brick.max() + 1)).astype(np.float32)
    image = colour + shades[course, brick][..., None] * np.float32([0.7, 0.8, 1.0])
    joints = (rows % tall == 0) | (columns % long == 0)
    image[joints] = np.float32([150.0, 165.0, 172.0]) + rng.uniform(-15.0, 15.0)
    return image


STUFF: dict[str, StuffKind] = {
    'sky': StuffKind(101, ((95, 150, 205), (135, 185, 240)), _sky),
    'grass': StuffKind(102, ((50, 105, 25), (95, 150, 60)), _grass),
    'water': StuffKind(103, ((10, 65, 95), (40, 105, 140)), _water),
    'sand': StuffKind(104, ((195, 165, 105), (230, 200, 145)), _sand),
    'bricks': StuffKind(105, ((135, 55, 40), (175, 90, 65)), _bricks),
}
"""The kinds of stuff by name."""


@dataclass(frozen=True)
class Ground:
    """A background that is divided among kinds of stuff.

    Attributes:
        regions: ``[h, w]`` int32, index into ``names``.
        names: Keys of :data:`STUFF`, one for each region.
    """

    regions: np.ndarray
    names: tuple[str, ...]

    def paint(self, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
        """Paint the background.

        Returns:
            Float32 array ``[h, w, 3]``, levels of 255, not yet clipped, and the mean colours of
            the regions.
        """
        height, width = self.regions.shape
        image = np.zeros((height, width, 3), np.float32)
        colours = []
        for index, name in enumerate(self.names):
            kind = STUFF[name]
            colour = rng.uniform(*np.array(kind.colours, np.float64))[::-1].astype(np.float32)
            mask = self.regions == index
            image[mask] = kind.paint(height, width, colour, rng)[mask]
            colours.append(image[mask].mean(axis=0))
        return image, colours


def lay_out(
    names: tuple[str, ...],
    regions: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Ground:
    """Divide a picture among some kinds of stuff by borders that are straight or wavy.

    Args:
        names: Keys of :data:`STUFF` to choose from, each at most once.
        regions: Fewest and most regions, as far as there are names and there is room.
        size: Height and width, pixels.
        rng: Source of randomness.
    """
    number = min(int(rng.integers(regions[0], regions[1] + 1)), len(names))
    chosen = tuple(str(name) for name in rng.permutation(names)[:number])
    ground = np.zeros(size, np.int32)
    for index in range(1, number):
        if not _cut_off(ground, index, rng):
            return Ground(ground, chosen[:index])
    return Ground(ground, chosen)


def _cut_off(ground: np.ndarray, index: int, rng: np.random.Generator) -> bool:
    """Give a part of the largest region to region ``index``; False if none is large enough."""
    least = LEAST_SHARE * ground.size
    largest = ground == np.bincount(ground.ravel()).argmax()
    rows, columns = np.nonzero(largest)
    for _ in range(CUTS):
        through = int(rng.integers(len(rows)))
        beyond = _beyond_border(ground.shape, (columns[through], rows[through]), rng)
        part = largest & beyond
        area = int(np.count_nonzero(part))
        if area >= least and len(rows) - area >= least:
            ground[part] = index
            return True
    return False


def _beyond_border(
    size: tuple[int, int], through: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """``[h, w]`` bool: the pixels on one side of a border through a point ``(x, y)``."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    right, down = columns - through[0], rows - through[1]
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    if rng.random() < 0.6:
        side = min(size)
        for share in (1.0, 0.4):
            height = share * rng.uniform(0.01, 0.05) * side
            length = share * rng.uniform(0.4, 0.9) * side
            phase = rng.uniform(0.0, 2.0 * np.pi)
            across = across + height * np.sin(along * (2.0 * np.pi / length) + phase)
    return across > 0
