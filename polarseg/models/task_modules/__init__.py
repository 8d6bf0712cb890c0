"""What all three systems share between network and losses or results."""

from polarseg.models.task_modules.class_wise_nms import class_wise_nms
from polarseg.models.task_modules.point_assigner import PointAssigner, PointAssignment
from polarseg.models.task_modules.point_postprocessor import (
    Detections,
    PointPostprocessor,
    Selection,
)
from polarseg.models.task_modules.point_targets import PointTargets, box_centerness, point_targets

__all__ = [
    'Detections',
    'PointAssigner',
    'PointAssignment',
    'PointPostprocessor',
    'PointTargets',
    'Selection',
    'box_centerness',
    'class_wise_nms',
    'point_targets',
]
