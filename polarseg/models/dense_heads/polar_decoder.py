"""From PolarMask's raw outputs to the instances of one picture."""

from typing import NamedTuple

from mmdet.structures.bbox import distance2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.models.dense_heads.dense_outputs import Candidates
from polarseg.models.task_modules import PointPostprocessor
from polarseg.structures import PolygonInstances, decode_rays

__all__ = ['HeadOutputs', 'decode_candidates']


class HeadOutputs(NamedTuple):
    """A dense polar head's outputs at M locations, float32.

    Attributes:
        cls_scores: ``[M, C]`` logits.
        bbox_preds: ``[M, 4]`` distances in pixels, None without box branch.
        centernesses: ``[M]`` logits.
        ray_preds: ``[M, R]`` ray lengths in pixels.
    """

    cls_scores: Tensor
    bbox_preds: Tensor | None
    centernesses: Tensor
    ray_preds: Tensor


def decode_candidates(
    candidates: Candidates,
    meta: dict,
    postprocess: PointPostprocessor,
    mask_nms: bool = False,
    rescale: bool = False,
) -> InstanceData:
    """Detections of one picture.

    Vertices and boxes are clamped to the unpadded network input, then rescaled, and NMS runs in
    the pixels of the result, all as published. Polygons are decoded for the survivors only, unless
    NMS needs their extremes.

    Args:
        candidates: of the picture, with rows of box distances (or None) and of rays, pixels.
        meta: ``img_shape`` and, to rescale, ``ori_shape`` and ``scale_factor`` (x, y).
        postprocess: threshold, NMS and cut.
        mask_nms: boxes are the polygons' extremes.
        rescale: to the original picture's pixels.
    """
    _, points, scores, labels, (distances, rays) = candidates
    img_shape = tuple(meta['img_shape'][:2])
    scale = points.new_ones(2)
    if rescale and 'scale_factor' in meta:
        scale = points.new_tensor(list(meta['scale_factor'])[:2])
    height, width = meta['ori_shape'][:2] if rescale else img_shape

    def polygons(points: Tensor, rays: Tensor) -> PolygonInstances:
        return PolygonInstances(decode_rays(points, rays, img_shape) / scale, height, width)

    if mask_nms:
        every = polygons(points, rays)
        kept = postprocess(every.boxes(), scores, labels)
        masks = every[kept.index]
    else:
        edge = 1 if postprocess.inclusive_boxes else 0
        limits = (img_shape[0] - edge, img_shape[1] - edge)
        bboxes = distance2bbox(points, distances, max_shape=limits)
        kept = postprocess(bboxes / scale.repeat(2), scores, labels)
        masks = polygons(points[kept.index], rays[kept.index])
    return InstanceData(bboxes=kept.bboxes, scores=kept.scores, labels=kept.labels, masks=masks)
