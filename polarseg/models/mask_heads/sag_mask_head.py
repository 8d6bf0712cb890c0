"""CenterMask's mask head: an FCN with spatial attention.

CenterMask (arXiv 1911.06667), section 3.2.
"""

from typing import Any

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch import Tensor, nn

from polarseg.registry import MODELS

__all__ = ['SAGMaskHead', 'SpatialAttention']

WEIGHT_INITS = ('centermask2', 'original')


class SpatialAttention(nn.Module):
    """Weighs each position of a feature map by what all its channels say there.

    Args:
        kernel_size: of the convolution.
    """

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same; the convolution sees the mean first, then the maximum."""
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * self.conv(pooled).sigmoid()


@MODELS.register_module()
class SAGMaskHead(FCNMaskHead):
    """Convolutions, spatial attention, upsampling by 2 and one mask for each class.

    mmdet's ``FCNMaskHead`` with :class:`SpatialAttention` before the upsampling; without attention
    it is that head. The Lite models have ``num_convs=2, in_channels=128, conv_out_channels=128``.

    Args:
        with_attention: False for the paper's ablation.
        weight_init: 'centermask2' (attention He normal with fan out, predictor normal with a
            deviation of 0.001) or 'original' (attention torch's default, predictor He normal).
            Convolutions and deconvolution are He normal with fan out in both.
        kwargs: mmdet's: ``num_convs``, ``in_channels``, ``conv_out_channels``, ``num_classes``,
            ``class_agnostic`` and so on.

    Raises:
        ValueError: for an unknown ``weight_init``.
    """

    def __init__(
        self, with_attention: bool = True, weight_init: str = 'centermask2', **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if weight_init not in WEIGHT_INITS:
            raise ValueError(f'weight_init must be one of {WEIGHT_INITS}, got {weight_init!r}')
        self.weight_init = weight_init
        self.attention = SpatialAttention() if with_attention else nn.Identity()

    def init_weights(self) -> None:
        """See ``weight_init``."""
        super().init_weights()
        if self.weight_init != 'centermask2':
            return
        nn.init.normal_(self.conv_logits.weight, std=0.001)
        if isinstance(self.attention, SpatialAttention):
            weight = self.attention.conv.weight
            nn.init.kaiming_normal_(weight, mode='fan_out', nonlinearity='relu')

    def features(self, x: Tensor) -> Tensor:
        """All but the predictor: ``[K, in_channels, 14, 14]`` to ``[K, C, 28, 28]``."""
        for conv in self.convs:
            x = conv(x)
        x = self.attention(x)
        if self.upsample is not None:
            x = self.upsample(x)
            if self.upsample_method == 'deconv':
                x = self.relu(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits of all classes.

        Args:
            x: ``[K, in_channels, 14, 14]`` features of K regions.

        Returns:
            ``[K, num_classes, 28, 28]``, or one map each if class-agnostic.
        """
        return self.conv_logits(self.features(x))

    def forward_labels(self, x: Tensor, labels: Tensor) -> Tensor:
        """Logits of one class for each region, without computing those of the others.

        Args:
            x: ``[K, in_channels, 14, 14]`` features of K regions.
            labels: ``[K]`` int64 class of each; ignored if class-agnostic.

        Returns:
            ``[K, 28, 28]``, up to rounding ``forward(x)[k, labels[k]]``.
        """
        features = self.features(x)
        if self.predictor_cfg['type'] not in ('Conv', 'Conv2d'):
            return self.choose(self.conv_logits(features), labels)
        rows = torch.zeros_like(labels) if self.class_agnostic else labels
        weight, bias = self.conv_logits.weight[rows].flatten(2).mT, self.conv_logits.bias[rows]
        logits = torch.baddbmm(bias[:, None, None], weight, features.flatten(2))
        return logits.unflatten(2, features.shape[2:])[:, 0]

    def choose(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``[K, h, w]`` maps of the regions' classes from ``[K, C or 1, h, w]``."""
        if self.class_agnostic:
            return logits[:, 0]
        return logits[torch.arange(len(labels), device=labels.device), labels]

    def loss(self, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy of the matched classes' masks, mean over regions and pixels.

        Args:
            logits: ``[K, C or 1, h, w]``.
            targets: ``[K, h, w]`` float, 0 or 1.
            labels: ``[K]`` int64 classes of the matched ground truth.

        Returns:
            A scalar; 0, with a graph, if there is no region.
        """
        if len(logits) == 0:
            return logits.sum()
        rows = torch.zeros_like(labels) if self.class_agnostic else labels
        return self.loss_mask(logits, targets, rows).sum()
