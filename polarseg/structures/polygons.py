"""Instances held as polygons until somebody asks for pixels, and what is cut out of polygons."""

import numpy as np
import shapely
import torch
from pycocotools import mask as coco_mask
from shapely.geometry.polygon import orient
from torch import Tensor

from polarseg.ops import polygons_to_rle
from polarseg.structures.compact_masks import CompactMasks

__all__ = ['PolygonInstances', 'clip_polygon', 'fill_polygon']


def fill_polygon(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rasterise one polygon by the published rule.

    Vertices are truncated towards zero to whole pixels, then the polygon is filled as OpenCV fills
    it, outline included; where it crosses itself the even-odd rule decides. This is rule ``fill``
    of :func:`polarseg.ops.polygons_to_rle`, whichever OpenCV is installed.

    Args:
        polygon: ``[V, 2]`` x, y, pixels of the canvas.
        height, width: size of the canvas.

    Returns:
        ``[height, width]`` uint8, 1 inside.

    Raises:
        ValueError: if a vertex is not finite or beyond the range of int32.
    """
    return np.ascontiguousarray(coco_mask.decode(polygons_to_rle([polygon], height, width)[0]))


def clip_polygon(
    polygon: np.ndarray, window: tuple[float, float, float, float]
) -> list[np.ndarray]:
    """The part of a polygon inside of a window.

    The even-odd rule says what is inside of a polygon that crosses itself, as in COCO's
    rasterisation. A hole, which can appear where an outline touches itself, is joined to the
    outline around it by a cut of no width, so that each part is one ring.

    Args:
        polygon: ``[V, 2]`` x, y.
        window: x1, y1, x2, y2, in the polygon's coordinates.

    Returns:
        ``[V_i, 2]`` float64 x, y of each part, in the polygon's coordinates: several where the
        window cuts a polygon that is not convex, the polygon itself where it lies inside of the
        window, none where nothing of positive area is left.

    Raises:
        ValueError: if the polygon has another shape, or a coordinate is not finite.
    """
    polygon = np.asarray(polygon, np.float64)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or not np.isfinite(polygon).all():
        raise ValueError(
            f'polygon must be [V, 2] finite numbers, got an array of shape {list(polygon.shape)}'
        )
    low, high = np.array(window[:2], np.float64), np.array(window[2:], np.float64)
    if len(polygon) < 3 or (polygon <= low).all(0).any() or (polygon >= high).all(0).any():
        return []
    region = shapely.Polygon(polygon)
    if not region.is_valid:
        # the default method joins all lines and fills by the even-odd rule
        region = _only_areas(shapely.make_valid(region))
    if region.area == 0:
        return []
    if (polygon >= low).all() and (polygon <= high).all():
        return [polygon]
    inside = _only_areas(shapely.intersection(region, shapely.box(*window)))
    # cuts are computed to within rounding
    return [_single_ring(part).clip(low, high) for part in inside.geoms if part.area > 0]


def _only_areas(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """The polygons of a geometry, without the points and lines that it may hold too."""
    parts = [geometry]
    while any(hasattr(part, 'geoms') for part in parts):
        parts = [inner for part in parts for inner in getattr(part, 'geoms', [part])]
    return shapely.MultiPolygon([part for part in parts if isinstance(part, shapely.Polygon)])


def _single_ring(region: shapely.Polygon) -> np.ndarray:
    """Vertices of a polygon; each hole is walked, the other way round, from the first vertex."""
    region = orient(region)
    outline = np.asarray(region.exterior.coords)
    if not region.interiors:
        return outline[:-1]
    # closed rings: after each hole the path returns to the first vertex
    detours = [np.concatenate([np.asarray(r.coords), outline[:1]]) for r in region.interiors]
    return np.concatenate([outline, *detours])[:-1]


class PolygonInstances(CompactMasks):
    """The masks of N instances of one picture, one polygon of V vertices each.

    Stands as ``masks`` in an ``InstanceData``: it is indexed by instance and moves between devices
    like a tensor. Pixels and RLE are made on request.

    Args:
        vertices: ``[N, V, 2]`` float x, y in pixels of a picture of ``height`` x ``width``.
        height: of the picture.
        width: of the picture.

    Raises:
        ValueError: if ``vertices`` has another shape.
    """

    def __init__(self, vertices: Tensor, height: int, width: int) -> None:
        super().__init__(height, width)
        if vertices.dim() != 3 or vertices.shape[-1] != 2:
            raise ValueError(f'vertices must be [N, V, 2], got {list(vertices.shape)}')
        self.vertices = vertices

    def __repr__(self) -> str:
        count, size = self.vertices.shape[:2]
        name = type(self).__name__
        return f'{name}({count} polygons of {size} vertices, {self.height}x{self.width})'

    @property
    def _tensors(self) -> tuple[Tensor]:
        return (self.vertices,)

    def _with(self, vertices: Tensor) -> 'PolygonInstances':
        return PolygonInstances(vertices, self.height, self.width)

    def boxes(self) -> Tensor:
        """``[N, 4]`` extremes x1, y1, x2, y2 of the vertices, on their device."""
        if len(self) == 0:
            return self.vertices.new_zeros(0, 4)
        return torch.cat([self.vertices.amin(dim=1), self.vertices.amax(dim=1)], dim=-1)

    def to_rle(self) -> list[dict]:
        """COCO RLE of every mask: ``{'size': [height, width], 'counts': bytes}``.

        By the rule of :func:`fill_polygon`.
        """
        return polygons_to_rle(self.vertices.detach().float(), self.height, self.width)

    def to_coco_polygons(self) -> list[list[list[float]]]:
        """COCO ``segmentation`` lists, ``[[x0, y0, x1, y1, ...]]`` for each instance.

        COCO fills these by its own rule, which leaves out part of the outline that
        :meth:`to_rle` includes.
        """
        polygons = self.vertices.detach().float().cpu()
        return [[polygon.reshape(-1).tolist()] for polygon in polygons]
