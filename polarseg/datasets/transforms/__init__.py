"""Transforms: what is made from an annotation for each picture in the loader."""

from polarseg.datasets.transforms.box_convention import BoxesToConvention
from polarseg.datasets.transforms.polar_contours import (
    DropTinyMasks,
    PackPolarInputs,
    TracePolarContours,
)

__all__ = ['BoxesToConvention', 'DropTinyMasks', 'PackPolarInputs', 'TracePolarContours']
