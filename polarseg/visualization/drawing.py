"""Instances drawn on a picture with OpenCV alone: a few milliseconds, also for small pictures."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.structures import InstanceData

__all__ = ['draw_instances', 'instance_color']

GOLDEN_RATIO = 0.618034
MIN_SIDE = 480


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
    if enlarge is None:
        enlarge = max(1, round(MIN_SIDE / max(image.shape[:2])))
    canvas = cv2.resize(image, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    canvas = np.ascontiguousarray(canvas)
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
        for index in reversed(range(len(instances))):
            _write_label(canvas, instances, index, classes, enlarge)
    return canvas


def _outlines(instances: InstanceData, enlarge: int) -> list[list[np.ndarray]] | None:
    """For each instance the polygons of its mask, whole pixels of the enlarged picture."""
    masks = instances.get('masks')
    if masks is None:
        return None
    if hasattr(masks, 'vertices'):
        scaled = (masks.vertices.float().cpu().numpy() + 0.5) * enlarge
        return [[polygon.astype(np.int32)[:, None]] for polygon in scaled]
    pixels = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else np.asarray(masks)
    found = []
    for mask in pixels.astype(np.uint8):
        large = cv2.resize(mask, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_NEAREST)
        found.append(cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0])
    return found


def _write_label(
    canvas: np.ndarray,
    instances: InstanceData,
    index: int,
    classes: Sequence[str] | None,
    enlarge: int,
) -> None:
    """Class and score on a dark plate at the top left corner of the box, inside the picture."""
    label = int(instances.labels[index])
    text = classes[label] if classes else str(label)
    if 'scores' in instances:
        text += f' {float(instances.scores[index]):.2f}'
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    (width, height), base = cv2.getTextSize(text, font, size, 1)
    x1, y1 = (int(value * enlarge) for value in instances.bboxes[index, :2].tolist())
    x = min(max(x1, 0), max(canvas.shape[1] - width, 0))
    y = max(y1, height + base)
    cv2.rectangle(canvas, (x, y - height - base), (x + width, y), (32, 32, 32), cv2.FILLED)
    cv2.putText(canvas, text, (x, y - base // 2), font, size, (255, 255, 255), 1, cv2.LINE_AA)
