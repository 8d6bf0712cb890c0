"""Drawing."""

from polarseg.visualization.instance_visualizer import InstanceVisualizer

__all__ = ['InstanceVisualizer']
