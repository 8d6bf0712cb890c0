"""Instances held as polygons until somebody asks for pixels."""

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from polarseg.ops import polygons_to_rle
from polarseg.structures.compact_masks import CompactMasks

__all__ = ['PolygonInstances', 'fill_polygon']


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
