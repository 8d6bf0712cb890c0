"""Metrics."""

from polarseg.evaluation.coco_instance_metric import CocoInstanceMetric
from polarseg.evaluation.mean_iou import MeanIoU
from polarseg.evaluation.panoptic_folders import folder_quality
from polarseg.evaluation.panoptic_metric import CocoPanopticQualityMetric
from polarseg.evaluation.panoptic_quality import PanopticQuality, quality_table

__all__ = [
    'CocoInstanceMetric',
    'CocoPanopticQualityMetric',
    'MeanIoU',
    'PanopticQuality',
    'folder_quality',
    'quality_table',
]
