"""BlendMask's crop: a window that holds the centre of an instance drawn at random."""

import math
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes, autocast_box_type
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from polarseg.datasets.skip_log import SkipLog
from polarseg.datasets.transforms.instances import leave_out
from polarseg.registry import TRANSFORMS
from polarseg.structures.polygons import clip_polygon

__all__ = ['BoxesFromMasks', 'InstanceAwareCrop']

Window = tuple[int, int, int, int]
"""x1, y1, x2, y2, whole pixels; x2 and y2 are the first ones outside."""

Masks = PolygonMasks | BitmapMasks

NO_POLYGON = np.zeros(6)
"""What mmdet has for an ignored instance without polygons."""


@TRANSFORMS.register_module()
class InstanceAwareCrop(BaseTransform):
    """Cut a window out of a picture that holds the centre of one of its instances.

    The published augmentation of BlendMask (arXiv 2001.00309) with long schedules. Put it before
    the resize, and :class:`BoxesFromMasks` behind the last geometric transform.

    Polygons are intersected with the window, so that one can become several; bitmaps, label map
    (``gt_seg_map``) and picture are sliced; boxes are shifted and clipped. An instance of which the
    window has nothing is left out, logged and counted: by its mask, or by its box if it is ignored
    or no masks are loaded. A picture without instances is cut anywhere.

    Args:
        size_range: smallest height and width of the window, as shares of the picture's; each side
            is drawn on its own between this and 1.
        crop_instance: instances may be cut. With False the window grows around every instance box
            that it cuts, until it cuts none.
        max_rounds: after so many rounds of growing, the whole picture is taken.

    Raises:
        ValueError: if ``size_range`` is not two shares in (0, 1], or ``max_rounds`` is negative.
    """

    def __init__(
        self,
        size_range: Sequence[float] = (0.9, 0.9),
        crop_instance: bool = True,
        max_rounds: int = 100,
    ) -> None:
        if len(size_range) != 2 or not all(0 < share <= 1 for share in size_range):
            raise ValueError(f'size_range must be two shares in (0, 1], got {list(size_range)}')
        if max_rounds < 0:
            raise ValueError(f'max_rounds must not be negative, got {max_rounds}')
        self.size_range = tuple(size_range)
        self.crop_instance = crop_instance
        self.max_rounds = max_rounds
        self.skips = SkipLog(type(self).__name__)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Cut one picture and what is annotated on it.

        Changes ``img``, ``img_shape``, ``gt_seg_map`` and the arrays of the instances;
        ``homography_matrix`` takes the shift.

        Raises:
            KeyError: if there are ``gt_masks`` without ``gt_bboxes``.
        """
        height, width = results['img'].shape[:2]
        has_boxes = results.get('gt_bboxes') is not None
        if not has_boxes and results.get('gt_masks') is not None:
            raise KeyError('InstanceAwareCrop needs gt_bboxes beside gt_masks')
        boxes = results['gt_bboxes'].tensor.numpy() if has_boxes else np.zeros((0, 4))
        boxes = boxes.astype(np.float64).clip(0, [width, height, width, height])
        window = self.draw(boxes, (height, width))
        if not self.crop_instance:
            window = self._grow(window, boxes, (height, width))
        self._cut(results, window)
        return results

    def draw(self, boxes: np.ndarray, size: tuple[int, int]) -> Window:
        """A window around the centre of one of the boxes, by numpy's global generator.

        Args:
            boxes: ``[G, 4]`` x1, y1, x2, y2 inside of the picture, pixels; ignored ones count.
            size: height and width of the picture, pixels.
        """
        # the generator that mmengine seeds in every loader process
        draws = np.random.rand(2)  # noqa: NPY002
        shares = [low + (1 - low) * draw for low, draw in zip(self.size_range, draws.tolist())]
        chosen = boxes[np.random.randint(len(boxes))] if len(boxes) else None  # noqa: NPY002
        corner, sides = [], []
        for axis, (length, share) in enumerate(zip(size, shares)):
            side = max(int(length * share + 0.5), 1)
            first, last = 0, length - side
            if chosen is not None:
                center = (chosen[1 - axis] + chosen[3 - axis]) / 2
                first = max(math.floor(center) - side, 0)
                last = min(last, math.ceil(center))
            corner.append(int(np.random.randint(first, last + 1)))  # noqa: NPY002
            sides.append(side)
        (y, x), (height, width) = corner, sides
        return x, y, x + width, y + height

    def _grow(self, window: Window, boxes: np.ndarray, size: tuple[int, int]) -> Window:
        """The window and all the boxes that it would cut, or the whole picture."""
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        for _ in range(self.max_rounds):
            x1, y1, x2, y2 = window
            touched = (boxes[:, :2] < (x2, y2)).all(axis=1) & (boxes[:, 2:] > (x1, y1)).all(axis=1)
            low = np.floor(boxes[touched, :2].min(axis=0, initial=np.inf))
            high = np.ceil(boxes[touched, 2:].max(axis=0, initial=-np.inf))
            grown = *np.minimum(low, (x1, y1)), *np.maximum(high, (x2, y2))
            if grown == window:
                return window
            window = tuple(int(side) for side in grown)
        return 0, 0, size[1], size[0]

    def _cut(self, results: dict, window: Window) -> None:
        x1, y1, x2, y2 = window
        results['img'] = results['img'][y1:y2, x1:x2]
        results['img_shape'] = (y2 - y1, x2 - x1)
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = results['gt_seg_map'][y1:y2, x1:x2]
        shift = np.array([[1, 0, -x1], [0, 1, -y1], [0, 0, 1]], np.float32)
        before = results.get('homography_matrix')
        results['homography_matrix'] = shift if before is None else shift @ before
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].translate_((-x1, -y1))
            results['gt_bboxes'].clip_(results['img_shape'])
            self._cut_instances(results, window)

    def _cut_instances(self, results: dict, window: Window) -> None:
        """Masks, and which instances are left."""
        boxes = results['gt_bboxes'].tensor.numpy()
        left = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        masks = results.get('gt_masks')
        if masks is not None:
            masks, filled = _cut_masks(masks, window)
            ignored = np.zeros(len(boxes), bool)
            ignored |= np.asarray(results.get('gt_ignore_flags', ignored), dtype=bool)
            left = np.where(ignored, left, filled)
            results['gt_masks'] = masks
        leave_out(results, left, self.skips, 'nothing of it is in the window')

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size_range={self.size_range}, '
            f'crop_instance={self.crop_instance}, max_rounds={self.max_rounds})'
        )


def _cut_masks(
    masks: PolygonMasks | BitmapMasks, window: Window
) -> tuple[PolygonMasks | BitmapMasks, np.ndarray]:
    """The masks inside of a window, and ``[G]`` bool: whether anything is left of each."""
    x1, y1, x2, y2 = window
    height, width = y2 - y1, x2 - x1
    if isinstance(masks, BitmapMasks):
        pixels = masks.masks[:, y1:y2, x1:x2]
        return BitmapMasks(pixels, height, width), pixels.any(axis=(1, 2))
    parts_of = [_cut_polygons(parts, window) for parts in masks.masks]
    filled = np.array([bool(parts) for parts in parts_of], dtype=bool)
    return PolygonMasks([parts or [NO_POLYGON.copy()] for parts in parts_of], height, width), filled


def _cut_polygons(polygons: Sequence[np.ndarray], window: Window) -> list[np.ndarray]:
    """COCO style parts of an instance, cut and moved to the window's corner."""
    cut = [part for p in polygons for part in clip_polygon(np.reshape(p, (-1, 2)), window)]
    return [(part - window[:2]).reshape(-1) for part in cut]


@TRANSFORMS.register_module()
class BoxesFromMasks(BaseTransform):
    """Make ``gt_bboxes`` the tight boxes of the masks, behind the last geometric transform.

    Published BlendMask does where, and only where, pictures are cropped. The box of polygons spans
    their vertices, that of a bitmap its pixels as unit squares. Ignored instances, whose masks can
    be placeholders, keep their boxes.
    """

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Replace the boxes of one picture.

        Raises:
            KeyError: if there are no masks.
        """
        if 'gt_masks' not in results:
            raise KeyError('BoxesFromMasks needs gt_masks; load them with LoadPolygonAnnotations')
        boxes = results['gt_bboxes'].tensor
        tight = HorizontalBoxes.from_instance_masks(results['gt_masks']).tensor
        used = ~np.asarray(results.get('gt_ignore_flags', np.zeros(len(boxes))), dtype=bool)
        rows = np.flatnonzero(used)
        boxes[rows] = tight[rows].to(boxes)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
