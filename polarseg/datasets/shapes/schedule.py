"""Which picture shows which phenomenon, decided from (seed, split, index) alone.

Independent coin tosses would leave a small split without its rare phenomena now and then. Here the
picture numbers are cut into strata of about ``1 / rate`` and each stratum holds one occurrence at
a random place. The first pictures therefore never depend on how many follow, and ``n`` pictures
hold ``n * rate`` occurrences to within one.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from polarseg.datasets.shapes.config import ShapesConfig

__all__ = ['TRAITS', 'picture_rng', 'picture_traits']

TRAITS = ('filling', 'split', 'hole', 'non_star', 'tiny', 'crowd')
"""Phenomena that a picture which is not empty may be asked to show, back to front."""


def _generator(seed: int, split: str, purpose: str, number: int) -> np.random.Generator:
    key = [seed, zlib.crc32(split.encode()), zlib.crc32(purpose.encode()), number]
    return np.random.default_rng(key)


def picture_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The source of randomness of one picture; independent of every other picture's."""
    return _generator(seed, split, 'picture', index)


class _Strata:
    """Evenly spread random occurrences of one phenomenon over the picture numbers."""

    def __init__(self, seed: int, split: str, name: str, rate: float) -> None:
        self.seed, self.split, self.name, self.rate = seed, split, name, rate

    def _stratum(self, index: int) -> int:
        return math.floor(index * self.rate)

    def _start(self, stratum: int) -> int:
        """First picture of a stratum."""
        start = max(math.ceil(stratum / self.rate) - 1, 0)
        # A step of correction: the quotient may be off by one where the rate is no binary fraction.
        while self._stratum(start) < stratum:
            start += 1
        return start

    def _place(self, stratum: int) -> int:
        """The picture of a stratum that holds its occurrence."""
        rng = _generator(self.seed, self.split, self.name, stratum)
        return int(rng.integers(self._start(stratum), self._start(stratum + 1)))

    def occurs(self, index: int) -> bool:
        """Whether picture ``index`` is one of the occurrences."""
        return self.rate > 0 and self._place(self._stratum(index)) == index

    def count_before(self, index: int) -> int:
        """Number of occurrences in the pictures ``0 .. index - 1``."""
        if self.rate == 0:
            return 0
        stratum = self._stratum(index)
        return stratum + int(self._place(stratum) < index)


def picture_traits(config: ShapesConfig, seed: int, split: str, index: int) -> list[str] | None:
    """Phenomena that a picture has to show.

    Args:
        config: Gives the rates.
        seed: Seed of the data set, not negative.
        split: Name of the split.
        index: Number of the picture in its split, from 0.

    Returns:
        Those of :data:`TRAITS`, in that order, or None for an empty picture.
    """
    empty = _Strata(seed, split, 'empty', config.rate_empty)
    if empty.occurs(index):
        return None
    # Counting among the pictures that are not empty: else empties could use up a rare phenomenon.
    rank = index - empty.count_before(index)
    return [
        name
        for name in TRAITS
        if _Strata(seed, split, name, getattr(config, f'rate_{name}')).occurs(rank)
    ]
