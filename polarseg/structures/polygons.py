"""Instances held as polygons until somebody asks for pixels."""

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from polarseg.ops import polygons_to_rle
from polarseg.structures.indexing import InstanceIndex, chosen_rows

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


class PolygonInstances:
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
        if vertices.dim() != 3 or vertices.shape[-1] != 2:
            raise ValueError(f'vertices must be [N, V, 2], got {list(vertices.shape)}')
        self.vertices = vertices
        self.height = int(height)
        self.width = int(width)

    def __len__(self) -> int:
        return len(self.vertices)

    def __repr__(self) -> str:
        count, size = self.vertices.shape[:2]
        name = type(self).__name__
        return f'{name}({count} polygons of {size} vertices, {self.height}x{self.width})'

    def _with(self, vertices: Tensor) -> 'PolygonInstances':
        return PolygonInstances(vertices, self.height, self.width)

    def __getitem__(self, index: InstanceIndex) -> 'PolygonInstances':
        return self._with(self.vertices[chosen_rows(index, len(self), self.vertices.device)])

    @staticmethod
    def cat(parts: Sequence['PolygonInstances']) -> 'PolygonInstances':
        """The instances of several sets of the same picture and number of vertices, in order."""
        return parts[0]._with(torch.cat([part.vertices for part in parts]))

    def to(self, *args: object, **kwargs: object) -> 'PolygonInstances':
        """As ``Tensor.to``."""
        return self._with(self.vertices.to(*args, **kwargs))

    def cpu(self) -> 'PolygonInstances':
        """As ``Tensor.cpu``."""
        return self._with(self.vertices.cpu())

    def detach(self) -> 'PolygonInstances':
        """As ``Tensor.detach``."""
        return self._with(self.vertices.detach())

    def boxes(self) -> Tensor:
        """``[N, 4]`` extremes x1, y1, x2, y2 of the vertices, on their device."""
        if len(self) == 0:
            return self.vertices.new_zeros(0, 4)
        return torch.cat([self.vertices.amin(dim=1), self.vertices.amax(dim=1)], dim=-1)

    def to_ndarray(self) -> np.ndarray:
        """``[N, height, width]`` uint8 masks by the rule of :func:`fill_polygon`."""
        masks = np.zeros((len(self), self.height, self.width), np.uint8)
        for mask, rle in zip(masks, self.to_rle()):
            mask[:] = coco_mask.decode(rle)
        return masks

    def to_rle(self) -> list[dict]:
        """COCO RLE of every mask: ``{'size': [height, width], 'counts': bytes}``.

        The masks are those of :meth:`to_ndarray`, which are not made for it.
        """
        return polygons_to_rle(self.vertices.detach().float(), self.height, self.width)

    def to_coco_polygons(self) -> list[list[list[float]]]:
        """COCO ``segmentation`` lists, ``[[x0, y0, x1, y1, ...]]`` for each instance.

        COCO fills these by its own rule, which leaves out part of the outline that
        :meth:`to_rle` includes.
        """
        polygons = self.vertices.detach().float().cpu()
        return [[polygon.reshape(-1).tolist()] for polygon in polygons]
