"""What all three systems share between network and losses or results."""

from polarseg.models.task_modules.point_assigner import PointAssigner, PointAssignment
from polarseg.models.task_modules.point_postprocessor import Detections, PointPostprocessor

__all__ = ['Detections', 'PointAssigner', 'PointAssignment', 'PointPostprocessor']
