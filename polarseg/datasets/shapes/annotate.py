"""COCO annotations of a scene, and the count of what it shows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from polarseg.datasets.shapes.masks import (
    count_parts,
    encode_mask,
    has_hole,
    hidden_share,
    segmentation_of,
    tight_box,
)
from polarseg.datasets.shapes.outlines import CATEGORIES
from polarseg.datasets.shapes.scene import Scene, SceneObject

__all__ = ['PHENOMENA', 'annotate']

PHENOMENA = {
    'pictures': 'pictures',
    'empty': 'pictures without any object',
    'objects': 'objects, crowds not counted',
    'crowd': 'crowds (iscrowd = 1)',
    'polygon': 'objects stored as a polygon',
    'rle': 'objects and crowds stored as run lengths',
    'tiny': 'objects whose visible box is no longer than the largest tiny object',
    'filling': 'objects whose visible box spans 80 % of the picture both ways',
    'occluded': 'objects of which another one covers 5 % or more',
    'truncated': 'objects of which 5 % or more lie outside the picture',
    'multi_part': 'objects in several visible parts of 5 % of their area or more',
    'with_hole': 'objects whose visible mask encloses something else',
    'non_star': 'objects in one part without holes, 5 % of which the mass centre cannot see',
}
"""What is counted, as measured on the visible masks, by key of the tally."""


def _phenomena_of(scene: Scene, item: SceneObject, mask: np.ndarray) -> list[str]:
    height, width = scene.size
    _, _, box_width, box_height = tight_box(mask)
    area = int(np.count_nonzero(mask))
    parts, hole = count_parts(mask, least_share=0.05), has_hole(mask)
    found = {
        # Painting rounds outwards, by a pixel at most.
        'tiny': max(box_width, box_height) <= scene.config.tiny_size[1] + 1,
        'filling': box_width >= 0.8 * width and box_height >= 0.8 * height,
        'occluded': area <= 0.95 * item.inside,
        'truncated': item.inside <= 0.95 * item.whole,
        'multi_part': parts > 1,
        'with_hole': hole,
        'non_star': parts == 1 and not hole and hidden_share(mask) >= 0.05,
    }
    return [name for name, holds in found.items() if holds]


def annotate(scene: Scene) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Describe the visible objects of a settled scene.

    Args:
        scene: The scene.

    Returns:
        COCO annotations without ``id`` and ``image_id``, in drawing order, and the tally of this
        picture by keys of :data:`PHENOMENA`.
    """
    annotations: list[dict[str, Any]] = []
    tally: Counter[str] = Counter(pictures=1)
    for number, item in enumerate(scene.objects, start=1):
        mask = scene.visible(number)
        area = int(np.count_nonzero(mask))
        if not area:
            continue
        segmentation = encode_mask(mask) if item.crowd else segmentation_of(mask)
        annotations.append(
            {
                'category_id': CATEGORIES[item.category].id,
                'segmentation': segmentation,
                'area': area,
                'bbox': [float(v) for v in tight_box(mask)],
                'iscrowd': int(item.crowd),
            }
        )
        tally['crowd' if item.crowd else 'objects'] += 1
        tally['rle' if isinstance(segmentation, dict) else 'polygon'] += 1
        if not item.crowd:
            tally.update(_phenomena_of(scene, item, mask))
    tally['empty'] += int(not annotations)
    return annotations, tally
