"""Everything with parameters, and what it needs to train and predict."""

from polarseg.models import layers, task_modules  # noqa: F401  (they register themselves)
from polarseg.models.backbones import ResNet, ResNeXt
from polarseg.models.dense_heads import FCOSHead, PolarMaskHead
from polarseg.models.detectors import CenterMask, PolarMask
from polarseg.models.losses import FCOSIoULoss, PolarIoULoss

__all__ = [
    'CenterMask',
    'FCOSHead',
    'FCOSIoULoss',
    'PolarIoULoss',
    'PolarMask',
    'PolarMaskHead',
    'ResNeXt',
    'ResNet',
]
