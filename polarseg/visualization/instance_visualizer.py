"""Drawing of instances whose masks are held in another form than pixels."""

import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from polarseg.registry import VISUALIZERS

__all__ = ['InstanceVisualizer']


@VISUALIZERS.register_module()
class InstanceVisualizer(DetLocalVisualizer):
    """mmdet's visualizer that asks masks of polygons or boxes for their pixels."""

    def _draw_instances(
        self, image: np.ndarray, instances: InstanceData, *args: object, **kwargs: object
    ) -> np.ndarray:
        masks = instances.get('masks')
        if hasattr(masks, 'to_ndarray'):
            instances = instances[:]
            instances.masks = masks.to_ndarray()
        return super()._draw_instances(image, instances, *args, **kwargs)
