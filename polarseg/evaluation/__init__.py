"""Metrics."""

from polarseg.evaluation.coco_instance_metric import CocoInstanceMetric

__all__ = ['CocoInstanceMetric']
