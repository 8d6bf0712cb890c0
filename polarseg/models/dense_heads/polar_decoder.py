"""From PolarMask's raw outputs to the instances of one picture."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures.bbox import distance2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.models.task_modules import PointPostprocessor
from polarseg.structures import PolygonInstances, decode_rays

__all__ = ['Candidates', 'HeadOutputs', 'decode_candidates', 'select_candidates']


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


class Candidates(NamedTuple):
    """Locations of one picture that the post-processor chooses from.

    Attributes:
        points: ``[M, 2]`` x, y, pixels of the network input.
        probabilities: ``[M, C]``.
        centerness: ``[M]`` in [0, 1].
        distances: ``[M, 4]`` left, top, right, bottom in pixels, None without box branch.
        rays: ``[M, R]`` pixels.
    """

    points: Tensor
    probabilities: Tensor
    centerness: Tensor
    distances: Tensor | None
    rays: Tensor


def select_candidates(
    levels: Sequence[HeadOutputs], points: Sequence[Tensor], postprocess: PointPostprocessor
) -> Candidates:
    """The best locations of each level of one picture, joined.

    Args:
        levels: outputs of each level.
        points: ``[N_l, 2]`` locations of each level.
        postprocess: says how many of a level go on.
    """
    parts = []
    for outputs, level_points in zip(levels, points):
        probabilities = outputs.cls_scores.sigmoid()
        centerness = outputs.centernesses.sigmoid()
        kept = postprocess.select(probabilities, centerness)
        distances = None if outputs.bbox_preds is None else outputs.bbox_preds[kept]
        parts.append(
            Candidates(
                level_points[kept],
                probabilities[kept],
                centerness[kept],
                distances,
                outputs.ray_preds[kept],
            )
        )
    return Candidates(*(None if column[0] is None else torch.cat(column) for column in zip(*parts)))


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
        candidates: of the picture.
        meta: ``img_shape`` and, to rescale, ``ori_shape`` and ``scale_factor`` (x, y).
        postprocess: threshold, NMS and cut.
        mask_nms: boxes are the polygons' extremes.
        rescale: to the original picture's pixels.
    """
    img_shape = tuple(meta['img_shape'][:2])
    scale = candidates.points.new_ones(2)
    if rescale and 'scale_factor' in meta:
        scale = candidates.points.new_tensor(list(meta['scale_factor'])[:2])
    height, width = meta['ori_shape'][:2] if rescale else img_shape

    def polygons(points: Tensor, rays: Tensor) -> PolygonInstances:
        return PolygonInstances(decode_rays(points, rays, img_shape) / scale, height, width)

    if mask_nms:
        every = polygons(candidates.points, candidates.rays)
        kept = postprocess(every.boxes(), candidates.probabilities, candidates.centerness)
        masks = every[kept.index]
    else:
        edge = 1 if postprocess.inclusive_boxes else 0
        limits = (img_shape[0] - edge, img_shape[1] - edge)
        bboxes = distance2bbox(candidates.points, candidates.distances, max_shape=limits)
        kept = postprocess(
            bboxes / scale.repeat(2), candidates.probabilities, candidates.centerness
        )
        masks = polygons(candidates.points[kept.index], candidates.rays[kept.index])
    return InstanceData(bboxes=kept.bboxes, scores=kept.scores, labels=kept.labels, masks=masks)
