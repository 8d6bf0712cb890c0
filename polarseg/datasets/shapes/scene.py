"""Placing objects in a picture: who covers whom, and what stays visible of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from polarseg.datasets.shapes.config import ShapesConfig
from polarseg.datasets.shapes.masks import count_parts
from polarseg.datasets.shapes.outlines import (
    CATEGORIES,
    Stamp,
    bar_outline,
    random_outline,
    rasterise,
)
from polarseg.datasets.shapes.schedule import TRAITS
from polarseg.datasets.shapes.stuff import Ground
from polarseg.datasets.shapes.textures import (
    add_clutter,
    add_light_and_noise,
    pick_colour,
    textured,
)

__all__ = ['Scene', 'SceneObject', 'compose']

TRIES = 80
"""Attempts to find a place for an object before it is left out."""

SLIVER = 6
"""Parts of a visible mask with fewer pixels than this are given back to the background."""

_SHRINK = 0.98  # Every failed attempt makes the next object a little smaller.


@dataclass
class SceneObject:
    """One object of a scene.

    Attributes:
        category: Key of :data:`polarseg.datasets.shapes.outlines.CATEGORIES`.
        whole: Number of pixels of the object, also of those outside the picture or covered.
        inside: Number of its pixels inside the picture, covered ones included.
        window: Slices (rows, columns) of the picture that its visible pixels lie in.
        crowd: Whether it stands for a crowd.
        protected: Whether nothing may cover it.
    """

    category: str
    whole: int
    inside: int
    window: tuple[slice, slice]
    crowd: bool = False
    protected: bool = False


class Scene:
    """A picture in the making: a map of owners and the objects it refers to.

    Later objects cover earlier ones. An object is let in only if it and everything that it covers
    stay visible as far as the configuration demands.

    Args:
        config: Sets the demands.
        height: Picture height, pixels.
        width: Picture width, pixels.
    """

    def __init__(self, config: ShapesConfig, height: int, width: int) -> None:
        self.config = config
        self.owner = np.zeros((height, width), dtype=np.int32)  # 0: background, n: objects[n - 1]
        self.objects: list[SceneObject] = []

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.owner.shape[0], self.owner.shape[1]

    def visible(self, number: int) -> np.ndarray:
        """Boolean picture mask ``[h, w]`` of object ``number``, counted from 1."""
        return self.owner == number

    def enough(self, item: SceneObject, pixels: int) -> bool:
        """Whether an object of which ``pixels`` are visible may stay."""
        return pixels >= max(self.config.min_pixels, self.config.min_visible * item.whole)

    def place(
        self,
        category: str,
        stamp: Stamp,
        inside: float | None = None,
        protected: bool = False,
        crowd: bool = False,
    ) -> bool:
        """Put an object on top of the scene if the rules allow it.

        Args:
            category: Category name.
            stamp: The object's whole mask.
            inside: Share of it that must lie inside the picture; None takes the configured one.
            protected: Whether nothing may cover it later.
            crowd: Whether it stands for a crowd.

        Returns:
            False, with the scene unchanged, if the rules forbid it.
        """
        window, mask = stamp.crop(*self.size)
        pixels = int(np.count_nonzero(mask))
        item = SceneObject(category, stamp.area, pixels, window, crowd, protected)
        share = self.config.min_inside if inside is None else inside
        if pixels < share * item.whole or not self.enough(item, pixels):
            return False
        region = self.owner[window]
        covered = np.bincount(region[mask], minlength=len(self.objects) + 1)
        for number in np.flatnonzero(covered[1:]) + 1:
            below = self.objects[number - 1]
            left = np.count_nonzero(self.owner[below.window] == number) - covered[number]
            if below.protected or not self.enough(below, int(left)):
                return False
        self.objects.append(item)
        region[mask] = len(self.objects)
        return True

    def settle(self) -> None:
        """Give slivers of covered objects, and objects that lose too much by it, to the background.

        Slivers of a few pixels come from objects that cross; nobody would annotate them, and the
        picture shows background there.
        """
        for number, item in enumerate(self.objects, start=1):
            if item.crowd:
                continue
            region = self.owner[item.window]
            mask = (region == number).astype(np.uint8)
            _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
            slivers = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < SLIVER)
            region[np.isin(labels, slivers[slivers > 0])] = 0
            if not self.enough(item, int(np.count_nonzero(region == number))):
                region[region == number] = 0

    def render(self, rng: np.random.Generator, ground: Ground | None = None) -> np.ndarray:
        """Paint the scene.

        Args:
            rng: Source of randomness.
            ground: The background; None is a plain one of a single pattern.

        Returns:
            Uint8 array ``[h, w, 3]``.
        """
        config = self.config
        if ground is None:
            colours = [pick_colour(rng, [], 0.0)]
            image = textured(*self.size, colours[0], config.texture, rng)
        else:
            image, colours = ground.paint(rng)
        add_clutter(image, config.clutter, rng)
        for number, item in enumerate(self.objects, start=1):
            colours.append(pick_colour(rng, colours, config.contrast))
            mask = self.owner[item.window] == number
            patch = textured(*mask.shape, colours[-1], config.texture, rng)
            image[item.window][mask] = patch[mask]
        return add_light_and_noise(image, config.lighting, config.noise, rng)


def _place_one(
    scene: Scene,
    rng: np.random.Generator,
    names: list[str],
    sizes: tuple[float, float],
    whole: bool = False,
) -> bool:
    """Place an object of one of ``names``; ``whole``: inside the picture, never to be covered."""
    height, width = scene.size
    name = names[int(rng.integers(len(names)))]
    for attempt in range(TRIES):
        size = rng.uniform(*sizes) * max(_SHRINK**attempt, min(8.0 / sizes[0], 1.0))
        outline = random_outline(name, size, rng)
        margin = min(size, height - 2.0, width - 2.0) / 2.0 + 1.0 if whole else 0.0
        centre = rng.uniform([margin, margin], [width - margin, height - margin])
        stamp = rasterise(outline, tuple(centre))
        if scene.place(name, stamp, inside=1.0 if whole else None, protected=whole):
            return True
    return False


def _place_filling(scene: Scene, rng: np.random.Generator) -> bool:
    height, width = scene.size
    names = [name for name in scene.config.categories if CATEGORIES[name].solid]
    for _ in range(TRIES):
        name = names[int(rng.integers(len(names)))]
        extent = (width * rng.uniform(0.95, 1.15), height * rng.uniform(0.95, 1.15))
        shift = rng.uniform(-0.03, 0.03, 2) * [width, height]
        centre = (width / 2 + shift[0], height / 2 + shift[1])
        if scene.place(name, rasterise(random_outline(name, extent, rng), centre)):
            return True
    return False


def _place_split(scene: Scene, rng: np.random.Generator) -> bool:
    """Place a solid object and a bar across it that leaves two parts of it to see."""
    height, width = scene.size
    side = min(height, width)
    names = [name for name in scene.config.categories if CATEGORIES[name].solid]
    for attempt in range(TRIES):
        name = names[int(rng.integers(len(names)))]
        size = side * rng.uniform(0.3, 0.45) * _SHRINK**attempt
        margin = size / 2.0 + 1.0
        centre = tuple(rng.uniform([margin, margin], [width - margin, height - margin]))
        stamp = rasterise(random_outline(name, size, rng), centre)
        length, aspect = size * rng.uniform(1.25, 1.5), rng.uniform(0.15, 0.2)
        bar = rasterise(
            [curve * (length / 2.0) for curve in bar_outline(aspect)],
            tuple(np.array(centre) + rng.uniform(-0.08, 0.08, 2) * size),
            rng.uniform(0.0, np.pi),
        )
        before = scene.owner.copy(), len(scene.objects)
        if scene.place(name, stamp, inside=1.0):
            number = len(scene.objects)
            if (
                scene.place('bar', bar, protected=True)
                and count_parts(scene.visible(number), least_share=0.2) == 2
            ):
                scene.objects[number - 1].protected = True
                return True
        scene.owner = before[0]
        del scene.objects[before[1] :]
    return False


def _crowd_stamp(
    dots: int, centre: tuple[float, float], radius: float, rng: np.random.Generator
) -> Stamp | None:
    """Dots that do not touch, inside a circle; None if they do not fit."""
    places: list[np.ndarray] = []
    for candidate in rng.uniform(-radius, radius, (dots * 20, 2)):
        apart = all(np.abs(candidate - place).max() >= 7.0 for place in places)
        if apart and np.hypot(*candidate) <= radius:
            places.append(candidate)
        if len(places) == dots:
            break
    else:
        return None
    curves = [random_outline('ellipse', rng.uniform(3.5, 5.5), rng)[0] + p for p in places]
    return rasterise(curves, centre)


def _place_crowd(scene: Scene, rng: np.random.Generator) -> bool:
    height, width = scene.size
    dots = int(rng.integers(scene.config.crowd_dots[0], scene.config.crowd_dots[1] + 1))
    for attempt in range(TRIES):
        count = max(int(dots * _SHRINK**attempt), min(scene.config.crowd_dots[0], dots))
        radius = 6.0 * np.sqrt(count)
        margin = min(radius + 4.0, min(height, width) / 2.0 - 1.0)
        centre = tuple(rng.uniform([margin, margin], [width - margin, height - margin]))
        stamp = _crowd_stamp(count, centre, radius, rng)
        if stamp and scene.place('ellipse', stamp, inside=0.9, protected=True, crowd=True):
            return True
    return False


def _plan(config: ShapesConfig, traits: Sequence[str], rng: np.random.Generator) -> dict[str, int]:
    """How many objects each phenomenon, and ``'common'``, gets out of the picture's share."""
    counts = dict.fromkeys((*TRAITS, 'common'), 0)
    counts['crowd'] = int('crowd' in traits)
    room = config.max_objects
    aim = int(rng.integers(config.min_objects, config.max_objects + 1))
    # Random order: where the room is short, it is not always the same phenomenon that goes.
    for name in rng.permutation([name for name in TRAITS if name in traits and name != 'crowd']):
        cost = 2 if name == 'split' else 1
        counts[str(name)] = int(cost <= room)
        room -= cost * counts[str(name)]
    if counts['tiny']:
        extra = min(int(rng.integers(0, 3)), room)
        counts['tiny'] += extra
        room -= extra
    counts['common'] = max(aim - (config.max_objects - room), 0)
    return counts


def compose(config: ShapesConfig, traits: Sequence[str], rng: np.random.Generator) -> Scene:
    """Place the objects of a picture that is not empty.

    Args:
        config: Sizes, numbers and demands.
        traits: Phenomena to show, of :data:`polarseg.datasets.shapes.schedule.TRAITS`.
        rng: Source of randomness.

    Returns:
        The settled scene. Ordinary objects that found no place are left out.
    """
    width = int(rng.integers(config.width[0], config.width[1] + 1))
    height = int(rng.integers(config.height[0], config.height[1] + 1))
    scene = Scene(config, height, width)
    side = min(height, width)
    names = list(config.categories)
    solid = [name for name in names if CATEGORIES[name].solid]
    sizes = (config.object_size[0] * side, config.object_size[1] * side)
    shown = (max(sizes[0], 0.2 * side), max(sizes[1], 0.3 * side))
    counts = _plan(config, traits, rng)
    # Back to front: what must stay whole comes after what may be covered.
    steps: tuple[tuple[str, Callable[[], bool]], ...] = (
        ('filling', lambda: _place_filling(scene, rng)),
        ('common', lambda: _place_one(scene, rng, names, sizes)),
        ('split', lambda: _place_split(scene, rng)),
        ('hole', lambda: _place_one(scene, rng, ['ring'], shown, whole=True)),
        ('non_star', lambda: _place_one(scene, rng, ['crescent'], shown, whole=True)),
        ('tiny', lambda: _place_one(scene, rng, solid, config.tiny_size, whole=True)),
        ('crowd', lambda: _place_crowd(scene, rng)),
    )
    for name, step in steps:
        for _ in range(counts[name]):
            step()
    scene.settle()
    return scene
