"""Settings of the synthetic data set: one dataclass, its checks, and two presets."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from polarseg.datasets.shapes.outlines import CATEGORIES
from polarseg.datasets.shapes.stuff import STUFF

__all__ = ['PROFILES', 'ShapesConfig', 'ShapesConfigError', 'parse_size']

MIN_SIDE = 64
"""Smallest picture side in pixels: below it the kinds of object cannot be told apart."""

MAX_SIDE = 8192
"""Largest picture side in pixels."""


class ShapesConfigError(ValueError):
    """A setting of the synthetic data set is out of range or contradicts another one."""


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={'help': text})


@dataclass(frozen=True)
class ShapesConfig:
    """What the generated pictures look like and how often each phenomenon occurs.

    Every field carries its description in ``metadata['help']``; the command line offers each one
    as an option of the same name. Rates are shares of pictures in ``[0, 1]`` and are spread evenly
    over the picture numbers, so ``n`` pictures hold ``n * rate`` of them to within one or two (see
    :mod:`polarseg.datasets.shapes.schedule`). ``rate_empty`` is a share of all pictures, the other
    rates are shares of those that are not empty.

    Raises:
        ShapesConfigError: If a value is out of its range, a pair is not (minimum, maximum), or a
            rate asks for an object whose category is left out.
    """

    categories: tuple[str, ...] = _setting(
        tuple(CATEGORIES), 'names of the categories to draw from'
    )
    width: tuple[int, int] = _setting((192, 192), 'smallest and largest picture width, pixels')
    height: tuple[int, int] = _setting((192, 192), 'smallest and largest picture height, pixels')
    min_objects: int = _setting(1, 'fewest objects that a picture which is not empty aims at')
    max_objects: int = _setting(6, 'most objects in a picture, crowds not counted')
    object_size: tuple[float, float] = _setting(
        (0.12, 0.5), 'longest side of ordinary objects, as a share of the shorter picture side'
    )
    tiny_size: tuple[float, float] = _setting((7.0, 12.0), 'longest side of tiny objects, pixels')
    crowd_dots: tuple[int, int] = _setting((15, 40), 'number of dots in a crowd')
    min_visible: float = _setting(
        0.3, 'share of its own area that an object shows at least, after truncation and occlusion'
    )
    min_inside: float = _setting(
        0.5, 'share of its own area that lies inside the picture at least, before occlusion'
    )
    min_pixels: int = _setting(20, 'fewest visible pixels of an object')
    rate_empty: float = _setting(0.05, 'share of pictures without any object')
    rate_crowd: float = _setting(0.1, 'share of pictures with a crowd of dots (iscrowd = 1)')
    rate_tiny: float = _setting(0.25, 'share of pictures with one to three tiny objects')
    rate_filling: float = _setting(0.06, 'share of pictures with an object that fills the picture')
    rate_split: float = _setting(0.15, 'share of pictures with an object cut in two by a bar')
    rate_hole: float = _setting(0.15, 'share of pictures with a ring in full view')
    rate_non_star: float = _setting(0.2, 'share of pictures with a crescent in full view')
    contrast: float = _setting(
        70.0, 'wanted RGB distance (levels of 255) between an object and background and neighbours'
    )
    texture: float = _setting(28.0, 'largest amplitude of textures, levels of 255')
    lighting: float = _setting(0.3, 'largest relative change of brightness across a picture')
    noise: float = _setting(7.0, 'largest standard deviation of pixel noise, levels of 255')
    clutter: int = _setting(7, 'most clutter lines (not objects) on a background')
    stuff: tuple[str, ...] = _setting(
        (), 'kinds of stuff that backgrounds are made of, with panoptic files; none: plain ones'
    )
    stuff_regions: tuple[int, int] = _setting((2, 4), 'fewest and most kinds of stuff in a picture')
    min_stuff_pixels: int = _setting(64, 'fewest visible pixels of stuff; what has less is void')

    def __post_init__(self) -> None:
        # Lists come from JSON and command lines; the dataclass is hashable with tuples only.
        for item in fields(self):
            if isinstance(getattr(self, item.name), list):
                object.__setattr__(self, item.name, tuple(getattr(self, item.name)))
        self._check_names('categories', self.categories, CATEGORIES, least=1)
        self._check_names('stuff', self.stuff, STUFF, least=0)
        self._check_pair('width', MIN_SIDE, MAX_SIDE, whole=True)
        self._check_pair('height', MIN_SIDE, MAX_SIDE, whole=True)
        self._check_pair('object_size', 0.02, 1.5)
        self._check_pair('tiny_size', 6.0, 32.0)
        self._check_pair('crowd_dots', 5, 200, whole=True)
        self._check_pair('stuff_regions', 1, 8, whole=True)
        for name in ('min_visible', 'min_inside'):
            self._check_number(name, 0.05, 1.0)
        for item in fields(self):
            if item.name.startswith('rate_'):
                self._check_number(item.name, 0.0, 1.0)
                if 0 < getattr(self, item.name) < 1e-6:
                    raise ShapesConfigError(f'{item.name} must be 0 or at least 1e-6')
        self._check_number('min_objects', 1, 100, whole=True)
        self._check_number('max_objects', 1, 100, whole=True)
        self._check_number('min_pixels', 1, MIN_SIDE * MIN_SIDE, whole=True)
        self._check_number('min_stuff_pixels', 1, MIN_SIDE * MIN_SIDE, whole=True)
        self._check_number('contrast', 0.0, 200.0)
        self._check_number('texture', 0.0, 128.0)
        self._check_number('lighting', 0.0, 0.9)
        self._check_number('noise', 0.0, 64.0)
        self._check_number('clutter', 0, 1000, whole=True)
        if self.max_objects < self.min_objects:
            raise ShapesConfigError(
                f'max_objects ({self.max_objects}) is below min_objects ({self.min_objects})'
            )
        self._check_rates()

    def to_dict(self) -> dict[str, Any]:
        """The settings by name; those of stuff are left out where there is none."""
        settings = asdict(self)
        if not self.stuff:
            for name in ('stuff', 'stuff_regions', 'min_stuff_pixels'):
                del settings[name]
        return settings

    def _check_names(self, what: str, names: Any, known: dict[str, Any], least: int) -> None:
        if not isinstance(names, tuple) or len(names) < least:
            wanted = 'at least one' if least else 'any'
            raise ShapesConfigError(f'{what} must name {wanted} of {list(known)}, got {names!r}')
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ShapesConfigError(f'unknown {what} {unknown}; known are {list(known)}')
        if len(set(names)) != len(names):
            raise ShapesConfigError(f'{what} names one twice: {list(names)}')

    def _check_number(self, name: str, low: float, high: float, whole: bool = False) -> None:
        self._check_value(name, getattr(self, name), low, high, whole)

    def _check_value(self, name: str, value: Any, low: float, high: float, whole: bool) -> None:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            kind = 'a whole number' if whole else 'a finite number'
            raise ShapesConfigError(f'{name} must be {kind}, got {value!r}')
        if not low <= value <= high:
            raise ShapesConfigError(f'{name} must lie in [{low}, {high}], got {value}')

    def _check_pair(self, name: str, low: float, high: float, whole: bool = False) -> None:
        pair = getattr(self, name)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ShapesConfigError(f'{name} must be a pair (minimum, maximum), got {pair!r}')
        for value in pair:
            self._check_value(name, value, low, high, whole)
        if pair[1] < pair[0]:
            raise ShapesConfigError(f'{name}: maximum {pair[1]} is below minimum {pair[0]}')

    def _check_rates(self) -> None:
        solid = [name for name in self.categories if CATEGORIES[name].solid]
        needs = {
            'rate_hole': 'ring' in self.categories,
            'rate_non_star': 'crescent' in self.categories,
            'rate_split': 'bar' in self.categories and bool(solid),
            'rate_tiny': bool(solid),
            'rate_filling': bool(solid),
            'rate_crowd': 'ellipse' in self.categories,
        }
        for name, possible in needs.items():
            if getattr(self, name) > 0 and not possible:
                raise ShapesConfigError(
                    f'{name} = {getattr(self, name)} cannot be met with categories '
                    f'{list(self.categories)}: set it to 0 or add the category it needs '
                    '(hole: ring; non_star: crescent; split: bar and a solid one; tiny, filling: '
                    'a solid one of ellipse, polygon, star, blob; crowd: ellipse)'
                )
        if self.rate_split > 0 and self.max_objects < 2:
            raise ShapesConfigError('rate_split > 0 needs max_objects of at least 2')


def parse_size(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Read a picture size from the command line.

    Args:
        text: ``N`` (square), ``WxH`` (fixed), or ``MIN-MAX`` (both sides drawn independently for
            every picture), in pixels.

    Returns:
        The ranges of width and of height, each ``(minimum, maximum)``, for the fields
        :attr:`ShapesConfig.width` and :attr:`ShapesConfig.height`.

    Raises:
        ShapesConfigError: If the text has none of these forms (so also for negative numbers). The
            ranges themselves are checked by :class:`ShapesConfig`.
    """
    match = re.fullmatch(r'(\d{1,6})(?:([x-])(\d{1,6}))?', text.strip())
    if match is None:
        raise ShapesConfigError(f'size must be N, WxH or MIN-MAX in pixels, got {text!r}')
    first, sign, second = match.groups()
    one, two = int(first), int(second or first)
    if sign == 'x':
        return (one, one), (two, two)
    return (one, two), (one, two)


_SIMPLE = ShapesConfig(
    categories=('ellipse', 'polygon', 'star'),
    max_objects=4,
    object_size=(0.22, 0.45),
    min_visible=0.75,
    min_inside=0.9,
    rate_empty=0.0,
    rate_crowd=0.0,
    rate_tiny=0.0,
    rate_filling=0.0,
    rate_split=0.0,
    rate_hole=0.0,
    rate_non_star=0.0,
    contrast=100.0,
    texture=16.0,
    lighting=0.15,
    noise=4.0,
    clutter=3,
)

PROFILES: dict[str, ShapesConfig] = {
    'mixed': ShapesConfig(),
    'simple': _SIMPLE,
    'panoptic': replace(
        _SIMPLE,
        categories=('ellipse', 'polygon', 'star', 'crescent', 'ring'),
        clutter=0,
        stuff=tuple(STUFF),
    ),
}
"""Named presets: ``mixed`` holds every phenomenon, ``simple`` a few medium, star-convex objects,
``panoptic`` objects of the same kind, with crescents and rings, on several kinds of stuff."""
