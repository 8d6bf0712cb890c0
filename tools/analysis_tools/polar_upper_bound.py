"""Measure the best mask IoU that polar masks can reach on the instances of a COCO-format file.

    python tools/analysis_tools/polar_upper_bound.py YOUR.json --size 1280x768 --by-area

No network and no pixels are needed: each instance is turned into rays from its mass centre, back
into a polygon and into pixels, and compared with its own mask. Exits with 2, saying what is wrong,
when the file cannot be used.
"""

import argparse
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from polarseg.ops import polar_ray_targets
from polarseg.structures import (
    PackedContours,
    decode_rays,
    fill_polygon,
    largest_contour,
    mass_center,
    mass_centers,
)
from polarseg.structures.coco_format import decode_segmentation, is_box, why_no_mask
from polarseg.structures.polar import EMPTY_RAY

MODES = ('binned', 'exact')
# the filters of the published training code
MIN_AREA = 15
MIN_SIDE = 10
MIN_PIXELS = 15
# pycocotools counts pixels in 32 bits and crashes on polygons that reach too far
MAX_PIXELS = 2**31 - 1
AREAS = {
    'all': (0, math.inf),
    'small': (0, 32**2),
    'medium': (32**2, 96**2),
    'large': (96**2, math.inf),
}
"""COCO's size classes: pixels of the mask in the original picture, from and below."""


class AnnotationFileError(ValueError):
    """The file cannot be read as COCO annotations, or nothing in it can be measured."""


@dataclass
class Picture:
    """What a file says of one picture: its size in pixels and its annotations."""

    height: int
    width: int
    annotations: list[dict] = field(default_factory=list)


@dataclass
class Measurement:
    """What one representation reaches, one entry for each instance measured."""

    ious: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)  # share of the instance's rays


@dataclass
class Bound:
    """The result of :func:`measure`.

    Attributes:
        areas: pixels of each instance's mask in the original picture.
        measurements: for each (mode, number of rays), in the order asked for.
        skipped: the ids of the annotations that were left out, by reason.
        centers_outside: how many mass centres are not strictly inside their contour; from these
            alone can a ray of mode ``exact`` meet nothing.
    """

    areas: list[int]
    measurements: dict[tuple[str, int], Measurement]
    skipped: dict[str, list[Any]]
    centers_outside: int = 0

    def rows(self, area_names: Sequence[str] = ('all',)) -> list[dict]:
        """The table: one row for each mode, number of rays and size class.

        Returns:
            Dicts with ``mode``, ``rays``, ``area``, ``instances``, and ``mean_iou``,
            ``median_iou`` and ``empty_rays``, in [0, 1] and None where there is no instance.
        """
        areas = np.array(self.areas)
        rows = []
        for (mode, rays), measured in self.measurements.items():
            ious, empty = np.array(measured.ious), np.array(measured.empty)
            for name in area_names:
                low, high = AREAS[name]
                chosen = (areas >= low) & (areas < high)
                row = dict(mode=mode, rays=rays, area=name, instances=int(chosen.sum()))
                values = (None, None, None)
                if chosen.any():
                    values = (ious[chosen].mean(), np.median(ious[chosen]), empty[chosen].mean())
                    values = tuple(map(float, values))
                rows.append(row | dict(zip(('mean_iou', 'median_iou', 'empty_rays'), values)))
        return rows


def read_pictures(path: Path) -> tuple[dict[Any, Picture], list[Any]]:
    """Read a COCO-format file; pictures need ``id``, ``height`` and ``width`` only.

    Returns:
        The pictures by id, and the ids of annotations whose picture the file does not list.

    Raises:
        AnnotationFileError: the file is missing or is no such file, with the entry at fault.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationFileError(f'{path}: cannot be read as JSON: {error}') from error
    entries = {}
    for key in ('images', 'annotations'):
        entries[key] = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries[key], list):
            raise AnnotationFileError(f"{path}: not in COCO format: no list named '{key}'")
        for index, entry in enumerate(entries[key]):
            if not isinstance(entry, dict):
                raise AnnotationFileError(f'{path}: {key}[{index}] is no object')
    pictures: dict[Any, Picture] = {}
    for index, image in enumerate(entries['images']):
        image_id = _checked_id(image.get('id'), f'{path}: images[{index}]')
        if image_id in pictures:
            raise AnnotationFileError(f'{path}: two images have the id {image_id}')
        sides = [image.get('height'), image.get('width')]
        if not all(type(side) is int and side > 0 for side in sides):
            raise AnnotationFileError(
                f'{path}: image {image_id}: height and width must be whole numbers above 0, '
                f'got {sides[0]!r} and {sides[1]!r}'
            )
        if sides[0] * sides[1] > MAX_PIXELS:
            raise AnnotationFileError(f'{path}: image {image_id}: more than {MAX_PIXELS} pixels')
        pictures[image_id] = Picture(*sides)
    strays = []
    for index, annotation in enumerate(entries['annotations']):
        image_id = annotation.get('image_id')
        where = f'{path}: annotations[{index}] (id {annotation.get("id")}): image_id'
        if _checked_id(image_id, where) in pictures:
            pictures[image_id].annotations.append(annotation)
        else:
            strays.append(annotation.get('id'))
    return pictures, strays


def _checked_id(value: Any, where: str) -> int | str:
    if type(value) not in (int, str):
        raise AnnotationFileError(f'{where}: an id must be a number or a text, got {value!r}')
    return value


def why_filtered(annotation: dict, height: int, width: int) -> str | None:
    """The reason why an annotation is not measured, as far as it is known without its mask.

    The filters are those of the published training code.

    Args:
        annotation: a COCO annotation.
        height, width: of its picture, pixels.
    """
    if annotation.get('iscrowd'):
        return 'crowd'
    if annotation.get('ignore'):
        return 'flagged ignore'
    area, box = annotation.get('area'), annotation.get('bbox')
    if type(area) not in (int, float) or not math.isfinite(area):
        return 'area is missing or no finite number'
    if area <= MIN_AREA:
        return f'area of at most {MIN_AREA}'
    if not is_box(box):
        return 'no box of four finite numbers'
    if box[2] < MIN_SIDE and box[3] < MIN_SIDE:
        return f'both sides below {MIN_SIDE} pixels'
    return why_no_mask(annotation.get('segmentation'), [height, width])


def measure_masks(
    masks: Sequence[np.ndarray], contours: Sequence[np.ndarray], mode: str, num_rays: int
) -> tuple[list[float], list[float]]:
    """Turn the instances of one picture into rays and back.

    PolarMask (arXiv 1909.13226), section 3.2: rays from the mass centre to the contour. All
    instances go through one call of the operator.

    Args:
        masks: ``[H, W]`` uint8 masks of one size.
        contours: the ``[P, 2]`` contour of each mask by ``largest_contour``, pixels.
        mode: of ``polar_ray_targets``.
        num_rays: number of rays.

    Returns:
        For each instance the IoU of the filled polygon with its mask, and the share of its rays
        that meet nothing.
    """
    packed = PackedContours.from_list(contours)
    centers = torch.from_numpy(mass_centers(contours)).float()
    own = torch.arange(len(contours))
    rays = polar_ray_targets(packed.points, packed.offsets, centers, own, num_rays, mode)
    polygons = decode_rays(centers, rays, masks[0].shape).numpy()
    empty = rays == rays.new_tensor(EMPTY_RAY)
    ious = [mask_iou(fill_polygon(polygon, *m.shape), m) for polygon, m in zip(polygons, masks)]
    return ious, empty.float().mean(dim=1).tolist()


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two ``[H, W]`` uint8 masks of 0 and 1, not both empty."""
    intersection = np.count_nonzero(first & second)
    return intersection / (np.count_nonzero(first) + np.count_nonzero(second) - intersection)


def measure(
    path: Path, modes: Sequence[str], numbers: Sequence[int], size: tuple[int, int] | None = None
) -> Bound:
    """Measure every usable instance of a file.

    Args:
        path: COCO-format JSON.
        modes: of ``polar_ray_targets``.
        numbers: numbers of rays; divisors of 360 where ``modes`` has ``binned``.
        size: width and height to which masks are resized (nearest neighbour, aspect ratio not
            kept) before their contours are traced, as in the published pipeline; None takes them
            as they are.

    Raises:
        AnnotationFileError: the file cannot be used, or nothing of it is left to measure.
    """
    pictures, strays = read_pictures(path)
    bound = Bound([], {(m, n): Measurement() for m in modes for n in numbers}, defaultdict(list))
    if strays:
        bound.skipped['its picture is not in the file'] = strays
    for picture in pictures.values():
        masks, contours = _usable_masks(picture, size, bound)
        if not masks:
            continue
        for (mode, num_rays), measured in bound.measurements.items():
            ious, empty = measure_masks(masks, contours, mode, num_rays)
            measured.ious += ious
            measured.empty += empty
    if not bound.areas:
        reasons = '; '.join(f'{reason}: {len(ids)}' for reason, ids in bound.skipped.items())
        raise AnnotationFileError(
            f'{path}: no instance left to measure ({reasons or "it has no annotations"})'
        )
    return bound


def _usable_masks(
    picture: Picture, size: tuple[int, int] | None, bound: Bound
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Masks and contours of a picture's usable instances; their areas and the skips go to bound."""
    masks, contours = [], []
    for annotation in picture.annotations:
        reason = why_filtered(annotation, picture.height, picture.width)
        if reason is None:
            mask = decode_segmentation(annotation['segmentation'], picture.height, picture.width)
            pixels = np.count_nonzero(mask)
            if size is not None:
                mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
            contour = largest_contour(mask)
            if pixels < MIN_PIXELS:
                reason = f'mask below {MIN_PIXELS} pixels'
            elif contour is None:
                reason = 'its mask has no pixel at the network size'
        if reason is not None:
            bound.skipped[reason].append(annotation.get('id'))
            continue
        masks.append(mask)
        contours.append(contour)
        bound.areas.append(pixels)
        inside = cv2.pointPolygonTest(contour, mass_center(contour), measureDist=False) > 0
        bound.centers_outside += not inside
    return masks, contours


def markdown_table(rows: Sequence[dict]) -> str:
    """The rows of :meth:`Bound.rows` for reading; IoU to four digits, shares in percent."""
    lines = [
        '| rule | rays | area | mean IoU | median IoU | empty rays | instances |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        values = ['–'] * 3  # noqa: RUF001
        if row['instances']:
            values = [f'{row["mean_iou"]:.4f}', f'{row["median_iou"]:.4f}']
            values.append(f'{row["empty_rays"]:.1%}')
        cells = [row['mode'], str(row['rays']), row['area'], *values, str(row['instances'])]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from ``WxH``."""
    match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'must be WxH such as 1280x768, got {text!r}')
    width, height = int(match[1]), int(match[2])
    if width * height > MAX_PIXELS:
        raise argparse.ArgumentTypeError(f'more than {MAX_PIXELS} pixels: {text}')
    return width, height


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('annotations', type=Path, help='COCO-format JSON')
    parser.add_argument('--rays', type=int, nargs='+', default=[18, 24, 36, 72, 90], metavar='N')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument('--size', type=parse_size, help='WxH of the network input (native size)')
    parser.add_argument('--by-area', action='store_true', help='rows for COCO size classes too')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the table to this file')
    args = parser.parse_args(argv)
    # a number given twice would be measured twice into one entry
    args.modes, args.rays = list(dict.fromkeys(args.modes)), list(dict.fromkeys(args.rays))
    for number in args.rays:
        if not 3 <= number <= 2**20:
            parser.error(f'--rays: a polygon needs at least 3 rays (2**20 at most), got {number}')
        if 'binned' in args.modes and 360 % number:
            parser.error(f'--rays: {number} does not divide 360, which mode binned needs')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    try:
        bound = measure(args.annotations, args.modes, args.rays, args.size)
        rows = bound.rows(AREAS if args.by_area else ('all',))
        print(markdown_table(rows))
        print(f'\nmeasured {len(bound.areas)} instances, masks at {_size_text(args.size)}')
        print(f'mass centre not inside its contour: {bound.centers_outside} instances')
        for reason, ids in bound.skipped.items():
            shown = ', '.join(map(str, ids[:5])) + (', ...' if len(ids) > 5 else '')
            print(f'skipped {len(ids)}: {reason} (ids {shown})')
        if args.json is not None:
            report = dict(
                annotations=args.annotations.name,
                size=args.size,
                instances=len(bound.areas),
                centers_outside=bound.centers_outside,
                skipped={reason: len(ids) for reason, ids in bound.skipped.items()},
                rows=rows,
            )
            args.json.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    except (AnnotationFileError, OSError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        sys.exit(2)


def _size_text(size: tuple[int, int] | None) -> str:
    return 'their own size' if size is None else f'{size[0]} x {size[1]}'


if __name__ == '__main__':
    main()
