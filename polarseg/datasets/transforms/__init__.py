"""Transforms: what is made from an annotation for each picture in the loader."""

from polarseg.datasets.transforms.box_convention import BoxesToConvention
from polarseg.datasets.transforms.instance_crop import BoxesFromMasks, InstanceAwareCrop
from polarseg.datasets.transforms.panoptic_annotations import LoadPanopticAnnotations
from polarseg.datasets.transforms.panoptic_labels import LoadPanopticLabels
from polarseg.datasets.transforms.polar_contours import (
    DropTinyMasks,
    PackPolarInputs,
    TracePolarContours,
)
from polarseg.datasets.transforms.polygon_annotations import LoadPolygonAnnotations
from polarseg.datasets.transforms.shortest_edge_resize import ShortestEdgeResize
from polarseg.datasets.transforms.thing_semantic import LoadThingSemantic

__all__ = [
    'BoxesFromMasks',
    'BoxesToConvention',
    'DropTinyMasks',
    'InstanceAwareCrop',
    'LoadPanopticAnnotations',
    'LoadPanopticLabels',
    'LoadPolygonAnnotations',
    'LoadThingSemantic',
    'PackPolarInputs',
    'ShortestEdgeResize',
    'TracePolarContours',
]
