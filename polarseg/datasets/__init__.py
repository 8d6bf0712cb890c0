"""Data sets and transforms."""

from polarseg.datasets import transforms  # noqa: F401  (registers the transforms)
from polarseg.datasets.coco_instances import CocoInstanceDataset

__all__ = ['CocoInstanceDataset']
