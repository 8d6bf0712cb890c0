"""mask_boxes: random masks, against numpy's own search."""

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

import polarseg.ops
from fuzzing.draw import Call, break_one, demand, one_of, relayout

__all__ = ['check', 'draw', 'run']

SIDES = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 64, 130)


def draw(rng: Generator) -> Call:
    """Draw masks, most of them with few pixels."""
    count = int(rng.integers(0, 5))
    height, width = (int(one_of(rng, SIDES)) for _ in range(2))
    masks = rng.integers(1, 256, (count, height, width), dtype=np.uint8)
    masks *= rng.random(masks.shape) < one_of(rng, [0.0, 0.002, 0.02, 0.5, 1.0])
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


def run(arguments: dict[str, Any]) -> Tensor:
    """Call the operator."""
    return polarseg.ops.mask_boxes(**arguments)


def check(arguments: dict[str, Any], result: Tensor) -> None:
    """Raise WrongResult where an answer is not right."""
    masks = arguments['masks'].numpy()
    demand(result.shape == (len(masks), 4), f'there are {len(masks)} masks')
    demand(result.dtype == torch.int64, f'boxes are {result.dtype}')
    for n, (mask, box) in enumerate(zip(masks, result.tolist())):
        rows, columns = np.nonzero(mask)
        expected = [0, 0, 0, 0]
        if len(rows) > 0:
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        demand(box == expected, f'mask {n} lies in {expected}, not in {box}')
