"""PolarMask's head: class, polar centerness, box and rays at every location.

PolarMask (arXiv 1909.13226), section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmcv.cnn import Scale
from mmdet.structures.bbox import distance2bbox
from mmengine.structures import InstanceData
from torch import Tensor, nn

from polarseg.models.dense_heads.dense_outputs import flatten_levels, select_candidates
from polarseg.models.dense_heads.point_head import PointHead
from polarseg.models.dense_heads.polar_decoder import HeadOutputs, decode_candidates
from polarseg.models.layers.tower import GROUP_NORM, build_tower
from polarseg.models.task_modules import (
    box_centerness,
    point_targets,
)
from polarseg.ops import polar_ray_targets
from polarseg.registry import MODELS
from polarseg.structures import PackedContours, polar_centerness

__all__ = ['PolarMaskHead', 'PolarTargets']

CENTERNESS_TYPES = ('polar', 'box')


class PolarTargets(NamedTuple):
    """Training targets of a batch of B pictures with N locations each.

    Attributes:
        labels: ``[B * N]`` int64 class, ``num_classes`` for background.
        positive: ``[K]`` int64 indices of the positive locations among the B * N.
        points: ``[K, 2]`` float32 the positive locations, pixels.
        distances: ``[K, 4]`` float32 left, top, right, bottom to the box, pixels.
        rays: ``[K, R]`` float32 ray lengths, pixels.
    """

    labels: Tensor
    positive: Tensor
    points: Tensor
    distances: Tensor
    rays: Tensor


@MODELS.register_module()
class PolarMaskHead(PointHead):
    """Towers and predictors, shared by the levels, and PolarMask's losses and decoding.

    Args:
        num_classes: C, without background.
        in_channels: of the feature maps.
        feat_channels: of the towers.
        stacked_convs: convolutions in each of the three towers (class, box, rays).
        strides: of the levels, pixels.
        num_rays: R. Targets in ``ray_mode='binned'`` need a divisor of 360.
        ray_mode: 'binned', the published targets, or 'exact', the farthest intersection of ray and
            contour (see :func:`polarseg.ops.polar_ray_targets`).
        centerness_type: 'polar', sqrt(min ray / max ray), or 'box', FCOS' ordinary centerness. It
            is the target of the centerness branch and the weight of the box and ray losses.
        with_bbox: whether there is a box branch. Without, boxes are the polygons' extremes.
        mask_nms: boxes, for NMS and in the results, are the polygons' extremes even though there is
            a box branch.
        use_dcn: towers of modulated deformable convolutions (the ``*_dcn2`` models).
        dcn_cfg: which ones.
        inclusive_boxes: the published +1 box convention in assignment, box loss, NMS and clamping;
            the data set and ``BoxesToConvention`` must be told the same. False is mmdet's native
            geometry.
        sync_avg_factor: average the number of positives and the weights over all processes, as
            mmdet's heads do. The published models count on each process by itself.
        assigner: config of the :class:`~polarseg.models.task_modules.PointAssigner`.
        loss_cls, loss_bbox, loss_mask, loss_centerness: configs of the losses.
        norm_cfg: normalisation in the towers; None for none.
        train_cfg: unused, kept for mmdet's interface.
        test_cfg: arguments of the :class:`~polarseg.models.task_modules.PointPostprocessor`.
        init_cfg: initialisation; the default is N(0, 0.01) with class prior 0.01.

    Raises:
        ValueError: for an unknown ``centerness_type``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        num_rays: int = 36,
        ray_mode: str = 'binned',
        centerness_type: str = 'polar',
        with_bbox: bool = True,
        mask_nms: bool = False,
        use_dcn: bool = False,
        dcn_cfg: dict | None = None,
        inclusive_boxes: bool = False,
        sync_avg_factor: bool = False,
        assigner: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_mask: dict | None = None,
        loss_centerness: dict | None = None,
        norm_cfg: dict | None = GROUP_NORM,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            strides=strides,
            classifier='polar_cls',
            inclusive_boxes=inclusive_boxes,
            sync_avg_factor=sync_avg_factor,
            assigner=dict(sampling_center='mass') | dict(assigner or {}),
            loss_cls=loss_cls,
            loss_centerness=loss_centerness,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        if centerness_type not in CENTERNESS_TYPES:
            raise ValueError(
                f'centerness_type must be one of {CENTERNESS_TYPES}, got {centerness_type!r}'
            )
        self.num_rays = num_rays
        self.ray_mode = ray_mode
        self.centerness_type = centerness_type
        self.with_bbox = with_bbox
        self.mask_nms = mask_nms or not with_bbox
        if with_bbox:
            self.loss_bbox = MODELS.build(loss_bbox or dict(type='IoULoss', mode='log', eps=1e-6))
        self.loss_mask = MODELS.build(loss_mask or dict(type='PolarIoULoss'))
        conv_cfg = (dcn_cfg or dict(type='DCNv2', deform_groups=1)) if use_dcn else None
        tower = dict(
            in_channels=in_channels,
            channels=feat_channels,
            num_convs=stacked_convs,
            norm_cfg=norm_cfg,
            conv_cfg=conv_cfg,
            # the published deformable towers keep the bias in front of the normalisation;
            # unmodulated convolutions ('DCN', of any scope) cannot have one
            bias=True if use_dcn and conv_cfg['type'].split('.')[-1] != 'DCN' else 'auto',
        )
        self._build_layers(tower, feat_channels)

    def _build_layers(self, tower: dict, channels: int) -> None:
        """Towers, predictors and scales under the published names."""
        self.cls_convs = build_tower(**tower)
        self.mask_convs = build_tower(**tower)
        self.polar_cls = nn.Conv2d(channels, self.num_classes, 3, padding=1)
        self.polar_centerness = nn.Conv2d(channels, 1, 3, padding=1)
        self.polar_mask = nn.Conv2d(channels, self.num_rays, 3, padding=1)
        self.scales_mask = nn.ModuleList(Scale(1.0) for _ in self.strides)
        if self.with_bbox:
            self.reg_convs = build_tower(**tower)
            self.polar_reg = nn.Conv2d(channels, 4, 3, padding=1)
            self.scales_bbox = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward(
        self, feats: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor | None], list[Tensor], list[Tensor]]:
        """Raw outputs of every level.

        Args:
            feats: ``[B, in_channels, H_l, W_l]`` for each level.

        Returns:
            Four lists over the levels: class logits ``[B, C, H_l, W_l]``, box distances
            ``[B, 4, H_l, W_l]`` in pixels (None without box branch), centerness logits
            ``[B, 1, H_l, W_l]``, ray lengths ``[B, R, H_l, W_l]`` in pixels. Distances and
            lengths are float32 under automatic mixed precision too, for the exponential.
        """
        outputs = [self._forward_level(level, feat) for level, feat in enumerate(feats)]
        return tuple(map(list, zip(*outputs)))

    def _forward_level(
        self, level: int, feat: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        cls_feat = self.cls_convs(feat)
        ray_logits = self.scales_mask[level](self.polar_mask(self.mask_convs(feat)))
        bbox_pred = None
        if self.with_bbox:
            bbox_logits = self.scales_bbox[level](self.polar_reg(self.reg_convs(feat)))
            bbox_pred = bbox_logits.float().exp()
        return (
            self.polar_cls(cls_feat),
            bbox_pred,
            self.polar_centerness(cls_feat),
            ray_logits.float().exp(),
        )

    # -- training ---------------------------------------------------------------------------------

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor | None],
        centernesses: list[Tensor],
        ray_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch; pictures without instances, and batches of them, are welcome.

        Args:
            cls_scores, bbox_preds, centernesses, ray_preds: as :meth:`forward` returns them.
            batch_gt_instances: for each picture ``bboxes`` ``[G, 4]``, ``labels`` ``[G]``,
                ``contours`` and ``centers`` ``[G, 2]``, pixels of the network input.
            batch_img_metas: unused.
            batch_gt_instances_ignore: unused: crowds are neither positive nor ignored, as
                published.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_centerness`` and, with a box branch, ``loss_bbox``.
        """
        outputs = self.flatten_outputs(cls_scores, bbox_preds, centernesses, ray_preds)
        sizes = [score.shape[-2:] for score in cls_scores]
        targets = self.get_targets(sizes, batch_gt_instances, outputs.cls_scores.device)
        centerness = self._centerness_targets(targets)
        count = self.averaged(float(len(targets.positive)), outputs.cls_scores)
        weight = self.averaged(centerness.sum(), outputs.cls_scores).clamp(min=1e-6)

        positive = targets.positive
        losses = dict(
            loss_cls=self.loss_cls(
                outputs.cls_scores, targets.labels, avg_factor=count + len(batch_gt_instances)
            ),
            loss_mask=self.loss_mask(
                outputs.ray_preds[positive], targets.rays, weight=centerness, avg_factor=weight
            ),
            loss_centerness=self.loss_centerness(
                outputs.centernesses[positive], centerness, avg_factor=count.clamp(min=1)
            ),
        )
        if self.with_bbox:
            losses['loss_bbox'] = self.loss_bbox(
                self.areal_boxes(targets.points, outputs.bbox_preds[positive]),
                self.areal_boxes(targets.points, targets.distances),
                weight=centerness,
                avg_factor=weight,
            )
        return losses

    def get_targets(
        self,
        sizes: Sequence[tuple[int, int]],
        batch_gt_instances: Sequence[InstanceData],
        device: torch.device | str = 'cpu',
    ) -> PolarTargets:
        """Targets of a batch. The rays of all its positives are made by one call of the operator.

        Args:
            sizes: (height, width) of the levels' feature maps.
            batch_gt_instances: as for :meth:`loss_by_feat`.
            device: where locations and ground truth live.

        Raises:
            AttributeError: if the ground truth has no contours and centres.
        """
        points = self.locations(sizes, device)
        for instances in batch_gt_instances:
            _check_ground_truth(instances)
        found = point_targets(
            self.assigner, points, sizes, self.strides, batch_gt_instances, self.num_classes
        )
        contours = PackedContours.cat([instances.contours for instances in batch_gt_instances])
        rays = polar_ray_targets(
            contours.points,
            contours.offsets,
            found.points,
            found.gt_index,
            num_rays=self.num_rays,
            mode=self.ray_mode,
        )
        return PolarTargets(found.labels, found.positive, found.points, found.distances, rays)

    def _centerness_targets(self, targets: PolarTargets) -> Tensor:
        if self.centerness_type == 'polar':
            return polar_centerness(targets.rays)
        return box_centerness(targets.distances)

    def areal_boxes(self, points: Tensor, distances: Tensor) -> Tensor:
        """Boxes whose continuous IoU is the IoU of the box convention in force."""
        boxes = distance2bbox(points, distances)
        return boxes + boxes.new_tensor([0, 0, 1, 1]) if self.inclusive_boxes else boxes

    def flatten_outputs(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor | None],
        centernesses: list[Tensor],
        ray_preds: list[Tensor],
    ) -> HeadOutputs:
        """The maps of some levels as rows: pictures in order, in each its levels, row-major."""
        return HeadOutputs(
            flatten_levels(cls_scores),
            flatten_levels(bbox_preds) if self.with_bbox else None,
            flatten_levels(centernesses)[:, 0],
            flatten_levels(ray_preds),
        )

    # -- inference --------------------------------------------------------------------------------

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor | None],
        centernesses: list[Tensor],
        ray_preds: list[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of a batch.

        Args:
            cls_scores, bbox_preds, centernesses, ray_preds: as :meth:`forward` returns them.
            batch_img_metas: ``img_shape`` (unpadded network input) and, to rescale, ``ori_shape``
                and ``scale_factor`` (x, y).
            cfg: arguments of the post-processor, ``test_cfg`` by default.
            rescale: results in pixels of the original picture instead of the network's input. NMS
                runs in those pixels too, as published.

        Returns:
            For each picture ``bboxes`` ``[K, 4]``, ``scores`` ``[K]``, ``labels`` ``[K]`` and
            ``masks`` (:class:`~polarseg.structures.PolygonInstances`), best first.
        """
        postprocess = self.postprocessor(cfg)
        sizes = [score.shape[-2:] for score in cls_scores]
        points = self.locations(sizes, cls_scores[0].device)
        results = []
        for picture, meta in enumerate(batch_img_metas):
            candidates = select_candidates(
                picture, cls_scores, centernesses, (bbox_preds, ray_preds), points, postprocess
            )
            results.append(decode_candidates(candidates, meta, postprocess, self.mask_nms, rescale))
        return results


def _check_ground_truth(instances: InstanceData) -> None:
    missing = [key for key in ('contours', 'centers') if key not in instances]
    if missing:
        raise AttributeError(
            f'the ground truth lacks {missing}: PolarMask trains on samples from a pipeline with '
            'TracePolarContours, and PackPolarInputs in place of PackDetInputs'
        )
