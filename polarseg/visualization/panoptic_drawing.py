"""Panoptic maps drawn on a picture: things told apart by colour, stuff by class."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from polarseg.structures import PanopticMap, Segment
from polarseg.visualization.drawing import (
    GOLDEN_RATIO,
    draw_plate,
    enlarged,
    instance_color,
    plate_size,
)

__all__ = ['draw_panoptic', 'stuff_color']

LONG_SIDE = 1200
"""Pixels; there are labels all over a picture, which need their room."""
BORDER_ALPHA = 0.65
TRIES = (0, -1, 1, -2, 2)
"""Plates above (-) or below the inner point that are tried for a label."""


def stuff_color(category_id: int) -> tuple[int, int, int]:
    """A muted BGR colour of a class; those of things are bright (``instance_color``)."""
    hue = (0.55 + category_id * GOLDEN_RATIO) % 1.0
    value = (0.45, 0.6, 0.75)[category_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.5, value)
    return int(255 * blue), int(255 * green), int(255 * red)


def draw_panoptic(
    image: np.ndarray,
    panoptic: PanopticMap,
    classes: Sequence[str] | None = None,
    enlarge: int | None = None,
    alpha: float = 0.5,
    labels: bool = True,
) -> np.ndarray:
    """Segments with borders and labels on a copy of a picture; void stays as it is.

    The colours depend on nothing but the map: that of a thing on its place among the things, that
    of stuff on its class.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        panoptic: of the same size.
        classes: names by contiguous category id, things then stuff; numbers without.
        enlarge: whole factor of the result's size; None enlarges small pictures so that lines and
            text stay readable.
        alpha: opacity of the segments.
        labels: write class and score at the widest place of each segment. Where labels would cover
            one another, those of small segments are left out.

    Returns:
        ``[H * enlarge, W * enlarge, 3]`` uint8 BGR.

    Raises:
        ValueError: if the sizes differ.
    """
    if image.shape[:2] != panoptic.ids.shape:
        raise ValueError(
            f'picture and map must be of one size, got {list(image.shape[:2])} and '
            f'{list(panoptic.ids.shape)}'
        )
    canvas, enlarge = enlarged(image, enlarge, LONG_SIDE)
    size = canvas.shape[1::-1]
    ids = cv2.resize(panoptic.ids, size, interpolation=cv2.INTER_NEAREST)
    layer = _colors(panoptic)[panoptic.positions(ids)]
    mixed = cv2.addWeighted(layer, alpha, canvas, 1 - alpha, 0)
    canvas = np.where((ids > 0)[..., None], mixed, canvas)
    borders = _borders(ids)
    canvas[borders] = (1 - BORDER_ALPHA) * canvas[borders] + BORDER_ALPHA * 255
    if labels:
        _write_labels(canvas, panoptic, classes, enlarge)
    return canvas


def _colors(panoptic: PanopticMap) -> np.ndarray:
    """``[1 + segments, 3]`` uint8 BGR, void first."""
    colors, things = [(0, 0, 0)], 0
    for segment in panoptic.segments:
        colors.append(
            instance_color(things) if segment.isthing else stuff_color(segment.category_id)
        )
        things += segment.isthing
    return np.array(colors, np.uint8)


def _borders(ids: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another segment, bool like ``ids``."""
    borders = np.zeros(ids.shape, bool)
    borders[:, :-1] = ids[:, 1:] != ids[:, :-1]
    borders[:-1] |= ids[1:] != ids[:-1]
    return borders


def _write_labels(
    canvas: np.ndarray, panoptic: PanopticMap, classes: Sequence[str] | None, enlarge: int
) -> None:
    """Labels that do not cover one another, of large segments first, in place."""
    taken = np.zeros((0, 4), int)
    boxes = panoptic.boxes()
    for index in np.argsort([-segment.area for segment in panoptic.segments], kind='stable'):
        segment = panoptic.segments[index]
        if segment.area == 0:
            continue
        text = _label(segment, classes)
        x, y = _inner_point(panoptic.ids, segment.id, boxes[index])
        center = (round((x + 0.5) * enlarge), round((y + 0.5) * enlarge))
        plate = _free_plate(center, plate_size(text), canvas.shape, taken)
        if plate is not None:
            draw_plate(canvas, text, plate)
            taken = np.concatenate([taken, [plate]])


def _label(segment: Segment, classes: Sequence[str] | None) -> str:
    number = segment.category_id
    text = classes[number] if classes and number < len(classes) else str(number)
    # COCO's names of classes that were put together
    text = text.removesuffix('-merged').removesuffix('-other')
    text += ' (crowd)' if segment.iscrowd else ''
    return text if segment.score is None else f'{text} {segment.score:.2f}'


def _inner_point(ids: np.ndarray, number: int, box: np.ndarray) -> tuple[int, int]:
    """Column and row of the pixel of a segment that is farthest from its border."""
    x, y, width, height = box.tolist()
    mask = (ids[y : y + height, x : x + width] == number).astype(np.uint8)
    # the edge of the picture is a border, too
    distances = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(distances.argmax(), distances.shape)
    return x + int(column), y + int(row)


def _free_plate(
    center: tuple[int, int], size: tuple[int, int], shape: tuple[int, ...], taken: np.ndarray
) -> tuple[int, int, int, int] | None:
    """A plate around or near a point, inside the picture and clear of those ``taken``."""
    width, height = size
    for step in TRIES:
        x = min(max(center[0] - width // 2, 0), max(shape[1] - width - 1, 0))
        y = center[1] - height // 2 + step * (height + 1)
        y = min(max(y, 0), max(shape[0] - height - 1, 0))
        plate = (x, y, x + width, y + height)
        if not ((taken[:, :2] <= plate[2:]) & (taken[:, 2:] >= plate[:2])).all(axis=1).any():
            return plate
    return None
