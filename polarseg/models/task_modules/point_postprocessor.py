"""THE score, top-k and NMS path of all three systems."""

from typing import NamedTuple

import torch
from mmcv.ops import nms, soft_nms
from torch import Tensor

from polarseg.registry import TASK_UTILS

__all__ = ['Detections', 'PointPostprocessor']

NMS_FUNCTIONS = {'nms': nms, 'soft_nms': soft_nms}


class Detections(NamedTuple):
    """What is left of the locations of one picture, best first.

    Attributes:
        index: ``[K]`` int64 row of the location that each detection came from.
        bboxes: ``[K, 4]`` float32.
        scores: ``[K]`` float32.
        labels: ``[K]`` int64.
    """

    index: Tensor
    bboxes: Tensor
    scores: Tensor
    labels: Tensor


@TASK_UTILS.register_module()
class PointPostprocessor:
    """From class probabilities and centerness at locations to detections.

    :meth:`select` shortens a level before anything is decoded for it; calling the object joins the
    levels, applies the threshold and the class-wise NMS, and keeps the best.

    Args:
        nms_pre: locations that a level may keep, by the largest class probability times
            centerness. 0 or below keeps all.
        score_thr: class probability, before centerness, that a detection must exceed.
        centerness_offset: added to the centerness in the final score ``p * (centerness + offset)``
            (published PolarMask: 0.5, so that a score may exceed 1).
        nms: ``dict(type='nms', iou_threshold=0.5)``, or another box NMS of mmcv
            (``soft_nms``) with its arguments; None for no NMS.
        max_per_img: detections that a picture keeps. 0 or below keeps all.
        inclusive_boxes: boxes name their last pixel: the IoU counts ``(w + 1) * (h + 1)``.

    Raises:
        ValueError: if the NMS type is none of mmcv's.
    """

    def __init__(
        self,
        nms_pre: int = 1000,
        score_thr: float = 0.05,
        centerness_offset: float = 0.0,
        nms: dict | None = None,
        max_per_img: int = 100,
        inclusive_boxes: bool = False,
    ) -> None:
        self.nms_pre = nms_pre
        self.score_thr = score_thr
        self.centerness_offset = centerness_offset
        self.nms = dict(nms) if nms else None
        self.max_per_img = max_per_img
        self.inclusive_boxes = inclusive_boxes
        if self.nms is not None and self.nms.get('type', 'nms') not in NMS_FUNCTIONS:
            raise ValueError(
                f'nms type must be one of {sorted(NMS_FUNCTIONS)}, got {self.nms["type"]!r}'
            )

    def select(self, probabilities: Tensor, centerness: Tensor) -> Tensor:
        """Indices of the locations of one level that go on.

        Args:
            probabilities: ``[N, C]`` class probabilities.
            centerness: ``[N]`` in [0, 1], without the offset.

        Returns:
            ``[M]`` int64, all in order where N does not exceed ``nms_pre``, else the best first.
        """
        if self.nms_pre <= 0 or len(probabilities) <= self.nms_pre:
            return torch.arange(len(probabilities), device=probabilities.device)
        best = (probabilities * centerness[:, None]).amax(dim=1)
        return best.topk(self.nms_pre).indices

    def __call__(self, bboxes: Tensor, probabilities: Tensor, centerness: Tensor) -> Detections:
        """Threshold, score, NMS and the cut to ``max_per_img`` for one picture.

        Args:
            bboxes: ``[N, 4]`` float32 x1, y1, x2, y2 for each location, shared by its classes.
            probabilities: ``[N, C]``.
            centerness: ``[N]``, without the offset.

        Returns:
            The detections by falling score.
        """
        index, labels = (probabilities > self.score_thr).nonzero(as_tuple=True)
        scores = probabilities[index, labels] * (centerness[index] + self.centerness_offset)
        boxes = bboxes[index].float()
        scores = scores.float()
        if self.nms is not None:
            kept, scores = self._class_wise_nms(boxes, scores, labels)
            index, labels, boxes = index[kept], labels[kept], boxes[kept]
        order = scores.argsort(descending=True, stable=True)
        if self.max_per_img > 0:
            order = order[: self.max_per_img]
        return Detections(index[order], boxes[order], scores[order], labels[order])

    def _class_wise_nms(
        self, boxes: Tensor, scores: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Indices that survive, and their scores (soft NMS lowers them).

        Class after class rather than by mmcv's ``batched_nms``: that one moves the classes apart by
        adding multiples of the picture's size, which costs up to seven bits of the coordinates in
        float32 and turns decisions at the threshold.
        """
        arguments = dict(self.nms)
        function = NMS_FUNCTIONS[arguments.pop('type', 'nms')]
        arguments.setdefault('offset', 1 if self.inclusive_boxes else 0)
        kept, kept_scores = [labels.new_zeros(0)], [scores.new_zeros(0)]
        for label in labels.unique().tolist():
            rows = (labels == label).nonzero(as_tuple=True)[0]
            found, keep = function(boxes[rows], scores[rows], **arguments)
            kept.append(rows[keep])
            kept_scores.append(found[:, 4])
        return torch.cat(kept), torch.cat(kept_scores)
