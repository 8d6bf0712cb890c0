"""Losses of ray lengths: Polar IoU and smooth-L1. PolarMask (arXiv 1909.13226), section 3.4."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses.utils import weighted_loss
from torch import Tensor

from polarseg.models.losses.row_loss import RowLoss
from polarseg.registry import MODELS

__all__ = ['PolarIoULoss', 'RaySmoothL1Loss', 'polar_iou_loss', 'ray_smooth_l1_loss']

VARIANTS = ('v1', 'v2', 'v3')


@weighted_loss
def polar_iou_loss(pred: Tensor, target: Tensor, variant: str = 'v1') -> Tensor:
    """Polar IoU loss of each row; ``weight``, ``reduction`` and ``avg_factor`` as in mmdet.

    With max and min taken ray by ray between prediction and target:

    - v1, published and default: log(sum max / sum min)
    - v2: mean over the rays of log(max / max(min, 1e-6))
    - v3: log(sum max^2 / sum min^2)

    Args:
        pred: ``[N, R]`` predicted ray lengths, positive.
        target: ``[N, R]`` target ray lengths, not negative.
        variant: 'v1', 'v2' or 'v3'.

    Returns:
        ``[N]`` losses before reduction.
    """
    # max and min along a stacked pair, not torch.maximum: where prediction and target are equal the
    # published gradient goes to the first of the pair whole, torch.maximum would halve it
    pair = torch.stack([pred, target], dim=-1)
    longer = pair.max(dim=-1).values
    shorter = pair.min(dim=-1).values
    if variant == 'v1':
        return (longer.sum(dim=1) / shorter.sum(dim=1)).log()
    if variant == 'v2':
        return (longer / shorter.clamp(min=1e-6)).log().mean(dim=1)
    return (longer.pow(2).sum(dim=1) / shorter.pow(2).sum(dim=1)).log()


@weighted_loss
def ray_smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth-L1 of the ray lengths in pixels, averaged over the rays of a row: ``[N]``."""
    return F.smooth_l1_loss(pred, target, reduction='none', beta=beta).mean(dim=1)


@MODELS.register_module()
class PolarIoULoss(RowLoss):
    """Module form of :func:`polar_iou_loss`.

    Args:
        variant: 'v1' (published), 'v2' or 'v3'.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor of the result.

    Raises:
        ValueError: for an unknown variant.
    """

    def __init__(
        self, variant: str = 'v1', reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        if variant not in VARIANTS:
            raise ValueError(f'variant must be one of {VARIANTS}, got {variant!r}')
        self.variant = variant

    def _loss(self, *args: Any, **kwargs: Any) -> Tensor:
        return polar_iou_loss(*args, variant=self.variant, **kwargs)


@MODELS.register_module()
class RaySmoothL1Loss(RowLoss):
    """Smooth-L1 on the rays, the paper's alternative to the Polar IoU loss (its Table 1b).

    The paper gives weights (0.05, 0.30, 1.00) and not how the 36 rays of a location are reduced;
    here it is their mean.

    Args:
        beta: pixels below which the loss is quadratic.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor of the result.
    """

    def __init__(
        self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.beta = beta

    def _loss(self, *args: Any, **kwargs: Any) -> Tensor:
        return ray_smooth_l1_loss(*args, beta=self.beta, **kwargs)
