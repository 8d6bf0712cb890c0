"""BlendMask's blender: masks of regions from the bases of a picture and an attention for each.

BlendMask (arXiv 2001.00309), section 3.2.
"""

from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn

from polarseg.models.mask_heads.blending import blend, blend_loss, resampling_matrix
from polarseg.models.mask_heads.box_mask_results import place_box_masks
from polarseg.registry import MODELS
from polarseg.structures import crop_masks

__all__ = ['Blender']

# few enough maps of 4 x 56 x 56 for a CPU's caches, enough of them to fill a GPU
CPU_CHUNK = 32
GPU_CHUNK = 256
FAR = 1e9
"""Pixels; beyond it, where a diverged network may put boxes, all is outside of the map."""


@MODELS.register_module()
class Blender(nn.Module):
    """Pools the bases inside of regions and adds them with weights from the attentions.

    It has no parameters. All is computed in float32 at least, also where autocast is on.

    Args:
        num_bases: K.
        attention_size: M; an attention is a vector of K * M * M, in the order basis, row, column.
        resolution: R, side of the masks.
        base_stride: of the bases, pixels of the network's input.
        top_interp: how attentions are stretched to R x R, 'bilinear' or 'nearest'.
        softmax: the weights of the bases are a softmax over them; False takes the attention itself,
            a plain weighted sum.
        pooler: config of the pooling, a layer of ``mmcv.ops``; ``RoIAlign`` if it names no type.
        chunk_size: regions that are blended at once, which bounds the memory and changes no result.
            None for 32 on the CPU and 256 elsewhere.
        loss_weight: of the mask loss.
        crop_min_side: shorter sides of ground-truth boxes count as this long when mask targets are
            cropped, pixels.
        paste_rule: how masks are stretched over boxes, see
            :class:`~polarseg.structures.BoxMaskInstances`.
        mask_thr_binary: probability from which a pixel is foreground.
        clip_boxes: limit the final boxes to the picture and drop empty ones, see
            :func:`~polarseg.models.mask_heads.place_box_masks`.

    Raises:
        ValueError: for an unknown ``top_interp`` or sizes below 1.
    """

    def __init__(
        self,
        num_bases: int = 4,
        attention_size: int = 14,
        resolution: int = 56,
        base_stride: int = 4,
        top_interp: str = 'bilinear',
        softmax: bool = True,
        pooler: dict | None = None,
        chunk_size: int | None = None,
        loss_weight: float = 1.0,
        crop_min_side: float = 0.1,
        paste_rule: str = 'half_pixel',
        mask_thr_binary: float = 0.5,
        clip_boxes: bool = True,
    ) -> None:
        super().__init__()
        sizes = dict(num_bases=num_bases, attention_size=attention_size, resolution=resolution)
        for name, size in (sizes | dict(chunk_size=chunk_size or 1)).items():
            if size < 1:
                raise ValueError(f'{name} must be at least 1, got {size}')
        self.num_bases = num_bases
        self.attention_size = attention_size
        self.resolution = resolution
        self.softmax = softmax
        self.chunk_size = chunk_size
        self.loss_weight = loss_weight
        self.crop_min_side = crop_min_side
        self.paste_rule = paste_rule
        self.mask_thr_binary = mask_thr_binary
        self.clip_boxes = clip_boxes
        matrix = resampling_matrix(attention_size, resolution, top_interp)
        self.register_buffer('matrix', matrix, persistent=False)
        pooler = dict(sampling_ratio=1, aligned=True) if pooler is None else dict(pooler)
        layer = dict(type='RoIAlign') | pooler | dict(output_size=resolution)
        self.pooler = SingleRoIExtractor(layer, num_bases, [base_stride])

    @property
    def attention_channels(self) -> int:
        """Length of an attention vector, K * M * M."""
        return self.num_bases * self.attention_size**2

    def forward(self, bases: Tensor, attentions: Tensor, rois: Tensor) -> Tensor:
        """Mask logits of regions.

        Args:
            bases: ``[B, K, H, W]`` of B pictures.
            attentions: ``[N, K * M * M]``.
            rois: ``[N, 5]`` picture of the batch, x1, y1, x2, y2 in pixels of the network's input;
                they may leave the picture. Beyond the bases' map a logit is 0.

        Returns:
            ``[N, R, R]`` float32.

        Raises:
            ValueError: if shapes do not fit together.
        """
        with torch.autocast(bases.device.type, enabled=False):
            maps = self._attention_maps(attentions)
            if len(maps) != len(rois):
                raise ValueError(f'attentions must be of {len(rois)} rois, got {len(maps)}')
            matrix, size = self.matrix.to(maps), self._chunk_size(maps)
            logits = [
                blend(self.pool(bases, own_rois), own_maps, matrix, self.softmax)
                for own_rois, own_maps in zip(rois.split(size), maps.split(size))
            ]
            return torch.cat(logits)

    def pool(self, bases: Tensor, rois: Tensor) -> Tensor:
        """``[N, K, R, R]`` bases inside of the regions ``[N, 5]``, float32 or float64."""
        if bases.dim() != 4 or bases.shape[1] != self.num_bases:
            raise ValueError(f'bases must be [B, {self.num_bases}, H, W], got {list(bases.shape)}')
        # mmcv's CPU operator breaks the process on what is not finite
        rois = rois.nan_to_num(nan=0.0).clamp(-FAR, FAR)
        return self.pooler([_at_least_float32(bases).contiguous()], rois)

    def _attention_maps(self, attentions: Tensor) -> Tensor:
        """``[N, K, M, M]``."""
        if attentions.dim() != 2 or attentions.shape[1] != self.attention_channels:
            raise ValueError(
                f'attentions must be [N, {self.attention_channels}], got {list(attentions.shape)}'
            )
        side = self.attention_size
        return _at_least_float32(attentions).view(-1, self.num_bases, side, side)

    def _chunk_size(self, tensor: Tensor) -> int:
        default = CPU_CHUNK if tensor.device.type == 'cpu' else GPU_CHUNK
        return self.chunk_size or default

    # -- training ---------------------------------------------------------------------------------

    def loss(
        self,
        bases: Tensor,
        attentions: Tensor,
        gt_index: Tensor,
        weights: Tensor,
        avg_factor: float | Tensor,
        batch_gt_instances: Sequence[InstanceData],
    ) -> dict[str, Tensor]:
        """The mask loss of the positive locations of a batch.

        The region of a location is the box of its ground truth. Bases are pooled, and targets
        rasterised, once for each ground truth that has a location.

        Args:
            bases: ``[B, K, H, W]``.
            attentions: ``[P, K * M * M]`` of the positive locations; P may be 0.
            gt_index: ``[P]`` int64 ground truth of each, counted through the batch: pictures
                without instances add nothing to the count.
            weights: ``[P]`` (published: the centerness targets).
            avg_factor: divides the weighted sum (published: the mean over the processes of the sum
                of the weights), above 0.
            batch_gt_instances: for each picture ``bboxes`` ``[G, 4]``, pixels of the network's
                input, and ``masks`` (mmdet's ``PolygonMasks``, as published, or ``BitmapMasks``).

        Returns:
            ``loss_mask``; 0, with a graph, if there is no location.

        Raises:
            ValueError: if shapes do not fit together or an index is none of the ground truths.
        """
        maps = self._attention_maps(attentions)
        if gt_index.shape != maps.shape[:1] or weights.shape != maps.shape[:1]:
            raise ValueError(
                f'gt_index and weights must be [{len(maps)}], got {list(gt_index.shape)} and '
                f'{list(weights.shape)}'
            )
        if len(maps) == 0:
            return dict(loss_mask=(_at_least_float32(bases).sum() + maps.sum()) * 0)
        with torch.autocast(bases.device.type, enabled=False):
            used, own = gt_index.unique(return_inverse=True)
            boxes, targets = self._ground_truth(used, batch_gt_instances)
            total = blend_loss(
                self.pool(bases, bbox2roi(boxes)),
                maps,
                own,
                targets,
                weights.detach().to(maps),
                self.matrix.to(maps),
                self.softmax,
                self._chunk_size(maps),
            )
        return dict(loss_mask=self.loss_weight * total / avg_factor)

    def _ground_truth(
        self, used: Tensor, batch_gt_instances: Sequence[InstanceData]
    ) -> tuple[list[Tensor], Tensor]:
        """The boxes of some ground truths, by picture, and their masks ``[G, R, R]`` bool.

        Args:
            used: ``[G]`` int64 ascending, counted through the batch.
            batch_gt_instances: as for :meth:`loss`.
        """
        count = sum(len(instances.bboxes) for instances in batch_gt_instances)
        if used[0] < 0 or used[-1] >= count:
            raise ValueError(
                f'gt_index must be in 0 .. {count - 1}, got {int(used[0])} .. {int(used[-1])}'
            )
        boxes, targets, first = [], [], 0
        for instances in batch_gt_instances:
            after = first + len(instances.bboxes)
            rows = used[(used >= first) & (used < after)] - first
            boxes.append(instances.bboxes[rows])
            targets.append(
                crop_masks(
                    instances.masks, rows, boxes[-1], self.resolution, min_side=self.crop_min_side
                )
            )
            first = after
        return boxes, torch.cat(targets)

    # -- inference --------------------------------------------------------------------------------

    def predict(
        self,
        bases: Tensor,
        results: Sequence[InstanceData],
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Add masks to detections.

        Args:
            bases: ``[B, K, H, W]``.
            results: for each picture ``bboxes`` ``[N, 4]`` in pixels of the network's input, not
                clipped, ``scores`` ``[N]``, ``labels`` ``[N]`` and ``attentions``
                ``[N, K * M * M]``.
            batch_data_samples: their metainfo has ``img_shape`` and, to rescale, ``ori_shape`` and
                ``scale_factor`` (x, y).
            rescale: results in pixels of the original picture instead of the network's input.

        Returns:
            For each picture ``bboxes``, ``scores``, ``labels`` and ``masks``
            (:class:`~polarseg.structures.BoxMaskInstances`), in the order of ``results`` without
            the boxes that lie outside of the picture.
        """
        rois = bbox2roi([found.bboxes for found in results])
        attentions = torch.cat([found.attentions for found in results])
        maps = self(bases, attentions, rois).sigmoid().split([len(found) for found in results])
        return [
            place_box_masks(
                InstanceData(bboxes=found.bboxes, scores=found.scores, labels=found.labels),
                own,
                sample.metainfo,
                rescale,
                paste_rule=self.paste_rule,
                threshold=self.mask_thr_binary,
                clip_boxes=self.clip_boxes,
            )
            for found, own, sample in zip(results, maps, batch_data_samples)
        ]


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
