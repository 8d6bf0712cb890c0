"""Drawing."""

from polarseg.visualization.drawing import draw_instances, instance_color
from polarseg.visualization.instance_visualizer import InstanceVisualizer

__all__ = ['InstanceVisualizer', 'draw_instances', 'instance_color']
