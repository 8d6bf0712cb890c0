"""Measure polygons_to_rle and paste_masks_to_rle beside OpenCV, pycocotools and mmdet.

python tools/benchmarks/rle.py --threads 1
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import torch
from comparisons import same_rle
from harness import Case, Peer, Subject, main, new_parser
from peers.rle import coco_polygons, drawn_polygons, pasted_masks
from torch import Tensor

from polarseg.ops import paste_masks_to_rle, polygons_to_rle

NUM_OBJECTS = 100
NUM_VERTICES = 36
POLYGON_SIZES = ((800, 1333), (3000, 4000))
PASTE_SIZE = (800, 1333)
MASK_SIDES = (28, 56)
QUICK_OBJECTS = 5
QUICK_SIZES = ((60, 80), (90, 70))
QUICK_SIDES = (7, 14)


def star_polygons(count: int, height: int, width: int) -> Tensor:
    """``[count, 36, 2]`` float32 polygons as PolarMask decodes them.

    Rays of smoothly varying length from a centre; reaches from 1 % to 40 % of the shorter side;
    vertices kept on the canvas.
    """
    generator = np.random.default_rng(count + height)
    turns = np.linspace(0, 2 * np.pi, NUM_VERTICES, endpoint=False)
    reach = min(height, width) * 10 ** generator.uniform(-2, -0.4, (count, 1))
    harmonics = np.arange(1, 6)
    heights = generator.uniform(0, 0.5, (count, 5)) / harmonics
    shifts = generator.uniform(0, 2 * np.pi, (count, 5))
    waves = np.cos(harmonics[:, None] * turns + shifts[:, :, None])
    radii = reach * (1 + (heights[:, :, None] * waves).sum(axis=1)).clip(0.1)
    centers = generator.uniform(0, 1, (count, 2)) * (width, height)
    x = (centers[:, :1] + radii * np.sin(turns)).clip(0, width - 1)
    y = (centers[:, 1:] + radii * np.cos(turns)).clip(0, height - 1)
    return torch.from_numpy(np.stack([x, y], axis=2)).float()


def mask_logits(count: int, side: int) -> Tensor:
    """``[count, side, side]`` float32 logits of discs with ragged edges, as a mask head gives."""
    generator = torch.Generator().manual_seed(side)
    axis = torch.linspace(-1, 1, side)
    distance = (axis[:, None] ** 2 + axis**2).sqrt()
    radii = 0.5 + 0.4 * torch.rand(count, 1, 1, generator=generator)
    return 8 * (radii - distance) + torch.randn(count, side, side, generator=generator)


def boxes_of(count: int, height: int, width: int) -> Tensor:
    """``[count, 4]`` float32 boxes of mixed sizes and shapes, kept on the canvas."""
    generator = np.random.default_rng(count + width)
    half = min(height, width) * 10 ** generator.uniform(-2, -0.4, (count, 1))
    stretch = generator.uniform(0.6, 1.6, (count, 1))
    half = np.concatenate([half * stretch, half / stretch], axis=1)
    centers = generator.uniform(0, 1, (count, 2)) * (width, height)
    corners = np.concatenate([centers - half, centers + half], axis=1)
    limits = (width, height, width, height)
    return torch.from_numpy(corners.clip(0, limits)).float()


def opencv_rule(version: str) -> str:
    """The operator's rule that fills polygons inside the picture as an OpenCV of a version does."""
    major, minor = (int(number) for number in version.split('.')[:2])
    return 'fill-4.8' if (4, 8) <= (major, minor) < (4, 11) else 'fill'


def prepare_polygons(size: tuple[int, int], rule: str, options: argparse.Namespace) -> Subject:
    """All polygons of a picture to run lengths."""
    count = QUICK_OBJECTS if options.quick else NUM_OBJECTS
    polygons = star_polygons(count, *size).to(options.device)
    peers = {
        'fill': ('OpenCV fill + pycocotools', drawn_polygons),
        'coco': ('pycocotools', coco_polygons),
    }
    name, function = peers[rule]
    if rule == 'fill':
        rule = opencv_rule(cv2.__version__)

    def peer() -> list[dict]:
        return function(list(polygons.cpu().numpy()), *size)

    return Subject(
        lambda: polygons_to_rle(polygons, *size, rule=rule), {name: Peer(peer, same_rle)}
    )


def prepare_paste(side: int, size: tuple[int, int], options: argparse.Namespace) -> Subject:
    """All masks of a picture pasted into their boxes, logits to run lengths on both sides."""
    count = QUICK_OBJECTS if options.quick else NUM_OBJECTS
    logits = mask_logits(count, side).to(options.device)
    boxes = boxes_of(count, *size).to(options.device)

    def ours() -> list[dict]:
        return paste_masks_to_rle(logits.sigmoid(), boxes, *size, threshold=0.5)

    peer = Peer(lambda: pasted_masks(logits, boxes, *size), same_rle)
    return Subject(ours, {'mmdet FCNMaskHead + encode': peer})


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    sizes = QUICK_SIZES if options.quick else POLYGON_SIZES
    paste_size = QUICK_SIZES[0] if options.quick else PASTE_SIZE
    cases = [
        Case(
            'polygons_to_rle',
            f'{rule}, {height}x{width}',
            partial(prepare_polygons, (height, width), rule),
        )
        for rule in ('fill', 'coco')
        for height, width in sizes
    ]
    return cases + [
        Case(
            'paste_masks_to_rle',
            f'masks {side}x{side}, {paste_size[0]}x{paste_size[1]}',
            partial(prepare_paste, side, paste_size),
        )
        for side in (QUICK_SIDES if options.quick else MASK_SIDES)
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    return main(list_cases, new_parser(__doc__), argv)


if __name__ == '__main__':
    sys.exit(run())
