"""Measure mask_boxes beside OpenCV and mmdet.

python tools/benchmarks/mask_boxes.py --threads 1
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import cv2
import torch
from comparisons import identical
from harness import Case, Peer, Subject, main, new_parser
from pictures import synthetic_masks
from torch import Tensor

from polarseg.ops import mask_boxes

COUNTS = (7, 60)
SIZES = ((480, 640), (800, 1280))
QUICK_SIZES = ((48, 64), (80, 96))


def prepare(count: int, size: tuple[int, int], options: argparse.Namespace) -> Subject:
    """Masks of blobs, as label making has them."""
    bitmaps = synthetic_masks(count, *size, seed=count)['gt_masks']
    masks = torch.from_numpy(bitmaps.masks).to(options.device)

    def by_opencv() -> Tensor:
        rectangles = torch.tensor([cv2.boundingRect(mask) for mask in bitmaps.masks])
        rectangles[:, 2:] += rectangles[:, :2]
        return rectangles

    def by_mmdet() -> Tensor:
        return bitmaps.get_bboxes(dst_type='hbox').tensor.long()

    peers = {'OpenCV boundingRect': by_opencv, 'mmdet BitmapMasks': by_mmdet}
    return Subject(
        lambda: mask_boxes(masks).cpu(),
        {name: Peer(function, identical) for name, function in peers.items()},
    )


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    return [
        Case(
            'mask_boxes',
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
