"""Drawing of instances whose masks are held in another form than pixels, and of panoptic maps."""

import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData

from polarseg.registry import VISUALIZERS
from polarseg.structures import PanopticMap
from polarseg.structures.panoptic import panoptic_classes
from polarseg.visualization.panoptic_drawing import draw_panoptic

__all__ = ['InstanceVisualizer']


@VISUALIZERS.register_module()
class InstanceVisualizer(DetLocalVisualizer):
    """mmdet's visualizer that asks masks of polygons or boxes for their pixels.

    Of a sample with ``pred_panoptic_seg`` (:meth:`~polarseg.structures.PanopticMap.to_pixel_data`,
    or mmdet's form) that is drawn alone, by :func:`~polarseg.visualization.draw_panoptic`:
    instances and the semantic map are in it.
    """

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        """Draw a sample; see ``DetLocalVisualizer.add_datasample``."""
        if data_sample is not None and 'pred_panoptic_seg' in data_sample:
            data_sample = data_sample.new()
            for key in ('pred_instances', 'pred_sem_seg'):
                data_sample.pop(key, None)
        super().add_datasample(name, image, data_sample, *args, **kwargs)

    def _draw_instances(
        self, image: np.ndarray, instances: InstanceData, *args: object, **kwargs: object
    ) -> np.ndarray:
        masks = instances.get('masks')
        if hasattr(masks, 'to_ndarray'):
            instances = instances[:]
            instances.masks = masks.to_ndarray()
        return super()._draw_instances(image, instances, *args, **kwargs)

    def _draw_panoptic_seg(
        self, image: np.ndarray, panoptic_seg: PixelData, *args: object, **kwargs: object
    ) -> np.ndarray:
        meta = dict(classes=(), stuff_classes=()) | (self.dataset_meta or {})
        things, stuff = panoptic_classes(meta)
        names = [*things, *stuff]
        panoptic = PanopticMap.from_data(panoptic_seg, (len(things), len(stuff)))
        # pictures here are RGB; drawn at their own size, for what stands beside them
        drawn = draw_panoptic(image[..., ::-1], panoptic, names, enlarge=1, alpha=0.5)
        self.set_image(drawn[..., ::-1])
        return self.get_image()
