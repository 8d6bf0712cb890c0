"""Everything with parameters, and what it needs to train and predict."""

from polarseg.models import task_modules  # noqa: F401  (registers assigner and post-processor)
from polarseg.models.dense_heads import PolarMaskHead
from polarseg.models.detectors import PolarMask
from polarseg.models.losses import PolarIoULoss

__all__ = ['PolarIoULoss', 'PolarMask', 'PolarMaskHead']
