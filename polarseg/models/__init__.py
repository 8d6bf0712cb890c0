"""Everything with parameters, and what it needs to train and predict."""

from polarseg.models import layers, task_modules  # noqa: F401  (they register themselves)
from polarseg.models.backbones import MobileNetV2, ResNet, ResNeXt, VoVNet
from polarseg.models.dense_heads import PolarMaskHead
from polarseg.models.detectors import PolarMask
from polarseg.models.losses import PolarIoULoss

__all__ = [
    'MobileNetV2',
    'PolarIoULoss',
    'PolarMask',
    'PolarMaskHead',
    'ResNeXt',
    'ResNet',
    'VoVNet',
]
