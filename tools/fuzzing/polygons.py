"""polygons_to_rle: random polygons, against both kinds of rules written anew in numpy."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

import polarseg.ops
from fuzzing.draw import Call, break_one, demand, one_of, relayout
from fuzzing.run_lengths import MOST_PIXELS, check_results, pixels_of

__all__ = ['check', 'draw', 'run']

FILLS = ('fill', 'fill-4.8', 'fill-4.5')
LOW, HIGH = -(2**31), 2**31 - 1
FAR = (LOW, LOW + 1, HIGH, HIGH - 1, 2**30, -(2**30), -1, 0, 1)
SIDES = (0, 1, 1, 2, 3, 7, 20, 63, 64, 65, 130, 300)


# ---- drawing -------------------------------------------------------------------------------------


def _polygon(rng: Generator, height: int, width: int, rule: str) -> np.ndarray:
    size = int(one_of(rng, [0, 1, 2, 3, 4, 5, 8, 13, 36]))
    if rng.random() < 0.01:
        size = int(one_of(rng, [3000, 20000]))
    kind = int(rng.integers(10))
    box = np.array([width, height])
    if kind in (0, 8, 9):
        points = rng.integers(0, np.maximum(box, 1), (size, 2)).astype(np.float64)
    elif kind == 1:
        points = rng.uniform(-0.9, 0.999, (size, 2)) * np.maximum(box, 1)
    elif kind == 2:
        points = rng.uniform(-box - 1, 2 * box + 1, (size, 2))
    elif kind == 3:
        turn = np.arange(size) * 2 * np.pi / max(size, 1)
        radii = rng.uniform(0.4, 0.6, (size, 1)) * box
        points = radii * np.stack([np.sin(turn), np.cos(turn)], 1) + box / 2
    elif kind == 4:
        points = np.repeat(rng.uniform(0, box + 1, (1, 2)), size, 0).round()
    elif kind == 5:
        points = rng.uniform(0, 1, (size, 2)) * box
        points[rng.random((size, 2)) < 0.2] = rng.uniform(-1e5, 1e5)
    else:
        points = rng.choice([*FAR, width - 1, height - 1, 5, 9], (size, 2)).astype(np.float64)
    return points / 64 if rule == 'coco' and kind in (6, 7) else points


def draw(rng: Generator) -> Call:
    """Draw polygons and a picture."""
    height, width = (int(one_of(rng, SIDES)) for _ in range(2))
    rule = one_of(rng, [*FILLS, 'coco'])
    polygons: Any = [_polygon(rng, height, width, rule) for _ in range(rng.integers(0, 5))]
    form = int(rng.integers(4))
    if form == 0:
        polygons = [relayout(rng, torch.from_numpy(polygon)) for polygon in polygons]
    elif form == 1 and polygons:
        size = min(len(polygon) for polygon in polygons)
        stack = np.stack([polygon[:size] for polygon in polygons])
        polygons = relayout(rng, torch.from_numpy(stack))
    elif form == 2:
        polygons = [polygon.astype(one_of(rng, [np.int64, np.float64])) for polygon in polygons]
    if rng.random() < 0.01:  # a row, a column: sizes near the largest
        height, width = one_of(rng, [(2**31 - 1, 0), (1, 10**6), (10**6, 1), (0, 2**31 - 1)])
    arguments = {'polygons': polygons, 'height': height, 'width': width, 'rule': rule}
    return break_one(rng, arguments, BREAKS, share=0.2)


# ---- breaking ------------------------------------------------------------------------------------


def _break_vertex(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    beyond = [np.nan, np.inf, -np.inf, 1e300, -1e300, HIGH + 1.0, LOW - 1.0, 2.0**63, -(2.0**63)]
    bad = rng.uniform(0, 5, (int(rng.integers(1, 6)), 2))
    bad[rng.integers(len(bad)), rng.integers(2)] = one_of(rng, beyond)
    arguments['polygons'] = [np.zeros((2, 2)), bad, np.ones((3, 2))]
    return (ValueError,)


def _break_shape(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    shape = one_of(rng, [(3,), (2, 3), (2, 2, 2), ()])
    whole = [torch.zeros(4, 2), torch.zeros(2, 4, 3), torch.zeros(()), torch.zeros(2, 2, 2, 2)]
    arguments['polygons'] = one_of(rng, [*whole, [np.zeros(shape)], [torch.zeros(shape)]])
    return (ValueError,)


def _break_type(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    if rng.random() < 0.5:
        arguments['polygons'] = [torch.zeros(3, 2, dtype=torch.complex64)]
        return (ValueError,)
    arguments['polygons'] = one_of(rng, [[None], [[[1.0, 2.0]]], [3], ['corner']])
    return (TypeError,)


def _break_size(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    sizes = [(-1, 5), (5, -1), (2**31, 1), (2**31, 0), (0, 2**31), (46341, 46341), (2**62, 2**62)]
    arguments['height'], arguments['width'] = one_of(rng, [*sizes, (-(2**62), 4), (2**62, 4)])
    return (ValueError,)


def _break_rule(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    arguments['rule'] = one_of(rng, ['', 'Fill', 'fill-4', 'coco '])
    return (ValueError,)


BREAKS = (_break_vertex, _break_vertex, _break_shape, _break_type, _break_size, _break_rule)


# ---- checking ------------------------------------------------------------------------------------


def run(arguments: dict[str, Any]) -> list[dict]:
    """Call the operator."""
    return polarseg.ops.polygons_to_rle(**arguments)


def check(arguments: dict[str, Any], results: list[dict]) -> None:
    """Raise WrongResult where an answer is not right."""
    height, width, rule = arguments['height'], arguments['width'], arguments['rule']
    polygons = [np.asarray(polygon) for polygon in arguments['polygons']]
    every = check_results(results, len(polygons), height, width)
    for n, (polygon, runs) in enumerate(zip(polygons, every)):
        polygon = polygon.reshape(-1, 2).astype(np.float64)
        expected = _expected(polygon, height, width, rule)
        if expected is None:
            continue
        wrong = np.argwhere(pixels_of(runs, height, width) != expected)
        demand(len(wrong) == 0, f'polygon {n}: pixels (row, column) {wrong[:9].tolist()} differ')


def _expected(polygon: np.ndarray, height: int, width: int, rule: str) -> np.ndarray | None:
    """The mask, or None where a slow answer is too slow or the rule is OpenCV's clipping."""
    if len(polygon) == 0 or height * width == 0:
        return np.zeros((height, width), bool)
    if height * width > MOST_PIXELS or len(polygon) > 100 or np.abs(polygon).max() > 3000:
        return None
    if rule == 'coco':
        return _coco(polygon, height, width)
    whole = np.trunc(polygon).astype(np.int64)
    if (whole < 0).any() or (whole >= [width, height]).any():
        return None
    return _fill(whole, height, width, rule)


def _line(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Pixels of the line, from the left end: the nearest ones, ties towards the start."""
    if p[0] > q[0]:
        p, q = q, p
    extent = np.abs(q - p)
    long = int(extent[1] > extent[0])
    steps = np.arange(extent[long] + 1)
    pixels = np.empty((len(steps), 2), np.int64)
    direction = np.where(q >= p, 1, -1)
    pixels[:, long] = p[long] + direction[long] * steps
    aside = np.maximum(2 * steps * extent[1 - long] + extent[long] - 1, 0)
    aside //= max(2 * extent[long], 1)
    pixels[:, 1 - long] = p[1 - long] + direction[1 - long] * aside
    return pixels


def _fill(polygon: np.ndarray, height: int, width: int, rule: str) -> np.ndarray:
    """Outline, and between the edges of each row, of a polygon inside of the picture."""
    mask = np.zeros((height, width), bool)
    crossings: dict[int, list[int]] = {}
    for p, q in zip(np.roll(polygon, 1, 0), polygon):
        x, y = _line(p, q).T
        mask[y, x] = True
        top, bottom = (p, q) if p[1] < q[1] else (q, p)
        rise = int(bottom[1] - top[1])
        run = int(bottom[0] - top[0]) << 16
        step = (abs(run) // rise) * (1 if run > 0 else -1) if rise else 0
        start = (int(top[0]) << 16) + (1 << 15 if rule == 'fill-4.8' else 0)
        for k in range(rise):
            crossings.setdefault(int(top[1]) + k, []).append(start + k * step)
    round_up = 0 if rule == 'fill-4.8' else 0xFFFF
    for y, xs in crossings.items():
        ordered = sorted(xs)
        for first, last in zip(ordered[::2], ordered[1::2]):
            mask[y, (first + round_up) >> 16 : (last >> 16) + 1] = True
    return mask


def _coco(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Walks every edge in fifths of a pixel, as COCO's description of its masks has it."""
    corners = np.trunc(5 * polygon + 0.5).astype(np.int64)
    path: list[tuple[int, int]] = []
    for p, q in pairwise([*corners, corners[0]]):
        path += _fifths(p.tolist(), q.tolist())
    flips = np.zeros(height * width + 1, np.int64)
    for (x0, y0), (x1, y1) in pairwise(path):
        if x0 == x1:
            continue
        centre = ((x0 if x1 > x0 else x0 - 1) + 0.5) / 5 - 0.5
        if centre != np.floor(centre) or not 0 <= centre <= width - 1:
            continue
        row = np.ceil(np.clip((min(y0, y1) + 0.5) / 5 - 0.5, 0, height))
        flips[int(centre) * height + int(row)] += 1
    return (np.cumsum(flips)[:-1] % 2 == 1).reshape(width, height).T


def _fifths(p: list[int], q: list[int]) -> list[tuple[int, int]]:
    dx, dy = abs(q[0] - p[0]), abs(q[1] - p[1])
    flat = dx >= dy
    turned = p[0] > q[0] if flat else p[1] > q[1]
    a, b = (q, p) if turned else (p, q)
    steps = max(dx, dy)
    slope = ((b[1] - a[1]) if flat else (b[0] - a[0])) / max(steps, 1)
    order = range(steps, -1, -1) if turned else range(steps + 1)
    if flat:
        return [(a[0] + t, int(a[1] + slope * t + 0.5)) for t in order]
    return [(int(a[0] + slope * t + 0.5), a[1] + t) for t in order]
