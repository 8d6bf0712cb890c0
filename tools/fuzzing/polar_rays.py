"""polar_ray_targets: random contours, against both rules written anew in numpy."""

import math
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

import polarseg.ops
from fuzzing.draw import Call, break_one, demand, one_of, relayout, sprinkle

__all__ = ['check', 'draw', 'run']

EMPTY = np.float32(1e-6)
LARGEST = float(np.finfo(np.float32).max)
MOST_WORK = 10**5  # of a slow answer; beyond it only what holds for every answer is checked
DIVISORS = [n for n in range(1, 361) if 360 % n == 0]


# ---- drawing -------------------------------------------------------------------------------------


def _contour(rng: Generator, size: int) -> np.ndarray:
    kind = int(rng.integers(7))
    if kind == 0:  # many points on rays and on one another
        points = rng.integers(0, 8, (size, 2))
    elif kind == 1:
        turn = np.arange(size) * 2 * np.pi / max(size, 1)
        points = rng.uniform(3, 200) * np.stack([np.sin(turn), np.cos(turn)], 1) + 300
    elif kind == 2:  # on a line
        points = np.outer(rng.integers(-9, 9, size), rng.integers(-3, 4, 2)) + 20
    elif kind == 3:
        points = np.repeat(rng.uniform(0, 50, (1, 2)), size, 0)
    else:
        points = rng.normal(0, one_of(rng, [1e-40, 10.0, 1e4, 1e18, 1e38]), (size, 2))
    with np.errstate(over='ignore'):
        return sprinkle(rng, points.astype(np.float32))


def _location(rng: Generator, contour: np.ndarray) -> np.ndarray:
    kind = int(rng.integers(5))
    if len(contour) and kind == 0:
        return contour[rng.integers(len(contour))]
    if len(contour) and kind == 1:
        k = int(rng.integers(len(contour)))
        with np.errstate(all='ignore'):
            return (contour[k] + contour[k - 1]) / np.float32(2)
    if len(contour) and kind == 2:
        with np.errstate(all='ignore'):
            return contour.mean(0)
    return sprinkle(rng, rng.integers(-1, 9, 2).astype(np.float32))


def draw(rng: Generator) -> Call:
    """Draw contours and locations."""
    sizes = [int(one_of(rng, [0, 1, 2, 3, 4, 5, 17, 40, 180])) for _ in range(rng.integers(1, 5))]
    if rng.random() < 0.01:
        sizes.append(5000)
    contours = [_contour(rng, size) for size in sizes]
    instances = rng.integers(0, len(sizes), int(rng.integers(0, 6)))
    locations = [_location(rng, contours[i]) for i in instances]
    mode = one_of(rng, ['binned', 'exact'])
    any_number = [1, 2, 3, 5, 7, 8, 9, 16, 36, 37, 72, 360, 1000]
    integers = one_of(rng, [torch.int64, torch.int32])
    arguments = {
        'contours': relayout(rng, torch.from_numpy(np.concatenate(contours))),
        'offsets': relayout(rng, torch.tensor(np.cumsum([0, *sizes]), dtype=integers)),
        'locations': relayout(
            rng, torch.from_numpy(np.array(locations, np.float32).reshape(-1, 2))
        ),
        'instance_index': relayout(rng, torch.tensor(instances, dtype=integers)),
        'num_rays': one_of(rng, DIVISORS if mode == 'binned' else any_number),
        'mode': mode,
    }
    return break_one(rng, arguments, BREAKS, share=0.3)


# ---- breaking ------------------------------------------------------------------------------------

FAR = (-(2**62), -1, 2**31 - 1, 2**62)


def _break_offsets(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    offsets = arguments['offsets'].long().clone()
    last = len(offsets) - 1
    kind = int(rng.integers(6))
    if kind == 0:
        offsets[0] = one_of(rng, [*FAR, 1])
    elif kind == 1:
        offsets[last] += int(one_of(rng, [-1, 1, 2**40, -(2**40)]))
    elif kind == 2 and last > 1:
        offsets[int(rng.integers(1, last))] = int(one_of(rng, [-1, 2**62, -(2**62), 10**6]))
    elif kind == 3:
        offsets = offsets[:0]
    elif kind == 4:
        offsets = offsets[None]
    else:
        arguments['offsets'] = offsets.to(one_of(rng, [torch.float32, torch.int16, torch.bool]))
        return (TypeError,)
    arguments['offsets'] = offsets
    return (ValueError,)


def _break_index(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    index = arguments['instance_index'].long().clone()
    instances = len(arguments['offsets']) - 1
    if rng.random() < 0.7 and len(index):
        index[int(rng.integers(len(index)))] = int(one_of(rng, [*FAR, instances]))
        arguments['instance_index'] = index
        return (IndexError,)
    arguments['instance_index'] = one_of(rng, [torch.cat([index, index.new_zeros(1)]), index[None]])
    return (ValueError,)


def _break_points(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    name = one_of(rng, ['contours', 'locations'])
    points = arguments[name]
    kind = int(rng.integers(3))
    if kind == 0:
        arguments[name] = points.to(one_of(rng, [torch.float64, torch.float16, torch.int32]))
        return (TypeError,)
    arguments[name] = torch.zeros(len(points), 3) if kind == 1 else points.reshape(-1)
    return (ValueError,)


def _break_numbers(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    if rng.random() < 0.3:
        arguments['mode'] = one_of(rng, ['', 'Exact', 'binned '])
    elif rng.random() < 0.5:
        arguments |= {'num_rays': one_of(rng, [7, 361, 720]), 'mode': 'binned'}
    else:
        arguments['num_rays'] = one_of(rng, [0, -1, -36, 2**20 + 1, 2**31, 2**62, -(2**62)])
    return (ValueError,)


def _no_instance(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    arguments['contours'] = torch.zeros(0, 2)
    arguments['offsets'] = torch.zeros(1, dtype=torch.int64)
    return (ValueError,) if len(arguments['locations']) else ()


BREAKS = (_break_offsets, _break_offsets, _break_index, _break_points, _break_numbers, _no_instance)


# ---- checking ------------------------------------------------------------------------------------


def run(arguments: dict[str, Any]) -> Tensor:
    """Call the operator."""
    return polarseg.ops.polar_ray_targets(**arguments)


def check(arguments: dict[str, Any], rays: Tensor) -> None:
    """Raise WrongResult where an answer is not right."""
    locations = arguments['locations'].numpy()
    num_rays = arguments['num_rays']
    shape = (len(locations), num_rays)
    demand(rays.dtype == torch.float32, f'dtype {rays.dtype}')
    demand(tuple(rays.shape) == shape, f'shape {tuple(rays.shape)} instead of {shape}')
    exact = arguments['mode'] == 'exact'
    demand(bool(torch.isfinite(rays).all()), 'a ray is not finite')
    demand(bool((rays >= (float(EMPTY) if exact else 0)).all()), 'a ray is too short')
    contours = arguments['contours'].numpy()
    offsets = arguments['offsets'].tolist()
    compare = _compare_exact if exact else _compare_binned
    for n, instance in enumerate(arguments['instance_index'].tolist()):
        contour = contours[offsets[instance] : offsets[instance + 1]]
        if len(contour) * num_rays > MOST_WORK:
            continue
        with np.errstate(all='ignore'):
            compare(contour, locations[n], rays[n].numpy(), f'location {n}')


def _degree(dx: float, dy: float) -> int:
    if dx == dy and dx > 0:
        return 44
    degrees = np.float32(math.atan2(dx, dy)) * np.float32(180) / np.float32(math.pi)
    return int(degrees + np.float32(360) if degrees < 0 else degrees)


def _compare_binned(
    contour: np.ndarray, location: np.ndarray, actual: np.ndarray, place: str
) -> None:
    difference = contour - location
    squared = difference[:, 0] * difference[:, 0] + difference[:, 1] * difference[:, 1]
    longest: dict[int, np.float32] = {}
    for (dx, dy), square in zip(difference, squared):
        if np.isfinite(square):
            degree = _degree(dx, dy)
            longest[degree] = max(longest.get(degree, square), square)
    step = 360 // len(actual)
    for ray, length in enumerate(actual):
        found = [longest[d] for s in (0, 1, -1, 2, -2, 3, -3) if (d := ray * step + s) in longest]
        expected = np.sqrt(found[0]) if found else EMPTY
        # the root may be a unit in the last place off
        close = abs(length - expected) <= 2e-7 * expected
        demand(bool(close), f'{place}, ray {ray}: {length} instead of {expected}')


def _compare_exact(
    contour: np.ndarray, location: np.ndarray, actual: np.ndarray, place: str
) -> None:
    """Between bounds: what the ray surely crosses, and what it may at most touch."""
    reach = np.abs(contour - location).sum(1, dtype=np.float32)
    seen = (reach > 0) & (reach <= LARGEST)
    p = contour.astype(np.float64) - location.astype(np.float64)
    edges = seen & np.roll(seen, -1)
    p, q = p[edges], np.roll(p, -1, 0)[edges]
    alone = contour[seen].astype(np.float64) - location.astype(np.float64)
    scale = np.abs(alone).max(initial=0)
    tolerance = 1e-6 * scale
    turn = 2 * np.pi * np.arange(len(actual))[:, None] / len(actual)
    sine, cosine = np.sin(turn), np.cos(turn)
    side_p, side_q = (cosine * v[:, 0] - sine * v[:, 1] for v in (p, q))
    along_p, along_q = (sine * v[:, 0] + cosine * v[:, 1] for v in (p, q))
    sure = (np.minimum(side_p, side_q) < -tolerance) & (np.maximum(side_p, side_q) > tolerance)
    hit = along_p + side_p / np.where(sure, side_p - side_q, 1) * (along_q - along_p)
    low = np.where(sure, hit, 0).max(1, initial=EMPTY)
    near = (np.minimum(side_p, side_q) <= tolerance) & (np.maximum(side_p, side_q) >= -tolerance)
    farthest = np.where(sure, hit, np.where(near, np.maximum(along_p, along_q), 0))
    beside = np.abs(cosine * alone[:, 0] - sine * alone[:, 1]) <= tolerance
    touched = np.where(beside, sine * alone[:, 0] + cosine * alone[:, 1], 0)
    high = np.maximum(farthest.max(1, initial=EMPTY), touched.max(1, initial=EMPTY))
    slack = 2 * tolerance
    for ray in np.flatnonzero((actual < low - slack) | (actual > high + slack)):
        wanted = f'{low[ray]} to {high[ray]}'
        demand(False, f'{place}, ray {ray}: {actual[ray]} instead of {wanted}')
