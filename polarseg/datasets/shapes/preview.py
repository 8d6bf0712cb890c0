"""A contact sheet of a COCO data set, to look at pictures and masks together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from polarseg.structures.coco_format import decode_segmentation

__all__ = ['contact_sheet']

_COLOURS = (
    (60, 60, 255),
    (60, 220, 60),
    (255, 120, 40),
    (0, 220, 255),
    (255, 60, 255),
    (255, 255, 0),
    (0, 140, 255),
    (255, 160, 200),
)


def _tile(
    image: np.ndarray, annotations: list[dict[str, Any]], names: dict[int, str], scale: int
) -> np.ndarray:
    height, width = image.shape[:2]
    size = (width * scale, height * scale)
    tile = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    for annotation in annotations:
        mask = decode_segmentation(annotation['segmentation'], height, width)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        curves = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        crowd = bool(annotation['iscrowd'])
        colour = (255, 255, 255) if crowd else _COLOURS[annotation['category_id'] % len(_COLOURS)]
        cv2.drawContours(tile, curves, -1, colour, 1)
        text = 'crowd' if crowd else names[annotation['category_id']]
        x, y = (int(v * scale) for v in annotation['bbox'][:2])
        for paint, thickness in (((0, 0, 0), 3), (colour, 1)):
            place = (max(x - 4, 0), y - 4 if y > 14 else y + 12)
            cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, paint, thickness)
    return tile


def contact_sheet(
    annotation_file: str | Path,
    image_dir: str | Path,
    count: int = 24,
    columns: int = 6,
    scale: int = 2,
) -> np.ndarray:
    """Draw the first pictures of a COCO file side by side, with masks outlined and named.

    Args:
        annotation_file: COCO instances file.
        image_dir: Folder of its pictures.
        count: Number of pictures to show at most.
        columns: Pictures in a row.
        scale: Whole factor of enlargement.

    Returns:
        Uint8 array ``[h, w, 3]``, BGR; cells are as large as the largest picture.

    Raises:
        ValueError: If the file names no picture, or a picture cannot be read.
    """
    content = json.loads(Path(annotation_file).read_text(encoding='utf-8'))
    images = content['images'][:count]
    if not images:
        raise ValueError(f'{annotation_file} names no picture')
    names = {category['id']: category['name'] for category in content['categories']}
    tiles = []
    for item in images:
        path = Path(image_dir) / item['file_name']
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'cannot read picture {path}')
        own = [a for a in content['annotations'] if a['image_id'] == item['id']]
        tiles.append(_tile(image, own, names, scale))
    cell_height = max(tile.shape[0] for tile in tiles) + 4
    cell_width = max(tile.shape[1] for tile in tiles) + 4
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * cell_height, columns * cell_width, 3), 32, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * cell_height, number % columns * cell_width
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet
