"""Drawing."""

from polarseg.visualization.bases import draw_bases
from polarseg.visualization.drawing import draw_instances, instance_color
from polarseg.visualization.instance_visualizer import InstanceVisualizer
from polarseg.visualization.panoptic_drawing import draw_panoptic, stuff_color

__all__ = [
    'InstanceVisualizer',
    'draw_bases',
    'draw_instances',
    'draw_panoptic',
    'instance_color',
    'stuff_color',
]
