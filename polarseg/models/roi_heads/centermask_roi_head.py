"""CenterMask's mask branch: masks, and scores for them, of the boxes that FCOS finds.

CenterMask (arXiv 1911.06667), section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.models.mask_heads import place_box_masks
from polarseg.registry import MODELS, TASK_UTILS
from polarseg.structures import area_ratios, crop_masks

__all__ = ['CenterMaskRoIHead', 'Foreground']

DEFAULT_ASSIGNER = dict(
    type='mmdet.MaxIoUAssigner',
    pos_iou_thr=0.5,
    neg_iou_thr=0.5,
    min_pos_iou=0.5,
    match_low_quality=False,
)
DEFAULT_SAMPLER = dict(type='mmdet.RandomSampler', num=512, pos_fraction=0.25)


class Foreground(NamedTuple):
    """The proposals of one picture that reach the mask branch in training.

    Attributes:
        bboxes: ``[K, 4]`` float32, pixels of the network input.
        labels: ``[K]`` int64 classes of the matched ground truth.
        gt_index: ``[K]`` int64 rows of the matched ground truth.
    """

    bboxes: Tensor
    labels: Tensor
    gt_index: Tensor


@MODELS.register_module()
class CenterMaskRoIHead(BaseModule):
    """Pooling, mask head and mask scoring; matching and losses in training.

    The defaults are CenterMask2's. The original has ``inclusive_boxes=True, limit_crops=True,
    crop_min_side=1, area_rule='first_part', paste_rule='integer_box', clip_boxes=False`` and in
    ``train_cfg`` the sampler ``dict(type='mmdet.PseudoSampler')``.

    Args:
        mask_roi_extractor: config of the
            :class:`~polarseg.models.roi_heads.AdaptiveRoIExtractor`.
        mask_head: config of the :class:`~polarseg.models.mask_heads.SAGMaskHead`.
        mask_iou_head: config of the :class:`~polarseg.models.mask_heads.MaskIoUHead`; None for no
            mask scoring.
        inclusive_boxes: boxes name their last pixel (the published +1 convention), in matching and
            in the choice of pyramid levels.
        limit_crops: limit boxes to the picture before mask targets are cropped to them.
        crop_min_side: shorter sides of boxes count as this long when mask targets are cropped,
            pixels.
        area_rule: how the share of an instance inside of a box is measured, see
            :func:`polarseg.structures.area_ratios`.
        paste_rule: how masks are stretched over boxes, see
            :func:`polarseg.ops.paste_masks_to_rle`.
        clip_boxes: limit the final boxes to the picture and drop empty ones. Masks, though
            predicted for the whole box, are stretched over the clipped one, as published.
        train_cfg: ``assigner`` and ``sampler``, configs of mmdet's. The sampler's
            ``add_gt_as_proposals`` (default True) puts the ground truth among the proposals before
            these are matched.
        test_cfg: ``mask_thr_binary``, 0.5 by default.
        init_cfg: of mmengine.
    """

    def __init__(
        self,
        mask_roi_extractor: dict,
        mask_head: dict,
        mask_iou_head: dict | None = None,
        inclusive_boxes: bool = False,
        limit_crops: bool = False,
        crop_min_side: float = 0.1,
        area_rule: str = 'all_parts',
        paste_rule: str = 'half_pixel',
        clip_boxes: bool = True,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mask_roi_extractor = MODELS.build(
            dict(type='AdaptiveRoIExtractor')
            | dict(mask_roi_extractor)
            | dict(inclusive_boxes=inclusive_boxes)
        )
        self.mask_head = MODELS.build(dict(type='SAGMaskHead') | dict(mask_head))
        self.mask_iou_head = None
        if mask_iou_head is not None:
            self.mask_iou_head = MODELS.build(dict(type='MaskIoUHead') | dict(mask_iou_head))
        self.inclusive_boxes = inclusive_boxes
        self.limit_crops = limit_crops
        self.crop_min_side = crop_min_side
        self.area_rule = area_rule
        self.paste_rule = paste_rule
        self.clip_boxes = clip_boxes
        self.mask_threshold = dict(test_cfg or {}).get('mask_thr_binary', 0.5)
        self._build_matching(dict(train_cfg or {}))

    def _build_matching(self, train_cfg: dict) -> None:
        self.assigner = TASK_UTILS.build(dict(train_cfg.get('assigner') or DEFAULT_ASSIGNER))
        sampler = dict(train_cfg.get('sampler') or DEFAULT_SAMPLER)
        # mmdet's samplers would add the ground truth after the matching, each box as its own match
        self.add_gt_as_proposals = sampler.get('add_gt_as_proposals', True)
        self.sampler = TASK_UTILS.build(sampler | dict(add_gt_as_proposals=False))

    @property
    def with_mask_scoring(self) -> bool:
        """Whether there is a MaskIoU head."""
        return self.mask_iou_head is not None

    # -- training ---------------------------------------------------------------------------------

    def loss(
        self,
        x: Sequence[Tensor],
        proposals: Sequence[InstanceData],
        batch_data_samples: Sequence[DetDataSample],
    ) -> dict[str, Tensor]:
        """Losses of a batch; pictures without instances or proposals are welcome.

        Args:
            x: feature maps from P3 on.
            proposals: for each picture ``bboxes`` ``[K, 4]``, pixels of the network input.
            batch_data_samples: with ``gt_instances`` of ``bboxes``, ``labels`` and ``masks``
                (mmdet's ``PolygonMasks``, as published, or ``BitmapMasks``) and, in the metainfo,
                ``img_shape``.

        Returns:
            ``loss_mask`` and, with mask scoring, ``loss_mask_iou``.
        """
        ground_truth = [sample.gt_instances for sample in batch_data_samples]
        foreground = [self.match(*pair) for pair in zip(proposals, ground_truth)]
        labels = torch.cat([chosen.labels for chosen in foreground])
        rois = bbox2roi([chosen.bboxes for chosen in foreground])
        sizes = [sample.img_shape[:2] for sample in batch_data_samples]
        feats = self.mask_roi_extractor(x, rois, rois.new_tensor(sizes))
        logits = self.mask_head(feats)
        targets = self._mask_targets(foreground, ground_truth, sizes, logits.shape[-1])
        losses = dict(loss_mask=self.mask_head.loss(logits, targets, labels))
        if self.with_mask_scoring:
            own = self.mask_head.choose(logits, labels)
            ratios = self._area_ratios(foreground, ground_truth, sizes)
            iou_targets = self.mask_iou_head.get_targets(own, targets, ratios)
            mask_ious = self.mask_iou_head.forward_labels(feats, own, labels)
            losses['loss_mask_iou'] = self.mask_iou_head.loss(mask_ious, iou_targets)
        return losses

    def match(self, proposals: InstanceData, ground_truth: InstanceData) -> Foreground:
        """The proposals of one picture that hit an instance, ground truth among them.

        Args:
            proposals: ``bboxes`` ``[K, 4]``.
            ground_truth: ``bboxes`` ``[G, 4]`` and ``labels`` ``[G]``.
        """
        boxes = proposals.bboxes.detach().float()
        if self.add_gt_as_proposals:
            boxes = torch.cat([ground_truth.bboxes.to(boxes), boxes])
        candidates = InstanceData(priors=self._areal_boxes(boxes))
        instances = InstanceData(
            bboxes=self._areal_boxes(ground_truth.bboxes), labels=ground_truth.labels
        )
        assigned = self.assigner.assign(candidates, instances)
        sampled = self.sampler.sample(assigned, candidates, instances)
        return Foreground(
            boxes[sampled.pos_inds], sampled.pos_gt_labels, sampled.pos_assigned_gt_inds
        )

    def _areal_boxes(self, boxes: Tensor) -> Tensor:
        """Boxes whose continuous IoU is the IoU of the box convention in force."""
        return boxes + boxes.new_tensor([0, 0, 1, 1]) if self.inclusive_boxes else boxes

    def _mask_targets(
        self,
        foreground: Sequence[Foreground],
        ground_truth: Sequence[InstanceData],
        sizes: Sequence[tuple[int, int]],
        side: int,
    ) -> Tensor:
        """``[K, side, side]`` float 0 or 1."""
        crops = [
            crop_masks(
                instances.masks,
                chosen.gt_index,
                chosen.bboxes,
                side,
                min_side=self.crop_min_side,
                image_size=size if self.limit_crops else None,
            )
            for chosen, instances, size in zip(foreground, ground_truth, sizes)
        ]
        return torch.cat(crops).float()

    def _area_ratios(
        self,
        foreground: Sequence[Foreground],
        ground_truth: Sequence[InstanceData],
        sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """``[K]`` float64."""
        ratios = [
            area_ratios(instances.masks, chosen.gt_index, chosen.bboxes, self.area_rule, size)
            for chosen, instances, size in zip(foreground, ground_truth, sizes)
        ]
        return torch.cat(ratios)

    # -- inference --------------------------------------------------------------------------------

    def forward(
        self, x: Sequence[Tensor], rois: Tensor, labels: Tensor, image_sizes: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Masks of given regions and classes.

        Args:
            x: feature maps from P3 on.
            rois: ``[K, 5]`` float32 picture of the batch, x1, y1, x2, y2 in pixels of the network
                input.
            labels: ``[K]`` int64.
            image_sizes: ``[B, 2]`` heights and widths of the pictures without padding.

        Returns:
            Logits ``[K, 28, 28]``, and IoU ``[K]`` if there is mask scoring.
        """
        feats = self.mask_roi_extractor(x, rois, image_sizes)
        logits = self.mask_head.forward_labels(feats, labels)
        if not self.with_mask_scoring:
            return logits, None
        return logits, self.mask_iou_head.forward_labels(feats, logits, labels)

    def predict(
        self,
        x: Sequence[Tensor],
        results: Sequence[InstanceData],
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Add masks to detections.

        Args:
            x: feature maps from P3 on.
            results: for each picture ``bboxes`` ``[K, 4]`` in pixels of the network input,
                ``scores`` ``[K]`` and ``labels`` ``[K]``.
            batch_data_samples: their metainfo has ``img_shape`` and, to rescale, ``ori_shape`` and
                ``scale_factor`` (x, y).
            rescale: results in pixels of the original picture instead of the network's input.

        Returns:
            For each picture ``bboxes``, ``scores``, ``labels``, ``masks``
            (:class:`~polarseg.structures.BoxMaskInstances`) and, with mask scoring,
            ``mask_scores``: the score times the predicted IoU, of any size. The order is that of
            ``results``.
        """
        metas = [sample.metainfo for sample in batch_data_samples]
        rois = bbox2roi([found.bboxes for found in results])
        labels = torch.cat([found.labels for found in results])
        sizes = rois.new_tensor([meta['img_shape'][:2] for meta in metas])
        logits, mask_ious = self(x, rois, labels, sizes)
        counts = [len(found) for found in results]
        maps = logits.float().sigmoid().split(counts)
        ious = [None] * len(counts) if mask_ious is None else mask_ious.float().split(counts)
        return [self._finish(*parts, rescale) for parts in zip(results, maps, ious, metas)]

    def _finish(
        self,
        found: InstanceData,
        probabilities: Tensor,
        mask_ious: Tensor | None,
        meta: dict,
        rescale: bool,
    ) -> InstanceData:
        """Boxes, masks and scores of one picture in the pixels of the output."""
        fields = dict(bboxes=found.bboxes, scores=found.scores, labels=found.labels)
        if mask_ious is not None:
            fields['mask_scores'] = found.scores * mask_ious
        return place_box_masks(
            InstanceData(**fields),
            probabilities,
            meta,
            rescale,
            paste_rule=self.paste_rule,
            threshold=self.mask_threshold,
            clip_boxes=self.clip_boxes,
            inclusive_boxes=self.inclusive_boxes,
        )
