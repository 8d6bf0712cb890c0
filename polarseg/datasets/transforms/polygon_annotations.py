"""Loading polygons as they are, without losing what is annotated in another form."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.structures.mask import PolygonMasks

from polarseg.datasets.skip_log import SkipLog
from polarseg.registry import TRANSFORMS

__all__ = ['LoadPolygonAnnotations']


@TRANSFORMS.register_module()
class LoadPolygonAnnotations(BaseTransform):
    """Boxes, labels and masks; masks are polygons wherever a picture's annotations are.

    mmdet's ``LoadAnnotations(poly2mask=False)`` makes ignored instances of run-length encoded ones
    without a word, and truncates the coordinates of polygons written in whole numbers when they
    are resized. Here:

    - a picture with a run-length encoded instance gets bitmaps (``BitmapMasks``) for all its
      instances; other pictures get ``PolygonMasks`` with float64 coordinates. Crowds, which are
      ignored in any case, do not count.
    - an instance without a usable polygon is ignored as in mmdet, but logged and counted.

    Args:
        **kwargs: of mmdet's ``LoadAnnotations`` beside ``with_mask`` and ``poly2mask``.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.as_polygons = LoadAnnotations(with_mask=True, poly2mask=False, **kwargs)
        self.as_bitmaps = LoadAnnotations(with_mask=True, poly2mask=True, **kwargs)
        self.skips = SkipLog(type(self).__name__)

    def transform(self, results: dict) -> dict:
        """Load one picture's annotations; the keys are those of ``LoadAnnotations``."""
        instances = results['instances']
        wanted = [not instance['ignore_flag'] for instance in instances]
        coded = any(
            isinstance(instance['mask'], dict)
            for instance, usable in zip(instances, wanted)
            if usable
        )
        results = (self.as_bitmaps if coded else self.as_polygons)(results)
        masks = results['gt_masks']
        if isinstance(masks, PolygonMasks):
            masks.masks = [[np.asarray(p, np.float64) for p in parts] for parts in masks.masks]
        for index in np.flatnonzero(results['gt_ignore_flags'] & np.array(wanted, dtype=bool)):
            what = f'instance {index} of image {results.get("img_id")}'
            self.skips.add('no usable polygon or run lengths', what)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.as_polygons})'
