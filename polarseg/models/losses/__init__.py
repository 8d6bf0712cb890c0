"""Losses that mmdet does not have."""

from polarseg.models.losses.fcos_iou_loss import FCOSIoULoss, distance_iou, fcos_iou_loss
from polarseg.models.losses.polar_iou_loss import (
    PolarIoULoss,
    RaySmoothL1Loss,
    polar_iou_loss,
    ray_smooth_l1_loss,
)

__all__ = [
    'FCOSIoULoss',
    'PolarIoULoss',
    'RaySmoothL1Loss',
    'distance_iou',
    'fcos_iou_loss',
    'polar_iou_loss',
    'ray_smooth_l1_loss',
]
