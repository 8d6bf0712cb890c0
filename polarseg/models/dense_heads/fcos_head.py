"""FCOS' head: class, box and centerness at every location.

FCOS (arXiv 1904.01355) as CenterMask (arXiv 1911.06667) and BlendMask (arXiv 2001.00309) use it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from mmcv.cnn import Scale
from mmdet.structures.bbox import distance2bbox
from mmengine.structures import InstanceData
from torch import Tensor, nn

from polarseg.models.dense_heads.dense_outputs import (
    Candidates,
    flatten_levels,
    select_candidates,
)
from polarseg.models.dense_heads.point_head import PointHead
from polarseg.models.layers import ModulatedDeformConv2dPack
from polarseg.models.layers.tower import GROUP_NORM, build_tower
from polarseg.models.losses.fcos_iou_loss import distance_iou
from polarseg.models.task_modules import (
    PointPostprocessor,
    PointTargets,
    box_centerness,
    point_targets,
)
from polarseg.registry import MODELS

__all__ = ['FCOSHead']

CLS_NORMALIZERS = ('fg', 'fg_and_images', 'moving_fg', 'all')
QUALITY_LOSSES = {'ctrness': 'loss_centerness', 'iou': 'loss_iou'}
MOVING_FG_START = 100.0
MOVING_FG_MOMENTUM = 0.9


class PositiveWeights(NamedTuple):
    """How much each positive location of a batch counts.

    Attributes:
        centerness: ``[K]`` float32 targets; None is 1 for each.
        total: ``[]`` float32 what divides weighted losses: the sum, averaged over the processes.
    """

    centerness: Tensor | None
    total: Tensor


@MODELS.register_module()
class FCOSHead(PointHead):
    """Towers and predictors, shared by the levels, and FCOS' losses and decoding.

    The defaults are those of CenterMask2. The original CenterMask is ``norm_on_bbox=False,
    sync_avg_factor=False, cls_normalizer='fg_and_images', clip_boxes=True, inclusive_boxes=True``
    with ``eps=1e-7`` in the box loss.

    Args:
        num_classes: C, without background.
        in_channels: of the feature maps.
        feat_channels: of the towers.
        stacked_convs: convolutions in each of the two towers (class, box).
        stacked_share_convs: convolutions in the tower that stands before both.
        strides: of the levels, pixels.
        norm_on_bbox: box distances are ``relu(scale * conv)`` in units of the level's stride, and
            the box loss compares in that unit. False: ``exp(scale * conv)`` in pixels.
        centerness_on_reg: the centerness comes from the box tower, else from the class tower.
        use_scale: a learnable factor for each level in front of the activation of the boxes.
        cls_normalizer: what divides the classification loss. 'fg': positives, at least 1;
            'fg_and_images': positives and pictures; 'moving_fg': exponential mean of 'fg' over the
            iterations; 'all': locations.
        sync_avg_factor: positives and weights are averaged over all processes before they divide a
            loss, else counted on each process by itself.
        clip_boxes: clip boxes to the unpadded network input before NMS.
        inclusive_boxes: the published +1 box convention of the original model in assignment, NMS
            and clipping; the data set and ``BoxesToConvention`` must be told the same.
        conv_bias: whether the towers' convolutions have a bias; 'auto' is only without norm.
        norm_cfg: normalisation in the towers; None for none.
        norm_per_level: each level has normalisations of its own in the towers, as published for
            batch norms; else the levels share them.
        use_deformable: the last convolution of the class and of the box tower is a modulated
            deformable one.
        box_quality: what ``conv_centerness`` predicts and the box loss is weighted by. 'ctrness':
            the centerness of the location. 'iou': the IoU of the predicted box, and the box loss
            has no weights.
        assigner: config of the :class:`~polarseg.models.task_modules.PointAssigner`.
        loss_cls, loss_bbox, loss_centerness: configs of the losses. The box loss gets left, top,
            right, bottom of prediction and target, as :class:`~polarseg.models.losses.FCOSIoULoss`.
        train_cfg: unused, kept for mmdet's interface.
        test_cfg: arguments of the :class:`~polarseg.models.task_modules.PointPostprocessor`, which
            here takes pairs of a location and a class for candidates.
        init_cfg: initialisation; the default is N(0, 0.01) with class prior 0.01.

    Raises:
        ValueError: for an unknown ``cls_normalizer`` or ``box_quality``.
    """

    candidates = 'pair'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        stacked_share_convs: int = 0,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        norm_on_bbox: bool = True,
        centerness_on_reg: bool = True,
        use_scale: bool = True,
        cls_normalizer: str = 'fg',
        sync_avg_factor: bool = True,
        clip_boxes: bool = False,
        inclusive_boxes: bool = False,
        conv_bias: bool | str = True,
        norm_cfg: dict | None = GROUP_NORM,
        norm_per_level: bool = False,
        use_deformable: bool = False,
        box_quality: str = 'ctrness',
        assigner: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_centerness: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            strides=strides,
            classifier='conv_cls',
            inclusive_boxes=inclusive_boxes,
            sync_avg_factor=sync_avg_factor,
            assigner=assigner or {},
            loss_cls=loss_cls,
            loss_centerness=loss_centerness,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        if cls_normalizer not in CLS_NORMALIZERS:
            raise ValueError(
                f'cls_normalizer must be one of {CLS_NORMALIZERS}, got {cls_normalizer!r}'
            )
        if box_quality not in QUALITY_LOSSES:
            raise ValueError(
                f'box_quality must be one of {tuple(QUALITY_LOSSES)}, got {box_quality!r}'
            )
        self.norm_on_bbox = norm_on_bbox
        self.centerness_on_reg = centerness_on_reg
        self.cls_normalizer = cls_normalizer
        self.clip_boxes = clip_boxes
        self.box_quality = box_quality
        self.loss_bbox = MODELS.build(loss_bbox or dict(type='FCOSIoULoss'))
        if cls_normalizer == 'moving_fg':
            self.register_buffer('moving_fg', torch.tensor(MOVING_FG_START))

        tower = dict(
            channels=feat_channels,
            norm_cfg=norm_cfg,
            bias=conv_bias,
            norm_levels=len(self.strides) if norm_per_level else 0,
        )
        self.share_convs = build_tower(in_channels, num_convs=stacked_share_convs, **tower)
        tower['in_channels'] = feat_channels if stacked_share_convs else in_channels
        tower['last_conv_cfg'] = dict(type='polarseg.DCNv2') if use_deformable else None
        self.cls_convs = build_tower(num_convs=stacked_convs, **tower)
        self.reg_convs = build_tower(num_convs=stacked_convs, **tower)
        channels = feat_channels if stacked_convs else tower['in_channels']
        self.tower_channels = channels
        self.conv_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(channels, 1, 3, padding=1)
        if use_scale:
            self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)
        else:
            self.scales = nn.ModuleList(nn.Identity() for _ in self.strides)

    def init_weights(self) -> None:
        """Initialise; deformable convolutions sample the regular grid at first."""
        super().init_weights()
        for layer in self.modules():
            if isinstance(layer, ModulatedDeformConv2dPack):
                nn.init.zeros_(layer.conv_offset.weight)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Raw outputs of every level.

        Args:
            feats: ``[B, in_channels, H_l, W_l]`` for each level.

        Returns:
            Three lists over the levels: class logits ``[B, C, H_l, W_l]``; distances to the sides
            of the box ``[B, 4, H_l, W_l]``, float32, in strides with ``norm_on_bbox`` and in pixels
            without; centerness logits ``[B, 1, H_l, W_l]``.
        """
        outputs = [self._forward_level(level, feat) for level, feat in enumerate(feats)]
        return tuple(map(list, zip(*outputs)))

    def _forward_level(self, level: int, feat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._predict_level(level, *self._towers(level, feat))

    def _predict_level(
        self, level: int, cls_feat: Tensor, reg_feat: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        distances = self.scales[level](self.conv_reg(reg_feat)).float()
        return (
            self.conv_cls(cls_feat),
            distances.relu() if self.norm_on_bbox else distances.exp(),
            self.conv_centerness(reg_feat if self.centerness_on_reg else cls_feat),
        )

    def _towers(self, level: int, feat: Tensor) -> tuple[Tensor, Tensor]:
        """What the class predictor and what the box predictor sees."""
        shared = self.share_convs(feat, level)
        return self.cls_convs(shared, level), self.reg_convs(shared, level)

    # -- training ---------------------------------------------------------------------------------

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch; pictures without instances, and batches of them, are welcome.

        Args:
            cls_scores, bbox_preds, centernesses: as :meth:`forward` returns them.
            batch_gt_instances: for each picture ``bboxes`` ``[G, 4]``, pixels of the network input,
                and ``labels`` ``[G]``.
            batch_img_metas: unused.
            batch_gt_instances_ignore: unused: crowds are neither positive nor ignored, as
                published.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_centerness``, or ``loss_iou`` with
            ``box_quality='iou'``.
        """
        sizes = [score.shape[-2:] for score in cls_scores]
        targets = self.get_targets(sizes, batch_gt_instances, cls_scores[0].device)
        maps = (cls_scores, bbox_preds, centernesses)
        return self._losses(*maps, targets, self._weights(targets), len(batch_gt_instances))

    def _weights(self, targets: PointTargets) -> PositiveWeights:
        centerness = box_centerness(targets.distances)
        # the weights' sum is positive wherever anything is; without positives this is 0 / 1e-6
        total = self.averaged(centerness.sum(), centerness).clamp(min=1e-6)
        return PositiveWeights(centerness, total)

    def _losses(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        targets: PointTargets,
        weights: PositiveWeights,
        pictures: int,
    ) -> dict[str, Tensor]:
        """The losses of :meth:`loss_by_feat` for given targets."""
        positive, distances = targets.positive, targets.distances
        if self.norm_on_bbox:
            distances = distances / targets.strides[:, None]
        bbox_pred = flatten_levels(bbox_preds)[positive]
        positives = self.averaged(float(len(positive)), distances)
        quality, box_weights = weights.centerness, weights
        if self.box_quality == 'iou':
            quality = distance_iou(bbox_pred.detach(), distances)
            box_weights = PositiveWeights(None, positives.clamp(min=1))
        losses = dict(
            loss_cls=self.loss_cls(
                flatten_levels(cls_scores),
                targets.labels,
                avg_factor=self._cls_avg_factor(targets, positives, pictures),
            ),
            loss_bbox=self.loss_bbox(
                bbox_pred, distances, weight=box_weights.centerness, avg_factor=box_weights.total
            ),
        )
        losses[QUALITY_LOSSES[self.box_quality]] = self.loss_centerness(
            flatten_levels(centernesses)[positive, 0], quality, avg_factor=positives.clamp(min=1)
        )
        return losses

    def get_targets(
        self,
        sizes: Sequence[tuple[int, int]],
        batch_gt_instances: Sequence[InstanceData],
        device: torch.device | str = 'cpu',
    ) -> PointTargets:
        """Which box each location of a batch answers for.

        Args:
            sizes: (height, width) of the levels' feature maps.
            batch_gt_instances: as for :meth:`loss_by_feat`.
            device: where locations and ground truth live.
        """
        points = self.locations(sizes, device)
        return point_targets(
            self.assigner, points, sizes, self.strides, batch_gt_instances, self.num_classes
        )

    def _cls_avg_factor(self, targets: PointTargets, positives: Tensor, pictures: int) -> Tensor:
        """What divides the classification loss; ``positives`` is averaged already."""
        if self.cls_normalizer == 'all':
            return self.averaged(float(len(targets.labels)), positives)
        if self.cls_normalizer == 'fg_and_images':
            return positives + self.averaged(float(pictures), positives)
        positives = positives.clamp(min=1)
        if self.cls_normalizer == 'moving_fg':
            if self.training:
                self.moving_fg.lerp_(positives, 1 - MOVING_FG_MOMENTUM)
            return self.moving_fg.clone()
        return positives

    # -- inference --------------------------------------------------------------------------------

    @torch.no_grad()
    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of a batch, without gradients: they are the proposals of a second stage too.

        Args:
            cls_scores, bbox_preds, centernesses: as :meth:`forward` returns them.
            batch_img_metas: ``img_shape`` (unpadded network input) to clip, ``scale_factor`` (x, y)
                to rescale.
            cfg: arguments of the post-processor, ``test_cfg`` by default.
            rescale: boxes in pixels of the original picture instead of the network's input.

        Returns:
            For each picture ``bboxes`` ``[K, 4]``, ``scores`` ``[K]`` and ``labels`` ``[K]``, best
            first.
        """
        maps = (cls_scores, bbox_preds, centernesses)
        found = self._detections(*maps, batch_img_metas, cfg, rescale)
        return [instances for instances, _ in found]

    def _detections(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None,
        rescale: bool,
    ) -> Iterator[tuple[InstanceData, Tensor]]:
        """For each picture its detections, and ``[K]`` int64 the locations that they come from."""
        postprocess = self.postprocessor(cfg)
        if self.norm_on_bbox:
            bbox_preds = [maps * stride for maps, stride in zip(bbox_preds, self.strides)]
        sizes = [score.shape[-2:] for score in cls_scores]
        points = self.locations(sizes, cls_scores[0].device)
        for picture, meta in enumerate(batch_img_metas):
            candidates = select_candidates(
                picture, cls_scores, centernesses, (bbox_preds,), points, postprocess
            )
            yield self._decode(candidates, meta, postprocess, rescale)

    def _decode(
        self, candidates: Candidates, meta: dict, postprocess: PointPostprocessor, rescale: bool
    ) -> tuple[InstanceData, Tensor]:
        limits = None
        if self.clip_boxes:
            edge = 1 if self.inclusive_boxes else 0
            height, width = meta['img_shape'][:2]
            limits = (height - edge, width - edge)
        boxes = distance2bbox(candidates.points, candidates.rows[0], max_shape=limits)
        kept = postprocess(boxes, candidates.scores, candidates.labels)
        bboxes = kept.bboxes
        if rescale and 'scale_factor' in meta:
            bboxes = bboxes / bboxes.new_tensor(list(meta['scale_factor'])[:2]).repeat(2)
        found = InstanceData(bboxes=bboxes, scores=kept.scores, labels=kept.labels)
        return found, candidates.index[kept.index]
