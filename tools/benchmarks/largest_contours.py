"""Measure largest_contours beside OpenCV.

python tools/benchmarks/largest_contours.py --threads 1
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import torch
from comparisons import Comparison, identical
from harness import Case, Peer, Subject, main, new_parser
from pictures import synthetic_masks
from torch import Tensor

from polarseg.ops import largest_contours

COUNTS = (7, 60)
SIZES = ((480, 640), (800, 1280))
QUICK_SIZES = ((48, 64), (80, 96))


def largest_by_opencv(mask: np.ndarray) -> np.ndarray:
    """``[P, 2]`` the contour of largest area."""
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=cv2.contourArea).reshape(-1, 2)


def pack(contours: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Points and offsets, as the operator has them."""
    offsets = np.cumsum([0, *map(len, contours)], dtype=np.int64)
    return torch.from_numpy(np.concatenate(contours, dtype=np.float32)), torch.from_numpy(offsets)


def by_boxes(masks: np.ndarray) -> tuple[Tensor, Tensor]:
    """OpenCV's contours, looked for in the box that ``cv2.boundingRect`` finds."""
    contours = []
    for mask in masks:
        x, y, width, height = cv2.boundingRect(mask)
        crop = mask[y : y + height, x : x + width]
        contours.append(largest_by_opencv(crop) + np.array([x, y]))
    return pack(contours)


def compare(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Comparison:
    """Demands the same points in the same order."""
    found = [identical(*pair) for pair in zip(ours, theirs, strict=True)]
    return next((one for one in found if not one.ok), found[0])


def prepare(count: int, size: tuple[int, int], options: argparse.Namespace) -> Subject:
    """Masks of blobs, as label making has them."""
    masks = synthetic_masks(count, *size, seed=count)['gt_masks'].masks
    tensor = torch.from_numpy(masks).to(options.device)
    peers = {
        'OpenCV findContours': lambda: pack([largest_by_opencv(mask) for mask in masks]),
        'OpenCV boundingRect, findContours': lambda: by_boxes(masks),
    }
    return Subject(
        lambda: tuple(part.cpu() for part in largest_contours(tensor)),
        {name: Peer(function, compare) for name, function in peers.items()},
    )


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    return [
        Case(
            'largest_contours',
            f'{count} masks, {height}x{width}',
            partial(prepare, count, (height, width)),
        )
        for height, width in (QUICK_SIZES if options.quick else SIZES)
        for count in COUNTS
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    return main(list_cases, new_parser(__doc__), argv)


if __name__ == '__main__':
    sys.exit(run())
