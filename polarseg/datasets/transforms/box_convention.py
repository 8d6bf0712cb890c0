"""The data side of the published +1 box convention."""

from mmcv.transforms import BaseTransform

from polarseg.registry import TRANSFORMS

__all__ = ['BoxesToConvention']


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
    """

    def __init__(self, inclusive_boxes: bool = False) -> None:
        self.inclusive_boxes = inclusive_boxes

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
        height, width = results['img_shape'][:2]
        boxes[:, 0::2] = boxes[:, 0::2].clamp(min=0, max=width - edge)
        boxes[:, 1::2] = boxes[:, 1::2].clamp(min=0, max=height - edge)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(inclusive_boxes={self.inclusive_boxes})'
