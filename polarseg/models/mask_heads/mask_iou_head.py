"""CenterMask's mask scoring head.

CenterMask (arXiv 1911.06667), section 3.3, after Mask Scoring R-CNN (arXiv 1903.00241).
"""

from typing import Any

import torch
from mmdet.models.roi_heads.mask_heads import MaskIoUHead as MMMaskIoUHead
from torch import Tensor

from polarseg.registry import MODELS

__all__ = ['MaskIoUHead']

FC_INITS = {
    'centermask2': dict(type='Kaiming', override=dict(name='fcs')),
    'original': dict(type='Caffe2Xavier', override=dict(name='fcs')),
}


@MODELS.register_module()
class MaskIoUHead(MMMaskIoUHead):
    """The IoU that a predicted mask will have with its instance, for each class.

    The layers are those of mmdet's head of this name: the region's features (the input of the mask
    head) and the mask's probabilities, pooled to their size, pass convolutions, the last with
    stride 2, and fully connected layers. There is no activation at the end. The loss also reaches
    the mask head. The Lite models have ``num_convs=2, in_channels=128, conv_out_channels=128``.

    Args:
        weight_init: of the fully connected layers before the last, 'centermask2' (He normal, fan
            out) or 'original' (uniform with the variance 1 / fan in, as in mmdet).
        loss_iou: config of the loss; the default is 0.5 (p - t)^2, mean over regions.
        init_cfg: overrides ``weight_init``.
        kwargs: mmdet's: ``num_convs``, ``in_channels``, ``conv_out_channels``,
            ``fc_out_channels``, ``num_classes``.

    Raises:
        ValueError: for an unknown ``weight_init``.
    """

    def __init__(
        self,
        weight_init: str = 'centermask2',
        loss_iou: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        if weight_init not in FC_INITS:
            raise ValueError(f'weight_init must be one of {tuple(FC_INITS)}, got {weight_init!r}')
        default_init = [
            dict(type='Kaiming', override=dict(name='convs')),
            FC_INITS[weight_init],
            dict(type='Normal', std=0.01, override=dict(name='fc_mask_iou')),
        ]
        super().__init__(
            loss_iou=loss_iou or dict(type='MSELoss', loss_weight=0.5),
            init_cfg=init_cfg or default_init,
            **kwargs,
        )

    def forward_labels(self, mask_feat: Tensor, mask_logits: Tensor, labels: Tensor) -> Tensor:
        """IoU of one class for each region.

        Args:
            mask_feat: ``[K, in_channels, 14, 14]`` features of K regions.
            mask_logits: ``[K, 28, 28]`` of the class.
            labels: ``[K]`` int64 class of each.

        Returns:
            ``[K]``, not limited to [0, 1].
        """
        found = self(mask_feat, mask_logits)
        return found[torch.arange(len(labels), device=labels.device), labels]

    def get_targets(self, mask_logits: Tensor, mask_targets: Tensor, area_ratios: Tensor) -> Tensor:
        """IoU of each predicted mask, inside of its region, with the whole instance.

        Args:
            mask_logits: ``[K, h, w]`` of the matched class.
            mask_targets: ``[K, h, w]`` 0 or 1, the instance inside of the region.
            area_ratios: ``[K]`` float64, the share of the instance that is inside, see
                :func:`polarseg.structures.area_ratios`.

        Returns:
            ``[K]`` float32, without gradient.
        """
        found = mask_logits.detach() > 0
        inside = mask_targets > 0
        overlap = (found & inside).sum(dim=(1, 2)).double()
        full = inside.sum(dim=(1, 2)) / area_ratios.clamp(min=1e-10)
        union = found.sum(dim=(1, 2)) + full - overlap
        return (overlap / union.clamp(min=1)).float()

    def loss(self, mask_ious: Tensor, targets: Tensor) -> Tensor:
        """Loss over the regions whose target is above 0.

        Args:
            mask_ious: ``[K]`` prediction for the matched class.
            targets: ``[K]``.

        Returns:
            A scalar; 0, with a graph, if there is no such region.
        """
        counted = targets > 0
        if not counted.any():
            return mask_ious.sum() * 0
        return self.loss_iou(mask_ious[counted], targets[counted])
