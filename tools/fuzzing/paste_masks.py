"""paste_masks_to_rle: random maps and boxes, against torch's own sampling of whole pictures."""

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

import polarseg.ops
from fuzzing.draw import ODD, Call, break_one, demand, one_of, relayout, sprinkle
from fuzzing.run_lengths import MOST_PIXELS, check_results, pixels_of

__all__ = ['check', 'draw', 'run']

SIDES = (0, 1, 1, 2, 3, 7, 20, 63, 64, 65, 130, 300)
FLOATS = (torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16)
FAR = (*ODD, 2.0**31, -(2.0**31), 2.0**63, 1e7, -1e7, 1.0)


# ---- drawing -------------------------------------------------------------------------------------


def _maps(rng: Generator, count: int) -> np.ndarray:
    rows, columns = (int(one_of(rng, [1, 2, 3, 5, 14, 28])) for _ in range(2))
    kind = int(rng.integers(4))
    maps = rng.random((count, rows, columns))
    if kind == 0:
        maps = maps.round()
    elif kind == 1:
        maps = np.full_like(maps, one_of(rng, [0.0, 0.5, 1.0]))
    elif kind == 2:
        maps = maps * 20 - 10
    return sprinkle(rng, maps.astype(np.float32))


def _boxes(rng: Generator, count: int, height: int, width: int) -> np.ndarray:
    picture = np.array([width, height, width, height])
    kind = int(rng.integers(7))
    if kind == 0:
        boxes = rng.integers(-2, picture + 3, (count, 4)).astype(np.float64)
    elif kind == 1:
        centre = rng.uniform(-0.2, 1.2, (count, 2)) * picture[:2]
        half = rng.uniform(0, 1.5, (count, 2)) * one_of(rng, [0.0, 1e-6, 3.0, 40.0])
        boxes = np.concatenate([centre - half, centre + half], 1)
    elif kind == 2:  # far larger than the picture
        boxes = rng.uniform(-1, 1, (count, 4)) * one_of(rng, [1e3, 1e6, 1e12])
    else:
        corners = np.sort(rng.uniform(-0.3, 1.3, (count, 2, 2)), 1)
        boxes = corners.reshape(count, 4) * picture
    return sprinkle(rng, boxes.astype(np.float32), FAR)


def draw(rng: Generator) -> Call:
    """Draw maps, boxes and a picture."""
    height, width = (int(one_of(rng, SIDES)) for _ in range(2))
    count = int(rng.integers(0, 4))
    maps = torch.from_numpy(_maps(rng, count))
    boxes = torch.from_numpy(_boxes(rng, count, height, width))
    arguments = {
        'masks': relayout(rng, maps.to(one_of(rng, FLOATS))),
        'boxes': relayout(rng, boxes.to(one_of(rng, FLOATS))),
        'height': height,
        'width': width,
        'threshold': one_of(rng, [0.5] * 7 + [0.3, 0.0, 1.0, 1e-30, 1e300]),
        'rule': one_of(rng, ['half_pixel', 'integer_box']),
    }
    return break_one(rng, arguments, BREAKS, share=0.2)


# ---- breaking ------------------------------------------------------------------------------------


def _break_type(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    name = one_of(rng, ['masks', 'boxes'])
    other = one_of(rng, [torch.int64, torch.uint8, torch.bool, torch.complex64])
    arguments[name] = torch.zeros_like(arguments[name], dtype=other)
    return (TypeError,)


def _break_shape(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    masks = [(2, 3), (2, 3, 3, 1), (3, 4, 4), (2, 0, 3), (2, 3, 0), ()]
    boxes = [(2, 5), (8,), (1, 4), (3, 4), (2, 4, 1)]
    arguments |= {'masks': torch.zeros(2, 3, 3), 'boxes': torch.zeros(2, 4)}
    name = one_of(rng, ['masks', 'boxes'])
    arguments[name] = torch.zeros(one_of(rng, masks if name == 'masks' else boxes))
    return (ValueError,)


def _break_size(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    sizes = [(-1, 5), (5, -1), (2**31, 1), (2**31, 0), (0, 2**31), (46341, 46341), (2**62, 2**62)]
    arguments['height'], arguments['width'] = one_of(rng, [*sizes, (-(2**62), 4), (2**62, 4)])
    return (ValueError,)


def _break_number(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    if rng.random() < 0.5:
        arguments['threshold'] = one_of(rng, [-1.0, -1e-30, float('nan'), float('inf')])
    else:
        arguments['rule'] = one_of(rng, ['', 'half-pixel', 'integer'])
    return (ValueError,)


BREAKS = (_break_type, _break_shape, _break_size, _break_number)


# ---- checking ------------------------------------------------------------------------------------


def run(arguments: dict[str, Any]) -> list[dict]:
    """Call the operator."""
    return polarseg.ops.paste_masks_to_rle(**arguments)


def check(arguments: dict[str, Any], results: list[dict]) -> None:
    """Raise WrongResult where an answer is not right."""
    height, width = arguments['height'], arguments['width']
    maps = arguments['masks'].float()
    boxes = arguments['boxes'].float()
    every = check_results(results, len(maps), height, width)
    if not 0 < height * width <= MOST_PIXELS:
        return
    threshold = float(torch.tensor(arguments['threshold'], dtype=torch.float32))
    paste = _half_pixel if arguments['rule'] == 'half_pixel' else _integer_box
    for n, runs in enumerate(every):
        actual = torch.from_numpy(pixels_of(runs, height, width).copy())
        expected, sure = paste(maps[n], boxes[n], height, width, threshold)
        wrong = ((actual != expected) & sure).nonzero()
        demand(len(wrong) == 0, f'mask {n}: pixels (row, column) {wrong[:9].tolist()} differ')


def _near(values: Tensor, reach: float, threshold: float) -> Tensor:
    """Where the last bits of the mean decide."""
    return (values - threshold).abs() <= 1e-5 * (reach + threshold)


def _half_pixel(
    map: Tensor, box: Tensor, height: int, width: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """The mask, and where it is sure. Pixels beside the box, by more than one, are background."""
    expected = torch.zeros(height, width, dtype=torch.bool)
    sure = torch.ones_like(expected)
    if not box.isfinite().all():
        return expected, sure
    spans, grids = [], []
    for low, high, size in ((box[1], box[3], height), (box[0], box[2], width)):
        first = min(max(float(low.floor() - 1), 0.0), size)
        end = min(max(float(high.ceil() + 1), first), size)
        spans.append(slice(int(first), int(end)))
        centres = torch.arange(spans[-1].start, spans[-1].stop, dtype=torch.float32) + 0.5
        grid = (centres - low) / (high - low) * 2 - 1
        grids.append(torch.where(grid.isinf(), 0.0, grid))
    rows, columns = spans
    if rows.start == rows.stop or columns.start == columns.stop:
        return expected, sure
    y, x = torch.meshgrid(*grids, indexing='ij')
    grid = torch.stack([x, y], -1)[None]
    values = functional.grid_sample(map[None, None], grid, align_corners=False)[0, 0]
    expected[rows, columns] = values >= threshold
    # Beyond 2^31 grid_sample's cells are those of no integer; infinite maps make 0 * inf there.
    reach = float(map.abs().max())
    usual = (grid[0].abs() < 1e6).all(-1)
    sure[rows, columns] = usual & ~_near(values, reach, threshold)
    return expected, sure if map.isfinite().all() else torch.zeros_like(sure)


def _integer_box(
    map: Tensor, box: Tensor, height: int, width: int, threshold: float
) -> tuple[Tensor, Tensor]:
    expected = torch.zeros(height, width, dtype=torch.bool)
    sure = torch.ones_like(expected)
    spans = []
    for low, high, cells in ((box[1], box[3], map.shape[0]), (box[0], box[2], map.shape[1])):
        half = (high - low) * 0.5 * ((cells + 2) / cells)
        centre = (high + low) * 0.5
        ends = [float(centre - half), float(centre + half)]
        if not all(-(2.0**31) <= end < 2.0**31 for end in ends):
            return expected, sure
        spans.append((int(ends[0]), int(ends[1])))
    (y1, y2), (x1, x2) = spans
    size = (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
    if size[0] * size[1] > MOST_PIXELS:
        return expected, torch.zeros_like(sure)
    ringed = functional.pad(map, (1, 1, 1, 1))[None, None]
    values = functional.interpolate(ringed, size, mode='bilinear', align_corners=False)[0, 0]
    rows = slice(max(y1, 0), max(min(y2 + 1, height), 0))
    columns = slice(max(x1, 0), max(min(x2 + 1, width), 0))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return expected, sure
    part = values[rows.start - y1 : rows.stop - y1, columns.start - x1 : columns.stop - x1]
    expected[rows, columns] = part > threshold
    sure[rows, columns] = ~_near(part, float(map.abs().max()), threshold)
    return expected, sure if map.isfinite().all() else torch.zeros_like(sure)
