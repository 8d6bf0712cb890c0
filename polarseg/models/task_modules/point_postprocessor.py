"""THE score, top-k and NMS path of all three systems."""

from typing import NamedTuple

from torch import Tensor

from polarseg.models.task_modules.class_wise_nms import NMS_FUNCTIONS, class_wise_nms
from polarseg.registry import TASK_UTILS

__all__ = ['Detections', 'PointPostprocessor', 'Selection']

CANDIDATES = ('location', 'pair')


class Selection(NamedTuple):
    """Pairs of a location and a class, of one level or more.

    Attributes:
        index: ``[M]`` int64 row of the location.
        labels: ``[M]`` int64 class.
        scores: ``[M]`` float32 final scores.
    """

    index: Tensor
    labels: Tensor
    scores: Tensor


class Detections(NamedTuple):
    """What is left of the candidates of one picture, best first.

    Attributes:
        index: ``[K]`` int64 row of the candidate that each detection came from.
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
    """From class probabilities p and centerness c at locations to detections.

    :meth:`select` applies the threshold and shortens a level before anything is decoded for it;
    calling the object runs the class-wise NMS over the joined levels and keeps the best.

    Args:
        candidates: what ``nms_pre`` counts. 'location' (PolarMask, arXiv 1909.13226): the locations
            of a level with the largest p * c of any class go on, before the threshold. 'pair'
            (FCOS, arXiv 1904.01355): the pairs of a location and a class with the largest score go
            on, after the threshold.
        nms_pre: candidates that a level may keep. 0 or below keeps all.
        score_thr: what a pair must exceed to become a candidate.
        thresh_with_ctr: the threshold is on p * c (BlendMask, arXiv 2001.00309) instead of on the
            class probability p alone.
        centerness_offset: added to the centerness in the score ``p * (c + offset)`` (published
            PolarMask: 0.5, so that a score may exceed 1).
        sqrt_scores: the final score is the square root of that (CenterMask2, BlendMask).
        nms: ``dict(type='nms', iou_threshold=0.5)``, or another box NMS of mmcv
            (``soft_nms``) with its arguments; None for no NMS.
        max_per_img: detections that a picture keeps. 0 or below keeps all.
        keep_ties: detections as good as the last that is kept are kept too, beyond ``max_per_img``.
        inclusive_boxes: boxes name their last pixel: the IoU counts ``(w + 1) * (h + 1)``.

    Raises:
        ValueError: for an unknown kind of candidates, or if the NMS type is none of mmcv's.
    """

    def __init__(
        self,
        candidates: str = 'location',
        nms_pre: int = 1000,
        score_thr: float = 0.05,
        thresh_with_ctr: bool = False,
        centerness_offset: float = 0.0,
        sqrt_scores: bool = False,
        nms: dict | None = None,
        max_per_img: int = 100,
        keep_ties: bool = False,
        inclusive_boxes: bool = False,
    ) -> None:
        if candidates not in CANDIDATES:
            raise ValueError(f'candidates must be one of {CANDIDATES}, got {candidates!r}')
        self.candidates = candidates
        self.nms_pre = nms_pre
        self.score_thr = score_thr
        self.thresh_with_ctr = thresh_with_ctr
        self.centerness_offset = centerness_offset
        self.sqrt_scores = sqrt_scores
        self.nms = dict(nms) if nms else None
        self.max_per_img = max_per_img
        self.keep_ties = keep_ties
        self.inclusive_boxes = inclusive_boxes
        if self.nms is not None and self.nms.get('type', 'nms') not in NMS_FUNCTIONS:
            raise ValueError(
                f'nms type must be one of {sorted(NMS_FUNCTIONS)}, got {self.nms["type"]!r}'
            )

    def select(self, probabilities: Tensor, centerness: Tensor) -> Selection:
        """The candidates of one level.

        Args:
            probabilities: ``[N, C]`` class probabilities.
            centerness: ``[N]`` in [0, 1], without the offset.

        Returns:
            Pairs of a location and a class. They stand in the order of the locations, of the
            classes at one location, unless ``nms_pre`` cuts: then the best location or pair, as
            ``candidates`` says, is first.
        """
        rows = None
        if self.candidates == 'location' and 0 < self.nms_pre < len(probabilities):
            best = (probabilities * centerness[:, None]).amax(dim=1)
            rows = best.topk(self.nms_pre).indices
            probabilities, centerness = probabilities[rows], centerness[rows]
        compared = probabilities
        if self.thresh_with_ctr:
            compared = probabilities * centerness[:, None]
        index, labels = (compared > self.score_thr).nonzero(as_tuple=True)
        scores = probabilities[index, labels] * (centerness[index] + self.centerness_offset)
        if self.candidates == 'pair' and 0 < self.nms_pre < len(scores):
            scores, kept = scores.topk(self.nms_pre)
            index, labels = index[kept], labels[kept]
        if self.sqrt_scores:
            scores = scores.sqrt()
        return Selection(index if rows is None else rows[index], labels, scores.float())

    def __call__(self, bboxes: Tensor, scores: Tensor, labels: Tensor) -> Detections:
        """NMS in each class and the cut to ``max_per_img`` for the candidates of one picture.

        Args:
            bboxes: ``[M, 4]`` x1, y1, x2, y2 of each candidate; those that are not finite are left
                out.
            scores: ``[M]`` as :meth:`select` gives them.
            labels: ``[M]`` int64 class.

        Returns:
            The detections by falling score.
        """
        # a training that has diverged: mmcv's operators on boxes end the process
        index = bboxes.isfinite().all(dim=1).nonzero()[:, 0]
        boxes, scores, labels = bboxes[index].float(), scores[index], labels[index]
        if self.nms is not None:
            offset = 1 if self.inclusive_boxes else 0
            kept, scores = class_wise_nms(boxes, scores, labels, **(dict(offset=offset) | self.nms))
            index, boxes, labels = index[kept], boxes[kept], labels[kept]
        order = scores.argsort(descending=True, stable=True)
        if 0 < self.max_per_img < len(order):
            count = self.max_per_img
            if self.keep_ties:
                count = int((scores >= scores[order[count - 1]]).sum())
            order = order[:count]
        return Detections(index[order], boxes[order], scores[order], labels[order])
