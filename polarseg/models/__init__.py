"""Everything with parameters, and what it needs to train and predict."""

from polarseg.models import layers, task_modules  # noqa: F401  (they register themselves)
from polarseg.models.backbones import ResNet, ResNeXt
from polarseg.models.dense_heads import PolarMaskHead
from polarseg.models.detectors import CenterMask, PolarMask
from polarseg.models.losses import PolarIoULoss

__all__ = ['CenterMask', 'PolarIoULoss', 'PolarMask', 'PolarMaskHead', 'ResNeXt', 'ResNet']
