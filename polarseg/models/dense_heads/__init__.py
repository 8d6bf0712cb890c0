"""Heads that predict at every location of a feature pyramid."""

from polarseg.models.dense_heads.blendmask_head import BlendMaskHead
from polarseg.models.dense_heads.fcos_head import FCOSHead
from polarseg.models.dense_heads.polarmask_head import PolarMaskHead

__all__ = ['BlendMaskHead', 'FCOSHead', 'PolarMaskHead']
