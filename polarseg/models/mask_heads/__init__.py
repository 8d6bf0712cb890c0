"""Heads that turn the features of regions into masks and their quality."""

from polarseg.models.mask_heads.basis_module import BasisModule, DeepLabBasis, ProtoNet
from polarseg.models.mask_heads.blender import Blender
from polarseg.models.mask_heads.box_mask_results import place_box_masks
from polarseg.models.mask_heads.mask_iou_head import MaskIoUHead
from polarseg.models.mask_heads.sag_mask_head import SAGMaskHead, SpatialAttention

__all__ = [
    'BasisModule',
    'Blender',
    'DeepLabBasis',
    'MaskIoUHead',
    'ProtoNet',
    'SAGMaskHead',
    'SpatialAttention',
    'place_box_masks',
]
