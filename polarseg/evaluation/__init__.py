"""Metrics."""

from polarseg import registry  # noqa: F401  (before mmdet, whose messages on import it keeps quiet)
from polarseg.evaluation.coco_instance_metric import CocoInstanceMetric
from polarseg.evaluation.mean_iou import MeanIoU
from polarseg.evaluation.panoptic_folders import folder_quality
from polarseg.evaluation.panoptic_metric import CocoPanopticQualityMetric
from polarseg.evaluation.panoptic_quality import PanopticQuality, quality_table
from polarseg.evaluation.panoptic_summary import panoptic_summary

__all__ = [
    'CocoInstanceMetric',
    'CocoPanopticQualityMetric',
    'MeanIoU',
    'PanopticQuality',
    'folder_quality',
    'panoptic_summary',
    'quality_table',
]
