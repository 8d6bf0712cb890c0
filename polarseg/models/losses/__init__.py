"""Losses that mmdet does not have."""

from polarseg.models.losses.polar_iou_loss import (
    PolarIoULoss,
    RaySmoothL1Loss,
    polar_iou_loss,
    ray_smooth_l1_loss,
)

__all__ = ['PolarIoULoss', 'RaySmoothL1Loss', 'polar_iou_loss', 'ray_smooth_l1_loss']
