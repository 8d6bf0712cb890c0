"""Instances and a semantic map put together: each pixel belongs to one segment.

Panoptic FPN (arXiv 1901.02446), section 3, with the published thresholds of BlendMask and
CenterMask2.
"""

import numpy as np
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torch import Tensor

from polarseg.registry import MODELS
from polarseg.structures import PanopticMap, Segment, masks_to_rle

__all__ = ['PanopticFusion']


@MODELS.register_module()
class PanopticFusion:
    """Instances by falling score, each without what is taken already, then the stuff.

    Args:
        num_things_classes: T. Stuff class s = 1 .. S of the semantic map is category T + s - 1 of
            the result.
        instance_score_thr: instances below this score are left out (BlendMask 0.45, its paper's
            appendix 0.2 on the squared score, CenterMask2 0.5).
        overlap_thr: instances of which more than this share is taken already are left out
            (BlendMask 0.4, CenterMask2 0.5), and those of which nothing is left.
        stuff_area_limit: fewest free pixels that a stuff class needs for a segment.
    """

    def __init__(
        self,
        num_things_classes: int = 80,
        instance_score_thr: float = 0.45,
        overlap_thr: float = 0.4,
        stuff_area_limit: int = 4096,
    ) -> None:
        self.num_things_classes = num_things_classes
        self.instance_score_thr = instance_score_thr
        self.overlap_thr = overlap_thr
        self.stuff_area_limit = stuff_area_limit

    def __call__(self, instances: InstanceData, semantic: Tensor) -> PanopticMap:
        """The segments of one picture.

        Args:
            instances: ``scores`` ``[N]``, ``labels`` ``[N]`` and ``masks`` of the semantic map's
                size, of a kind that :func:`~polarseg.structures.masks_to_rle` takes.
            semantic: ``[H, W]`` integer: 0 thing, 1 to S stuff.

        Returns:
            Segments with ids from 1: instances by falling score, then stuff by class. 0 where there
            is none.
        """
        semantic = semantic.cpu().numpy()
        ids = np.zeros(semantic.shape, np.int32)
        segments = self._lay_instances(ids, instances)
        # only what no instance has taken
        free = np.where(ids == 0, semantic, 0)
        for label, area in enumerate(np.bincount(free.ravel())):
            if label == 0 or area < self.stuff_area_limit or area == 0:
                continue
            number = len(segments) + 1
            ids[free == label] = number
            category = self.num_things_classes + label - 1
            segments.append(Segment(number, category, isthing=False, area=int(area)))
        return PanopticMap(ids, segments)

    def _lay_instances(self, ids: np.ndarray, instances: InstanceData) -> list[Segment]:
        """Write the instances' ids into the map."""
        scores = instances.scores.cpu()
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] >= self.instance_score_thr]
        chosen = instances[order.to(instances.scores.device)]
        segments = []
        rows = zip(masks_to_rle(chosen.masks), chosen.scores.tolist(), chosen.labels.tolist())
        for rle, score, label in rows:
            mask = coco_mask.decode(rle).astype(bool)
            area = np.count_nonzero(mask)
            free = mask & (ids == 0)
            left = np.count_nonzero(free)
            if left == 0 or (area - left) / area > self.overlap_thr:
                continue
            number = len(segments) + 1
            ids[free] = number
            segments.append(Segment(number, label, isthing=True, score=score, area=left))
        return segments
