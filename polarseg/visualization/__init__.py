"""Drawing."""

from polarseg.visualization.bases import draw_bases
from polarseg.visualization.drawing import draw_instances, instance_color
from polarseg.visualization.instance_visualizer import InstanceVisualizer

__all__ = ['InstanceVisualizer', 'draw_bases', 'draw_instances', 'instance_color']
