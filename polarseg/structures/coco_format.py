"""COCO files: checks of annotations that pycocotools does not make, and the order of classes."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from polarseg.structures.rle import rle_counts

__all__ = [
    'check_picture_ids',
    'count_bad_parts',
    'decode_segmentation',
    'is_box',
    'ordered_category_ids',
    'why_no_mask',
]

MAX_COORDINATE = 1_000_000
"""Pixels; pycocotools breaks the process on polygons far beyond."""


def check_picture_ids(content: dict) -> None:
    """Refuse a file in which two pictures have one id: annotations of both would go to one.

    Args:
        content: of the file, with ``images``.

    Raises:
        ValueError: with the id and the two file names.
    """
    names: dict[Any, Any] = {}
    for image in content.get('images', []):
        number, name = image['id'], image.get('file_name')
        if number in names:
            raise ValueError(f'two pictures have the id {number}: {names[number]} and {name}')
        names[number] = name


def is_box(box: Any) -> bool:
    """Whether an annotation's ``bbox`` is a list of four finite numbers."""
    return isinstance(box, (list, tuple)) and len(box) == 4 and _all_finite(box)


def _all_finite(numbers: Sequence[Any]) -> bool:
    """Whether a sequence has finite numbers only; their sum is quick where there are millions."""
    try:
        return math.isfinite(sum(numbers))
    except TypeError:
        return False


def why_no_mask(segmentation: Any, size: list[int]) -> str | None:
    """The reason why a COCO ``segmentation`` is no mask, or None.

    Args:
        segmentation: of the annotation.
        size: height and width of its picture.
    """
    if not segmentation:
        return 'no segmentation'
    if isinstance(segmentation, dict):
        return _why_no_rle(segmentation, size)
    if not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
        return 'segmentation is neither a list of polygons nor RLE'
    if not all(map(_all_finite, segmentation)):
        return 'polygon with a coordinate that is no finite number'
    if any(max(map(abs, polygon), default=0) > MAX_COORDINATE for polygon in segmentation):
        return f'polygon with a coordinate beyond {MAX_COORDINATE} pixels'
    if not any(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation):
        return 'no polygon of at least 3 points'
    return None


def _why_no_rle(rle: dict, size: list[int]) -> str | None:
    counts = rle.get('counts')
    if not isinstance(counts, (list, str)) or 'size' not in rle:
        return 'RLE without counts or size'
    if list(rle['size']) != size:
        return 'RLE of another size than the picture'
    try:
        pixels = rle_counts(counts).sum()
    except ValueError:
        return 'malformed RLE'
    return None if pixels == size[0] * size[1] else 'RLE that does not cover its picture'


def count_bad_parts(segmentation: Any) -> int:
    """Polygons of a usable segmentation that are none: fewer than 3 points, or half a point."""
    if not isinstance(segmentation, list):
        return 0
    return sum(map(_is_bad_part, segmentation))


def _is_bad_part(polygon: Sequence[Any]) -> bool:
    return len(polygon) < 6 or len(polygon) % 2 == 1


def decode_segmentation(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """Pixels of a COCO ``segmentation``, by COCO's rule for polygons.

    Args:
        segmentation: polygons, whose usable parts are united, or run lengths, compressed or not;
            sound by :func:`why_no_mask`.
        height, width: of its picture, pixels.

    Returns:
        ``[height, width]`` uint8, 1 inside, in Fortran order as pycocotools has it.
    """
    if isinstance(segmentation, list):
        # pycocotools would take four numbers for a box
        parts = [part for part in segmentation if not _is_bad_part(part)]
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, height, width)))
    if isinstance(segmentation['counts'], list):
        return coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width))
    return coco_mask.decode(segmentation)


def ordered_category_ids(coco: Any, classes: tuple[str, ...]) -> list[int]:
    """Category ids in the order of the class names.

    mmdet lists them in the order of the file, so that a class list in another order, or with a
    name that the file lacks, would shift the labels without a word.

    Args:
        coco: a pycocotools-like object with ``dataset['categories']``.
        classes: the class names; label i is ``classes[i]``.

    Raises:
        ValueError: if a class is not in the file, or stands there twice.
    """
    ids: dict[str, list[int]] = defaultdict(list)
    for category in coco.dataset.get('categories', []):
        ids[category['name']].append(category['id'])
    missing = [name for name in classes if name not in ids]
    if missing:
        raise ValueError(
            f'no category is named {missing}; the file has {sorted(ids)}. '
            "Set metainfo=dict(classes=(...)) of the data set to names of the file's categories."
        )
    repeated = [name for name in classes if len(ids[name]) > 1]
    if repeated:
        raise ValueError(f'more than one category is named {repeated}')
    return [ids[name][0] for name in classes]
