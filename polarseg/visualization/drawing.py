"""Instances drawn on a picture with OpenCV alone: a few milliseconds, also for small pictures."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.structures import masks_to_rle

__all__ = ['draw_instances', 'draw_plate', 'enlarged', 'instance_color', 'plate_size']

GOLDEN_RATIO = 0.618034
MIN_SIDE = 480
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_SCALE = 0.4


def instance_color(index: int) -> tuple[int, int, int]:
    """A BGR colour whose hue is far from those of the numbers just before."""
    red, green, blue = colorsys.hsv_to_rgb((0.1 + index * GOLDEN_RATIO) % 1.0, 0.85, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def draw_instances(
    image: np.ndarray,
    instances: InstanceData,
    classes: Sequence[str] | None = None,
    enlarge: int | None = None,
    alpha: float = 0.45,
    labels: bool = True,
    boxes: bool = True,
) -> np.ndarray:
    """Masks, boxes and labels on a copy of a picture.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        instances: ``bboxes``, ``labels`` and, as far as there are any, ``scores`` and ``masks``, in
            pixels of ``image``; the best first, drawn last.
        classes: names of the labels; numbers without.
        enlarge: whole factor of the result's size; None enlarges small pictures so that lines and
            text stay readable.
        alpha: opacity of the masks.
        labels: write class and score.
        boxes: draw the boxes.

    Returns:
        ``[H * enlarge, W * enlarge, 3]`` uint8 BGR.
    """
    canvas, enlarge = enlarged(image, enlarge)
    outlines = _outlines(instances, enlarge)
    for index in reversed(range(len(instances))):
        color = instance_color(index)
        if outlines is not None:
            layer = canvas.copy()
            cv2.drawContours(layer, outlines[index], -1, color, cv2.FILLED)
            canvas = cv2.addWeighted(layer, alpha, canvas, 1 - alpha, 0)
            cv2.drawContours(canvas, outlines[index], -1, color, 2, cv2.LINE_AA)
        if boxes:
            x1, y1, x2, y2 = (int(value * enlarge) for value in instances.bboxes[index].tolist())
            cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 1)
    if labels:
        _write_labels(canvas, instances, classes, enlarge)
    return canvas


def enlarged(
    image: np.ndarray, factor: int | None = None, side: int = MIN_SIDE
) -> tuple[np.ndarray, int]:
    """A copy of a picture to draw on, and the whole factor of its size.

    Args:
        image: ``[H, W, 3]`` uint8.
        factor: None chooses one that makes the longer side about ``side`` pixels at least.
        side: pixels.
    """
    if factor is None:
        factor = max(1, round(side / max(image.shape[:2])))
    canvas = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(canvas), factor


def _outlines(instances: InstanceData, enlarge: int) -> list[list[np.ndarray]] | None:
    """For each instance the polygons of its mask, whole pixels of the enlarged picture."""
    masks = instances.get('masks')
    if masks is None:
        return None
    if hasattr(masks, 'vertices'):
        scaled = (masks.vertices.float().cpu().numpy() + 0.5) * enlarge
        return [[polygon.astype(np.int32)[:, None]] for polygon in scaled]
    found = []
    for mask in map(coco_mask.decode, masks_to_rle(masks)):
        large = cv2.resize(mask, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_NEAREST)
        found.append(cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0])
    return found


def _write_labels(
    canvas: np.ndarray, instances: InstanceData, classes: Sequence[str] | None, enlarge: int
) -> None:
    """Class and score on a dark plate at a corner of each box, the best on top, in place."""
    boxes = (instances.bboxes.detach().float().cpu().numpy() * enlarge).astype(int)
    texts = [_label(instances, index, classes) for index in range(len(instances))]
    plates = np.zeros((len(texts), 4), int)
    for index, text in enumerate(texts):
        plates[index] = _free_plate(boxes[index], plate_size(text), canvas, plates[:index])
    for text, plate in zip(reversed(texts), reversed(plates.tolist())):
        draw_plate(canvas, text, plate)


def plate_size(text: str) -> tuple[int, int]:
    """Width and height in pixels of a label's plate."""
    (width, height), base = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    return width, height + base


def draw_plate(canvas: np.ndarray, text: str, plate: tuple[int, int, int, int]) -> None:
    """White text on a dark plate x1, y1, x2, y2 of :func:`plate_size`, in place."""
    x1, y1, x2, y2 = plate
    base = cv2.getTextSize(text, FONT, FONT_SCALE, 1)[1]
    place = (x1, y2 - base // 2)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), (32, 32, 32), cv2.FILLED)
    cv2.putText(canvas, text, place, FONT, FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)


def _label(instances: InstanceData, index: int, classes: Sequence[str] | None) -> str:
    """Class and score; of a single class the score alone says as much."""
    label = int(instances.labels[index])
    words = [classes[label] if classes and label < len(classes) else str(label)]
    if 'scores' in instances:
        words = words if classes is None or len(classes) > 1 else []
        words.append(f'{float(instances.scores[index]):.2f}')
    return ' '.join(words)


def _free_plate(
    box: np.ndarray, size: tuple[int, int], canvas: np.ndarray, taken: np.ndarray
) -> tuple[int, int, int, int]:
    """A place for a label at ``box``, inside the picture, that covers none of those ``taken``.

    Above the box by choice, then below and inside it; above it where all are taken.
    """
    width, height = size
    x1, y1, x2, y2 = box.tolist()
    plates = []
    for x, y in (
        (x1, y1 - height),
        (x1, y2 + 1),
        (x2 - width, y1 - height),
        (x2 - width, y2 + 1),
        (x1, y1),
        (x1, y2 - height),
    ):
        x = min(max(x, 0), max(canvas.shape[1] - width - 1, 0))
        y = min(max(y, 0), max(canvas.shape[0] - height - 1, 0))
        plate = (x, y, x + width, y + height)
        covered = (taken[:, :2] < plate[2:]) & (taken[:, 2:] > plate[:2])
        if not covered.all(axis=1).any():
            return plate
        plates.append(plate)
    return plates[0]
