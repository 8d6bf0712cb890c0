"""largest_contours: random masks, against what holds for a contour and a plain flood."""

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

import polarseg.ops
from fuzzing.draw import Call, break_one, demand, one_of, relayout

__all__ = ['check', 'draw', 'run']

SIDES = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 40, 64, 65, 130)
FEW = 200
"""Pixels of a mask whose every component is looked at."""


def draw(rng: Generator) -> Call:
    """Draw masks, most of them with few pixels."""
    count = int(rng.integers(0, 5))
    height, width = (int(one_of(rng, SIDES)) for _ in range(2))
    masks = rng.integers(1, 256, (count, height, width), dtype=np.uint8)
    masks *= rng.random(masks.shape) < one_of(rng, [0.0, 0.002, 0.02, 0.3, 0.5, 0.9, 1.0])
    tensor = torch.from_numpy(masks)
    tensor = tensor.bool() if rng.random() < 0.3 else tensor
    return break_one(rng, {'masks': relayout(rng, tensor)}, BREAKS, share=0.2)


def _break_type(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    other = one_of(rng, [torch.int64, torch.float32, torch.int8, torch.complex64])
    arguments['masks'] = torch.zeros_like(arguments['masks'], dtype=other)
    return (TypeError,)


def _break_shape(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    shape = one_of(rng, [(), (4,), (4, 5), (1, 2, 3, 4)])
    arguments['masks'] = torch.zeros(shape, dtype=torch.uint8)
    return (ValueError,)


BREAKS = (_break_type, _break_shape)


def run(arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Call the operator."""
    return polarseg.ops.largest_contours(**arguments)


def check(arguments: dict[str, Any], result: tuple[Tensor, Tensor]) -> None:
    """Raise WrongResult where an answer is not right."""
    masks = arguments['masks'].numpy() != 0
    points, offsets = result
    demand(points.dtype == torch.float32, f'points are {points.dtype}')
    bounds = offsets.tolist()
    demand(len(bounds) == len(masks) + 1, f'there are {len(masks)} masks')
    demand(bounds[0] == 0 and bounds[-1] == len(points), f'offsets are {bounds}')
    whole = points.numpy().astype(np.int64)
    demand(bool((whole == points.numpy()).all()), 'points are no whole pixels')
    for n, mask in enumerate(masks):
        _check_contour(n, mask, whole[bounds[n] : bounds[n + 1]])


def _check_contour(n: int, mask: np.ndarray, contour: np.ndarray) -> None:
    demand((len(contour) > 0) == mask.any(), f'mask {n}: {len(contour)} points')
    if len(contour) == 0:
        return
    x, y = contour.T
    inside = (contour >= 0).all() and (contour < mask.shape[::-1]).all()
    demand(bool(inside), f'mask {n}: a point lies outside the picture')
    demand(bool(mask[y, x].all()), f'mask {n}: a point lies on no pixel')
    steps = np.abs(contour - np.roll(contour, 1, axis=0)).max(axis=1)
    demand(len(contour) == 1 or bool((steps == 1).all()), f'mask {n}: the contour has gaps')
    padded = np.pad(mask, 1)
    sides = [padded[1 + dy :, 1 + dx :][y, x] for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    demand(not np.all(sides, axis=0).any(), f'mask {n}: a point is not on the border')
    component = _component(mask, (y[0], x[0]))
    rows, columns = np.nonzero(component)
    demand((y[0], x[0]) == (rows[0], columns[0]), f'mask {n}: it does not start at the first pixel')
    extent = [columns.min(), columns.max(), rows.min(), rows.max()]
    demand([x.min(), x.max(), y.min(), y.max()] == extent, f'mask {n}: it does not go all round')
    if mask.sum() <= FEW:
        _check_is_largest(n, mask & ~component, _area(contour))


def _check_is_largest(n: int, others: np.ndarray, area: float) -> None:
    while others.any():
        other = _component(others, tuple(np.argwhere(others)[0]))
        contour, _ = polarseg.ops.largest_contours(torch.from_numpy(other)[None])
        demand(_area(contour.numpy()) <= area, f'mask {n}: another contour encloses more')
        others = others & ~other


def _area(contour: np.ndarray) -> float:
    x, y = contour.astype(np.float64).T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _component(mask: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """The pixels connected to one, at sides and corners."""
    found = np.zeros_like(mask)
    found[start] = True
    left = [start]
    while left:
        y, x = left.pop()
        near = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
        corner = np.array([part.start for part in near])
        new = np.argwhere(mask[near] & ~found[near]) + corner
        found[near] |= mask[near]
        left += map(tuple, new)
    return found
