"""Detectors: assembly only."""

from polarseg.models.detectors.blendmask import BlendMask
from polarseg.models.detectors.centermask import CenterMask
from polarseg.models.detectors.panoptic_fpn import PanopticFPN
from polarseg.models.detectors.polarmask import PolarMask

__all__ = ['BlendMask', 'CenterMask', 'PanopticFPN', 'PolarMask']
