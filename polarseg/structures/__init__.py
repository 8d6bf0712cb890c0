"""Geometry that several rooms need: angles, contours, polygons, boxes."""

from polarseg.structures.box_masks import BoxMaskInstances
from polarseg.structures.contours import (
    PackedContours,
    largest_contour,
    largest_contours,
    mass_center,
    mass_centers,
)
from polarseg.structures.label_maps import PADDED_LABELS, join_labels, split_labels
from polarseg.structures.mask_crops import area_ratios, crop_masks
from polarseg.structures.masks import masks_to_rle
from polarseg.structures.panoptic import PanopticMap, Segment
from polarseg.structures.polar import decode_rays, polar_centerness, ray_directions
from polarseg.structures.polygons import PolygonInstances, clip_polygon, fill_polygon

__all__ = [
    'PADDED_LABELS',
    'BoxMaskInstances',
    'PackedContours',
    'PanopticMap',
    'PolygonInstances',
    'Segment',
    'area_ratios',
    'clip_polygon',
    'crop_masks',
    'decode_rays',
    'fill_polygon',
    'join_labels',
    'largest_contour',
    'largest_contours',
    'masks_to_rle',
    'mass_center',
    'mass_centers',
    'polar_centerness',
    'ray_directions',
    'split_labels',
]
