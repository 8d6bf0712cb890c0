"""Heads that turn the features of regions into masks and their quality."""

from polarseg.models.mask_heads.mask_iou_head import MaskIoUHead
from polarseg.models.mask_heads.sag_mask_head import SAGMaskHead, SpatialAttention

__all__ = ['MaskIoUHead', 'SAGMaskHead', 'SpatialAttention']
