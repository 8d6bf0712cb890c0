"""Run lengths through full canvases and pycocotools, as detection code gets them."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import encode_mask_results
from mmengine.config import ConfigDict
from pycocotools import mask as coco_mask
from torch import Tensor

__all__ = ['coco_polygons', 'drawn_polygons', 'pasted_masks']


def drawn_polygons(polygons: Sequence[np.ndarray], height: int, width: int) -> list[dict]:
    """``[V, 2]`` float polygons, cut to whole pixels, filled by OpenCV on a canvas each."""
    encoded = []
    for polygon in polygons:
        canvas = np.zeros((height, width), np.uint8)
        cv2.drawContours(canvas, [polygon.astype(np.int32)[:, None]], -1, 1, cv2.FILLED)
        encoded.append(coco_mask.encode(np.asfortranarray(canvas)))
    return encoded


def coco_polygons(polygons: Sequence[np.ndarray], height: int, width: int) -> list[dict]:
    """COCO's own rule for polygons."""
    flat = [polygon.reshape(-1).tolist() for polygon in polygons]
    return coco_mask.frPyObjects(flat, height, width)


def pasted_masks(
    logits: Tensor, boxes: Tensor, height: int, width: int, threshold: float = 0.5
) -> list[dict]:
    """``[N, h, w]`` mask logits through mmdet's own FCNMaskHead and its metric's encoding."""
    head = FCNMaskHead(num_convs=0, num_classes=1, class_agnostic=True)
    pixels = head._predict_by_feat_single(
        logits[:, None],
        boxes.clone(),  # it rescales them in place
        labels=None,
        img_meta=dict(scale_factor=(1.0, 1.0), ori_shape=(height, width)),
        rcnn_test_cfg=ConfigDict(mask_thr_binary=threshold),
        rescale=True,
    )
    return encode_mask_results(pixels.detach().cpu().numpy())
