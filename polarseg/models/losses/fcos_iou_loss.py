"""IoU losses of boxes that share a location. FCOS (arXiv 1904.01355), GIoU (arXiv 1902.09630)."""

from typing import Any

import torch
from mmdet.models.losses.utils import weighted_loss
from torch import Tensor

from polarseg.models.losses.row_loss import RowLoss
from polarseg.registry import MODELS

__all__ = ['FCOSIoULoss', 'distance_iou', 'fcos_iou_loss']

MODES = ('iou', 'linear_iou', 'giou')


@weighted_loss
def fcos_iou_loss(pred: Tensor, target: Tensor, mode: str = 'giou', eps: float = 0.0) -> Tensor:
    """IoU loss of each row; ``weight``, ``reduction`` and ``avg_factor`` as in mmdet.

    Both boxes are given by their distances from one location inside them, so that intersection and
    enclosing box are minima and maxima. With the published smoothing, which depends on the unit of
    the distances, IoU = (intersection + 1) / (union + 1):

    - iou: -log IoU
    - linear_iou: 1 - IoU
    - giou: 1 - IoU + (enclosing - union) / (enclosing + eps), the union there without the 1

    Args:
        pred: ``[N, 4]`` left, top, right, bottom, not negative.
        target: ``[N, 4]`` the same, positive.
        mode: 'iou', 'linear_iou' or 'giou'.
        eps: added to the area of the enclosing box (1e-7 in the original CenterMask, nothing in
            CenterMask2 and BlendMask).

    Returns:
        ``[N]`` losses before reduction.
    """
    intersection, union = _overlap(pred, target)
    iou = (intersection + 1) / (union + 1)
    if mode == 'iou':
        return -iou.log()
    if mode == 'linear_iou':
        return 1 - iou
    enclosing = _area(torch.maximum(pred, target)) + eps
    return 1 - iou + (enclosing - union) / enclosing


def distance_iou(pred: Tensor, target: Tensor) -> Tensor:
    """The smoothed IoU of the loss, (intersection + 1) / (union + 1).

    Args:
        pred: ``[N, 4]`` left, top, right, bottom, not negative.
        target: ``[N, 4]`` the same.

    Returns:
        ``[N]`` in (0, 1].
    """
    intersection, union = _overlap(pred, target)
    return (intersection + 1) / (union + 1)


def _overlap(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union."""
    intersection = _area(torch.minimum(pred, target))
    return intersection, _area(pred) + _area(target) - intersection


def _area(distances: Tensor) -> Tensor:
    width, height = (distances[:, :2] + distances[:, 2:]).unbind(dim=1)
    return width * height


@MODELS.register_module()
class FCOSIoULoss(RowLoss):
    """Module form of :func:`fcos_iou_loss`.

    Args:
        mode: 'iou', 'linear_iou' or 'giou'.
        eps: added to the area of the enclosing box of 'giou'.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor of the result.

    Raises:
        ValueError: for an unknown mode.
    """

    def __init__(
        self,
        mode: str = 'giou',
        eps: float = 0.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if mode not in MODES:
            raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
        self.mode = mode
        self.eps = eps

    def _loss(self, *args: Any, **kwargs: Any) -> Tensor:
        return fcos_iou_loss(*args, mode=self.mode, eps=self.eps, **kwargs)
