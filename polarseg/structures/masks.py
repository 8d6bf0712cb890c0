"""One way from every form in which masks are held to COCO RLE."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor

__all__ = ['masks_to_rle']


def masks_to_rle(masks: Any) -> list[dict]:
    """Compressed COCO RLE of N masks.

    Args:
        masks: an object with ``to_rle()`` (:class:`~polarseg.structures.PolygonInstances`,
            :class:`~polarseg.structures.BoxMaskInstances`) or with ``to_ndarray()``
            (mmdet's mask structures), a tensor or array ``[N, H, W]``, or a sequence of RLE dicts,
            which is returned as it is.

    Returns:
        ``{'size': [H, W], 'counts': bytes}`` for each mask.

    Raises:
        TypeError: for anything else.
    """
    if hasattr(masks, 'to_rle'):
        return masks.to_rle()
    if isinstance(masks, Sequence) and all(isinstance(mask, dict) for mask in masks):
        return list(masks)
    if hasattr(masks, 'to_ndarray'):
        masks = masks.to_ndarray()
    if isinstance(masks, Tensor):
        masks = masks.detach().cpu().numpy()
    if not isinstance(masks, np.ndarray) or masks.ndim != 3:
        raise TypeError(f'masks must be [N, H, W] pixels, polygons or RLE, got {type(masks)}')
    pixels = masks.astype(np.uint8)
    return [coco_mask.encode(np.asfortranarray(mask)) for mask in pixels]
