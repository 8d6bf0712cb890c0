"""Ground-truth masks inside of boxes: small rasters, and how much of an instance a box holds."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.ops import roi_align
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from pycocotools import mask as coco_mask
from torch import Tensor

from polarseg.ops import polygons_to_rle

__all__ = ['area_ratios', 'crop_masks']

AREA_RULES = ('all_parts', 'first_part')
GroundTruthMasks = PolygonMasks | BitmapMasks


def crop_masks(
    masks: GroundTruthMasks,
    index: Tensor,
    boxes: Tensor,
    size: int,
    min_side: float = 0.1,
    image_size: tuple[int, int] | None = None,
) -> Tensor:
    """The part of each instance inside of its box, stretched to ``size`` x ``size``.

    Polygons are moved by the box's corner, scaled and rasterised by COCO's rule; the parts of an
    instance are united. Bitmaps are pooled by an aligned, adaptive RoIAlign and cut at one half.
    This makes the mask targets of CenterMask (arXiv 1911.06667; 28 x 28) and BlendMask
    (arXiv 2001.00309; 56 x 56).

    Args:
        masks: of the G instances of one picture.
        index: ``[K]`` int64 instance of each box.
        boxes: ``[K, 4]`` float x1, y1, x2, y2, pixels of the picture; any device.
        size: R, side of the result.
        min_side: shorter box sides count as this long, pixels. CenterMask2 and BlendMask have 0.1,
            the original CenterMask 1. For polygons only.
        image_size: (height, width) to which boxes are limited first, as in the original CenterMask:
            the top left corner to the last pixel, the other to the size. None for no limit.

    Returns:
        ``[K, R, R]`` bool on the boxes' device.

    Raises:
        TypeError: if the masks are neither polygons nor bitmaps.
        ValueError: if the shapes do not fit together.
    """
    _check(masks, index, boxes)
    if image_size is not None:
        boxes = _limit(boxes, image_size)
    if len(boxes) == 0:
        return boxes.new_zeros(0, size, size, dtype=torch.bool)
    if isinstance(masks, BitmapMasks):
        return _crop_bitmaps(masks, index, boxes, size)
    return torch.from_numpy(_crop_polygons(masks, index, boxes, size, min_side)).to(boxes.device)


def area_ratios(
    masks: GroundTruthMasks,
    index: Tensor,
    boxes: Tensor,
    rule: str = 'all_parts',
    image_size: tuple[int, int] | None = None,
) -> Tensor:
    """Area of each instance inside of its box over the instance's whole area.

    The two published rules for polygons, see section 3.3 of Mask Scoring R-CNN (arXiv 1903.00241)
    and of CenterMask (arXiv 1911.06667):

    * 'all_parts' (CenterMask2): the part areas add up. Inside, a part is moved by the box's corner
      and rasterised on a canvas of the box's sides, truncated to whole pixels; the whole area is
      the polygon's by the shoelace formula. Limited to [0, 1].
    * 'first_part' (original CenterMask): only the instance's first part counts. Both areas are
      rasterised; the canvas of the whole one spans box and polygon inside of the picture. It can
      slightly exceed 1.

    For bitmaps the pixels are counted whose centres are in the box; the rules are the same.

    Args:
        masks: of the G instances of one picture.
        index: ``[K]`` int64 instance of each box.
        boxes: ``[K, 4]`` float x1, y1, x2, y2, pixels of the picture; any device.
        rule: 'all_parts' or 'first_part'.
        image_size: (height, width) of the picture without padding. Rule 'first_part' needs it for
            polygons.

    Returns:
        ``[K]`` float64 on the boxes' device; 0 where an instance has no area.

    Raises:
        TypeError: if the masks are neither polygons nor bitmaps.
        ValueError: if the shapes do not fit together, the rule is none, or 'first_part' has no
            ``image_size``.
    """
    _check(masks, index, boxes)
    if rule not in AREA_RULES:
        raise ValueError(f'rule must be one of {AREA_RULES}, got {rule!r}')
    corners = boxes.detach().cpu().numpy()
    if isinstance(masks, BitmapMasks):
        areas = _bitmap_areas(masks, index.tolist(), corners)
    elif rule == 'all_parts':
        areas = _areas_of_all_parts(masks.masks, index.tolist(), corners)
    else:
        if image_size is None:
            raise ValueError("rule 'first_part' needs image_size, got None")
        areas = _areas_of_first_parts(masks.masks, index.tolist(), corners, image_size)
    inside, full = np.array(areas, np.float64).reshape(-1, 2).T
    ratios = np.divide(inside, full, out=np.zeros_like(full), where=full > 0)
    if rule == 'all_parts':
        ratios = ratios.clip(0, 1)
    return torch.from_numpy(ratios).to(boxes.device)


def _check(masks: GroundTruthMasks, index: Tensor, boxes: Tensor) -> None:
    if not isinstance(masks, (PolygonMasks, BitmapMasks)):
        raise TypeError(f'masks must be PolygonMasks or BitmapMasks of mmdet, got {type(masks)}')
    if boxes.dim() != 2 or boxes.shape[1] != 4 or index.shape != boxes.shape[:1]:
        raise ValueError(
            f'boxes must be [K, 4] and index [K], got {list(boxes.shape)} and {list(index.shape)}'
        )


def _limit(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Boxes of at least a pixel inside of a picture."""
    height, width = image_size
    size = boxes.new_tensor([width, height])
    first = boxes[:, :2].clamp(min=0).minimum(size - 1)
    last = boxes[:, 2:].clamp(min=0).minimum(size).maximum(first + 1)
    return torch.cat([first, last], dim=1)


def _crop_bitmaps(masks: BitmapMasks, index: Tensor, boxes: Tensor, size: int) -> Tensor:
    # only the instances that are asked for: float32 pictures of all would take much memory
    rows, own = index.unique(return_inverse=True)
    chosen = np.ascontiguousarray(masks.masks[rows.cpu().numpy()])  # as roi_align wants it
    pixels = torch.from_numpy(chosen).to(boxes.device)
    rois = torch.cat([own[:, None].to(boxes), boxes], dim=1).float()
    pooled = roi_align(pixels[:, None].float(), rois, (size, size), 1.0, 0, 'avg', True)
    return pooled[:, 0] >= 0.5


def _crop_polygons(
    masks: PolygonMasks, index: Tensor, boxes: Tensor, size: int, min_side: float
) -> np.ndarray:
    """``[K, R, R]`` bool. One call rasterises the parts of all instances."""
    corners = boxes.detach().cpu().numpy()
    # sides in the boxes' precision, as published, and all that follows in float64
    sides = np.maximum(corners[:, 2:] - corners[:, :2], min_side)
    scales = size / sides.astype(np.float64)
    origins = corners[:, :2].astype(np.float64)
    instances = [_vertices(masks.masks[row]) for row in index.tolist()]
    scaled = [
        (part - origin) * scale
        for parts, origin, scale in zip(instances, origins, scales)
        for part in parts
    ]
    counts = np.array([len(parts) for parts in instances])
    found = np.zeros((len(instances), size, size), bool)
    if scaled:
        rasters = coco_mask.decode(polygons_to_rle(scaled, size, size, rule='coco'))
        starts = (counts.cumsum() - counts)[counts > 0]
        united = np.bitwise_or.reduceat(rasters.transpose(2, 0, 1), starts, axis=0)
        found[counts > 0] = united.astype(bool)
    return found


def _vertices(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The parts of an instance that have an inside, ``[V, 2]`` float64 each."""
    return [np.asarray(part, np.float64).reshape(-1, 2) for part in parts if len(part) >= 6]


def _raster_area(parts: Sequence[np.ndarray], origin: np.ndarray, size: np.ndarray) -> int:
    """Pixels of the parts, each by itself, on a canvas whose (width, height) are truncated."""
    width, height = int(size[0]), int(size[1])
    if width <= 0 or height <= 0 or not parts:
        return 0
    # for one canvas each, pycocotools is quicker than our operator
    moved = [(part - origin).ravel().tolist() for part in parts]
    return int(coco_mask.area(coco_mask.frPyObjects(moved, height, width)).sum())


def _shoelace(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def _areas_of_all_parts(
    polygons: Sequence[Sequence[np.ndarray]], index: Sequence[int], boxes: np.ndarray
) -> list[tuple[float, float]]:
    parts = {row: _vertices(polygons[row]) for row in set(index)}
    full = {row: sum(map(_shoelace, parts[row])) for row in parts}
    return [
        (_raster_area(parts[row], box[:2].astype(np.float64), box[2:] - box[:2]), full[row])
        for row, box in zip(index, boxes)
    ]


def _areas_of_first_parts(
    polygons: Sequence[Sequence[np.ndarray]],
    index: Sequence[int],
    boxes: np.ndarray,
    image_size: tuple[int, int],
) -> list[tuple[float, float]]:
    last = np.array([image_size[1] - 1, image_size[0] - 1], np.float64)
    found = []
    for row, box in zip(index, boxes):
        first = _vertices(polygons[row][:1])
        inside = _raster_area(first, box[:2].astype(np.float64), box[2:] - box[:2])
        full = 0
        if first:
            start = np.minimum(np.trunc(box[:2]), first[0].min(axis=0)).clip(0)
            end = np.minimum(np.maximum(np.trunc(box[2:]) + 1, first[0].max(axis=0)), last)
            full = _raster_area(first, start, end - start)
        found.append((inside, full))
    return found


def _bitmap_areas(
    masks: BitmapMasks, index: Sequence[int], boxes: np.ndarray
) -> list[tuple[float, float]]:
    full = {row: np.count_nonzero(masks.masks[row]) for row in set(index)}
    # column x is inside if x + 0.5 is
    edges = np.ceil(boxes.astype(np.float64) - 0.5).clip(0).astype(np.int64)
    return [
        (np.count_nonzero(masks.masks[row][y1:y2, x1:x2]), full[row])
        for row, (x1, y1, x2, y2) in zip(index, edges)
    ]
