"""Data sets and transforms."""

from polarseg.datasets import transforms  # noqa: F401  (registers the transforms)
from polarseg.datasets.coco_instances import CocoInstanceDataset
from polarseg.datasets.coco_panoptic import CocoPanopticDataset, CocoPanopticInstanceDataset

__all__ = ['CocoInstanceDataset', 'CocoPanopticDataset', 'CocoPanopticInstanceDataset']
