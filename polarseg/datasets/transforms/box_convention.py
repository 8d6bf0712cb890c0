"""The data side of the published +1 box convention."""

from mmcv.transforms import BaseTransform

from polarseg.datasets.skip_log import SkipLog
from polarseg.datasets.transforms.instances import leave_out
from polarseg.registry import TRANSFORMS

__all__ = ['BoxesToConvention']

EMPTY_SIDE = 1e-5
"""Pixels; a box with x2 - x1 or y2 - y1 up to this is empty, in either convention."""


@TRANSFORMS.register_module()
class BoxesToConvention(BaseTransform):
    """Finish ``gt_bboxes`` after resizing and flipping, in the chosen box convention.

    Put it behind the last geometric transform, whose own clipping must be off
    (``Resize(clip_object_border=False)``).

    Inclusive boxes, the published convention, name the first and the last pixel: a flip maps x1 to
    ``W - x2 - 1``, and boxes are clipped to [0, W - 1] x [0, H - 1]. Continuous boxes, mmdet's,
    flip to ``W - x2`` and are clipped to [0, W] x [0, H].

    Args:
        inclusive_boxes: which of the two.
        clip: False leaves the clipping out. The original CenterMask clips before the resize alone,
            which is another one of these transforms, straight behind the loading.
        drop_empty: leave out instances whose box has x2 <= x1 or y2 <= y1 (within 1e-5 pixels) in
            the end, logged and counted. Published CenterMask does, PolarMask does not.
    """

    def __init__(
        self, inclusive_boxes: bool = False, clip: bool = True, drop_empty: bool = False
    ) -> None:
        self.inclusive_boxes = inclusive_boxes
        self.clip = clip
        self.drop_empty = drop_empty
        self.skips = SkipLog(type(self).__name__)

    def transform(self, results: dict) -> dict:
        """Change ``gt_bboxes`` of one picture in place.

        Needs ``img_shape`` and, where a flip went before, mmcv's ``flip`` and ``flip_direction``.
        """
        boxes = results['gt_bboxes'].tensor
        edge = 1 if self.inclusive_boxes else 0
        direction = results.get('flip_direction') if results.get('flip') else None
        # mmdet's flip has just mapped x1 to W - x2, one pixel too far for inclusive boxes
        if direction in ('horizontal', 'diagonal'):
            boxes[:, 0::2] -= edge
        if direction in ('vertical', 'diagonal'):
            boxes[:, 1::2] -= edge
        if self.clip:
            height, width = results['img_shape'][:2]
            boxes[:, 0::2] = boxes[:, 0::2].clamp(min=0, max=width - edge)
            boxes[:, 1::2] = boxes[:, 1::2].clamp(min=0, max=height - edge)
        if self.drop_empty:
            self._drop_empty(results)
        return results

    def _drop_empty(self, results: dict) -> None:
        boxes = results['gt_bboxes'].tensor
        full = (boxes[:, 2:] - boxes[:, :2] > EMPTY_SIDE).all(dim=1).numpy()
        leave_out(results, full, self.skips, 'its box is empty')

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(inclusive_boxes={self.inclusive_boxes}, clip={self.clip}, '
            f'drop_empty={self.drop_empty})'
        )
