"""Pooling of regions from the pyramid level that suits their share of the picture.

CenterMask (arXiv 1911.06667), section 3.2, "Adaptive RoI Assignment Function".
"""

import math
from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor

from polarseg.registry import MODELS

__all__ = ['AdaptiveRoIExtractor']

LEVEL_RULES = ('area_ratio', 'canonical')


@MODELS.register_module()
class AdaptiveRoIExtractor(SingleRoIExtractor):
    """mmdet's ``SingleRoIExtractor`` with CenterMask's choice of the level.

    With k_min and k_max the first and the last level that is pooled (P3 has stride 8):

    * 'area_ratio': ``ceil(k_max - log2(picture's area / region's area))``, where the picture is
      the network's input without padding. Of P3 to P5, regions of more than half of the picture
      are pooled from P5, of more than a quarter from P4, the others from P3.
    * 'canonical': ``floor(4 + log2(sqrt(region's area) / 224))``, from FPN (arXiv 1612.03144).

    Both are limited to k_min .. k_max. CenterMask2 pools with ``dict(type='RoIAlign',
    output_size=14, sampling_ratio=0, aligned=True)``, the original with ``sampling_ratio=2,
    aligned=False``.

    Args:
        roi_layer: config of the pooling, a layer of ``mmcv.ops``.
        out_channels: of the feature maps.
        featmap_strides: of the levels that are pooled, each twice the one before.
        level_rule: 'area_ratio' or 'canonical'.
        inclusive_boxes: boxes name their last pixel: their area is ``(w + 1) * (h + 1)``.
        init_cfg: of mmengine.

    Raises:
        ValueError: for an unknown rule, or strides that are no such series of powers of two.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: Sequence[int] = (8, 16, 32),
        level_rule: str = 'area_ratio',
        inclusive_boxes: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, list(featmap_strides), init_cfg=init_cfg)
        if level_rule not in LEVEL_RULES:
            raise ValueError(f'level_rule must be one of {LEVEL_RULES}, got {level_rule!r}')
        first = int(math.log2(featmap_strides[0]))
        if list(featmap_strides) != [2 ** (first + n) for n in range(len(featmap_strides))]:
            raise ValueError(
                f'featmap_strides must be powers of two, each twice the one before, got '
                f'{list(featmap_strides)}'
            )
        self.level_rule = level_rule
        self.inclusive_boxes = inclusive_boxes
        self.min_level = first

    def map_roi_levels(
        self, rois: Tensor, num_levels: int, image_sizes: Tensor | None = None
    ) -> Tensor:
        """The level of each region, 0 for the first.

        Args:
            rois: ``[K, 5]`` float32 picture of the batch, x1, y1, x2, y2 in pixels of the network
                input.
            num_levels: of levels that are pooled.
            image_sizes: ``[B, 2]`` heights and widths of the pictures without padding; the rule
                'canonical' needs none.

        Returns:
            ``[K]`` int64.

        Raises:
            ValueError: if the rule needs ``image_sizes`` and there are none.
        """
        edge = 1 if self.inclusive_boxes else 0
        areas = (rois[:, 3:5] - rois[:, 1:3] + edge).clamp(min=0).prod(dim=1)
        max_level = self.min_level + num_levels - 1
        # empty regions give minus infinity and go to the first level
        if self.level_rule == 'canonical':
            levels = torch.floor(4 + torch.log2(areas.sqrt() / 224 + self._epsilon))
        else:
            if image_sizes is None:
                raise ValueError("level_rule 'area_ratio' needs image_sizes, got None")
            pictures = image_sizes.to(rois).prod(dim=1)[rois[:, 0].long()]
            levels = torch.ceil(max_level - torch.log2(pictures / areas + self._epsilon))
        return (levels.clamp(self.min_level, max_level) - self.min_level).long()

    @property
    def _epsilon(self) -> float:
        """As published: the original's moves what lies within 1e-6 of a border between levels."""
        return 1e-6 if self.inclusive_boxes else 0.0

    def forward(
        self, feats: Sequence[Tensor], rois: Tensor, image_sizes: Tensor | None = None
    ) -> Tensor:
        """Features of regions, float32 under automatic mixed precision too.

        Args:
            feats: ``[B, C, H_l, W_l]`` of the levels, those beyond ``featmap_strides`` unused.
            rois: ``[K, 5]`` float32 picture of the batch, x1, y1, x2, y2 in pixels of the network
                input.
            image_sizes: as for :meth:`map_roi_levels`.

        Returns:
            ``[K, C, R, R]``. In training every level is part of its graph.
        """
        # pixel coordinates do not fit half precision, and the pooling wants features of their dtype
        feats = [feat.to(rois.dtype) for feat in feats[: self.num_inputs]]
        levels = self.map_roi_levels(rois, len(feats), image_sizes)
        pooled = feats[0].new_zeros(len(rois), self.out_channels, *self.roi_layers[0].output_size)
        for level, (layer, feat) in enumerate(zip(self.roi_layers, feats)):
            rows = (levels == level).nonzero(as_tuple=True)[0]
            if len(rows):
                pooled[rows] = layer(feat, rois[rows])
            elif torch.is_grad_enabled():
                # parameters behind an unused level need a gradient for distributed training
                pooled = pooled + feat.sum() * 0
        return pooled
