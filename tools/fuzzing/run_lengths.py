"""COCO's compressed run lengths, decoded anew, and what every result of the operators must be."""

import numpy as np

from fuzzing.draw import demand

__all__ = ['check_results', 'pixels_of']

MOST_PIXELS = 10**5  # of a picture that a slow answer is drawn for


def _numbers(counts: bytes) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for byte in counts:
        group = byte - 48
        demand(0 <= group < 64, f'the character {byte} is none of run lengths')
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        numbers.append(value - (1 << shift) if group & 16 else value)
        value = shift = 0
    demand(shift == 0, 'the last number goes on')
    return numbers


def _runs(counts: bytes) -> list[int]:
    runs = _numbers(counts)
    for i in range(3, len(runs)):
        runs[i] += runs[i - 2]
    return runs


def check_results(results: list[dict], count: int, height: int, width: int) -> list[list[int]]:
    """Check what holds for every answer; the run lengths of each mask."""
    demand(len(results) == count, f'{len(results)} masks instead of {count}')
    every = []
    for result in results:
        demand(result['size'] == [height, width], f'size {result["size"]}')
        runs = _runs(result['counts'])
        demand(sum(runs) == height * width, f'run lengths {runs} of {height} x {width} pixels')
        demand(len(runs) > 0 and runs[0] >= 0 and min(runs[1:], default=1) > 0, f'runs {runs}')
        every.append(runs)
    return every


def pixels_of(runs: list[int], height: int, width: int) -> np.ndarray:
    """``[height, width]`` bool."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T
