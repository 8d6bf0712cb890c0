"""PolarMask's per-picture ground truth: a contour and a mass centre for each instance.

What is made here is cheap and belongs to the picture. The rays, one set for each positive location,
are made on the training device in the head's target step.
"""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform, to_tensor
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from polarseg.datasets.skip_log import SkipLog
from polarseg.datasets.transforms.instances import keep_instances
from polarseg.registry import TRANSFORMS
from polarseg.structures.contours import (
    PackedContours,
    largest_contours,
    mass_centers,
    thin_contour,
)

__all__ = ['DropTinyMasks', 'PackPolarInputs', 'TracePolarContours']


@TRANSFORMS.register_module()
class DropTinyMasks(BaseTransform):
    """Leave out instances whose rasterised mask has too few pixels, logged and counted.

    Args:
        min_pixels: fewest pixels that stay (published PolarMask: 15, on the mask at the picture's
            own size, so put it before the resize).
        keep_empty: let a picture without instances pass. False returns None where all were left
            out, so that the data set draws another picture, as published.
    """

    def __init__(self, min_pixels: int = 15, keep_empty: bool = True) -> None:
        self.min_pixels = min_pixels
        self.keep_empty = keep_empty
        self.skips = SkipLog(type(self).__name__)

    def transform(self, results: dict) -> dict | None:
        """Filter ``gt_masks`` and what goes with them."""
        areas = np.asarray(results['gt_masks'].areas)
        large = areas >= self.min_pixels
        for index in np.flatnonzero(~large):
            what = f'instance {index} ({areas[index]:.0f} pixels) of image {results.get("img_id")}'
            self.skips.add(f'mask below {self.min_pixels} pixels', what)
        if not large.all():
            keep_instances(results, np.flatnonzero(large))
        usable = ~np.asarray(results['gt_ignore_flags'], dtype=bool)
        return results if usable.any() or self.keep_empty else None

    def __repr__(self) -> str:
        name = type(self).__name__
        return f'{name}(min_pixels={self.min_pixels}, keep_empty={self.keep_empty})'


@TRANSFORMS.register_module()
class TracePolarContours(BaseTransform):
    """Trace each instance's contour and mass centre on the transformed masks.

    PolarMask (arXiv 1909.13226), section 3.2. Adds ``gt_contours`` (:class:`PackedContours`) and
    ``gt_centers`` (``[G, 2]`` float32 x, y, pixels of the network input) for the instances in
    ``gt_bboxes``. An instance whose mask has vanished, on a resize say, has no contour: it is left
    out, logged and counted.

    Bitmaps (``LoadAnnotations(poly2mask=True)``, polygons and RLE alike) give dense contours, one
    point for each border pixel. Polygons (``poly2mask=False``) are rasterised for that, or taken
    as they are with ``dense=False``, which is exact and much cheaper and needs ray targets in
    ``mode='exact'``.

    Args:
        dense: trace rasterised masks; False takes the largest polygon's own vertices.
        thin_above: keep every (n // thin_above)-th point of contours longer than this, as the
            legacy FastLoader did with 360. None keeps all.
        truncate_centers: cut mass centres to whole pixels, as published.
        keep_masks: leave ``gt_masks`` in place. They are the largest part of a sample and PolarMask
            does not need them any more.
    """

    def __init__(
        self,
        dense: bool = True,
        thin_above: int | None = None,
        truncate_centers: bool = True,
        keep_masks: bool = False,
    ) -> None:
        self.dense = dense
        self.thin_above = thin_above
        self.truncate_centers = truncate_centers
        self.keep_masks = keep_masks
        self.skips = SkipLog(type(self).__name__)

    def transform(self, results: dict) -> dict:
        """Add contours and centres for one picture.

        Raises:
            TypeError: if ``gt_masks`` are bitmaps and ``dense=False``.
            ValueError: if there are not as many ``gt_bboxes`` as masks.
        """
        num_boxes, num_masks = len(results['gt_bboxes']), len(results['gt_masks'])
        if num_boxes != num_masks:
            number = results.get('img_id')
            raise ValueError(f'image {number} has {num_boxes} gt_bboxes and {num_masks} gt_masks')
        contours = self._contours(results['gt_masks'])
        kept = [index for index, contour in enumerate(contours) if contour is not None]
        for index in sorted(set(range(len(contours))) - set(kept)):
            what = f'instance {index} of image {results.get("img_id")}'
            self.skips.add('its mask has no pixel at the network size', what)
        if len(kept) < len(contours):
            keep_instances(results, np.array(kept, dtype=np.int64))
        contours = [contours[index] for index in kept]
        centers = mass_centers(contours, self.truncate_centers)
        if self.thin_above is not None:
            contours = [thin_contour(contour, self.thin_above) for contour in contours]
        results['gt_contours'] = PackedContours.from_list(contours)
        results['gt_centers'] = centers.astype(np.float32)
        if not self.keep_masks:
            del results['gt_masks']
        return results

    def _contours(self, masks: BitmapMasks | PolygonMasks) -> list[np.ndarray | None]:
        if self.dense:
            return largest_contours(masks.to_ndarray())
        if not isinstance(masks, PolygonMasks):
            raise TypeError(
                'TracePolarContours(dense=False) takes polygons; load them with '
                'LoadAnnotations(with_mask=True, poly2mask=False), or set dense=True for bitmaps'
            )
        return [largest_polygon(polygons) for polygons in masks.masks]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(dense={self.dense}, thin_above={self.thin_above}, '
            f'truncate_centers={self.truncate_centers}, keep_masks={self.keep_masks})'
        )


def largest_polygon(polygons: Sequence[np.ndarray]) -> np.ndarray | None:
    """The polygon of largest area among an instance's parts.

    Args:
        polygons: COCO style ``[x0, y0, x1, y1, ...]`` arrays.

    Returns:
        ``[P, 2]`` float32, or None where none encloses an area.
    """
    points = [np.asarray(polygon, dtype=np.float32).reshape(-1, 2) for polygon in polygons]
    areas = [_polygon_area(part) for part in points]
    best = int(np.argmax(areas)) if areas else 0
    return points[best] if areas and areas[best] > 0 else None


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.astype(np.float64).T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


@TRANSFORMS.register_module()
class PackPolarInputs(PackDetInputs):
    """mmdet's packing, and contours and centres as ``gt_instances.contours`` and ``.centers``."""

    def transform(self, results: dict) -> dict:
        """Pack one picture; see ``PackDetInputs`` for the keys."""
        packed = super().transform(results)
        usable = np.flatnonzero(np.asarray(results['gt_ignore_flags']) == 0)
        instances = packed['data_samples'].gt_instances
        instances.contours = results['gt_contours'][usable]
        instances.centers = to_tensor(results['gt_centers'][usable])
        return packed
