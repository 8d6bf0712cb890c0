"""BlendMask's dense head: FCOS with a vector of attention at the locations that need one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.models.dense_heads.fcos_head import FCOSHead
from polarseg.models.dense_heads.top_layer import TopLayer
from polarseg.registry import MODELS

__all__ = ['BlendMaskHead', 'Positives']


class Positives(NamedTuple):
    """What the K positive locations of a batch hand on to the mask loss.

    Attributes:
        attentions: ``[K, D]``.
        gt_index: ``[K]`` int64 instance of each, counted through the batch.
        weights: ``[K]`` float32 centerness targets.
        avg_factor: ``[]`` float32 their sum, averaged over the processes.
    """

    attentions: Tensor
    gt_index: Tensor
    weights: Tensor
    avg_factor: Tensor


@MODELS.register_module()
class BlendMaskHead(FCOSHead):
    """FCOS' head with BlendMask's top layer (arXiv 2001.00309, section 3.1).

    The top layer is computed at the positive locations in training and at the detections in
    inference, which saves a quarter to a half of the head's arithmetic and gives the same numbers
    as whole maps (:meth:`attention_maps`).

    Args:
        top_channels: D, of the attention: number of bases times attention size squared.
        top_on_reg: the top layer reads the box tower, else the class tower (ablation).
        kwargs: of the :class:`~polarseg.models.FCOSHead`.
    """

    def __init__(self, *, top_channels: int = 784, top_on_reg: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.top_on_reg = top_on_reg
        self.top_layer = TopLayer(self.tower_channels, top_channels)

    def forward(
        self, feats: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Raw outputs of every level.

        Args:
            feats: ``[B, in_channels, H_l, W_l]`` for each level.

        Returns:
            Four lists over the levels: what :class:`~polarseg.models.FCOSHead` gives, and
            ``[B, feat_channels, H_l, W_l]``, what the top layer reads.
        """
        return super().forward(feats)

    def _forward_level(self, level: int, feat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cls_feat, reg_feat = self._towers(level, feat)
        top_feat = reg_feat if self.top_on_reg else cls_feat
        return *self._predict_level(level, cls_feat, reg_feat), top_feat

    def attention_maps(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """``[B, D, H_l, W_l]`` the attention at every location of each level; slow.

        Args:
            feats: as for :meth:`forward`.
        """
        return [self.top_layer(level) for level in self(feats)[3]]

    # -- training ---------------------------------------------------------------------------------

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """The losses of the head itself; see mmdet's ``BaseDenseHead.loss``."""
        return self.loss_and_positives(x, batch_data_samples)[0]

    def loss_and_positives(
        self, x: Sequence[Tensor], batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], Positives]:
        """The losses of the head and what the mask loss needs of it.

        Args:
            x: ``[B, in_channels, H_l, W_l]`` for each level.
            batch_data_samples: with ``gt_instances``; pictures without instances are welcome.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_centerness``; all positive locations.
        """
        ground_truth, _, _ = unpack_gt_instances(batch_data_samples)
        cls_scores, bbox_preds, centernesses, top_feats = self(x)
        sizes = [score.shape[-2:] for score in cls_scores]
        targets = self.get_targets(sizes, ground_truth, cls_scores[0].device)
        weights = self._weights(targets)
        maps = (cls_scores, bbox_preds, centernesses)
        losses = self._losses(*maps, targets, weights, len(ground_truth))
        attentions = self.top_layer.at(top_feats, targets.positive)
        return losses, Positives(attentions, targets.gt_index, *weights)

    # -- inference --------------------------------------------------------------------------------

    @torch.no_grad()
    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        top_feats: list[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of a batch with their attention.

        Args:
            cls_scores, bbox_preds, centernesses, top_feats: as :meth:`forward` returns them.
            batch_img_metas: ``img_shape`` (unpadded network input) to clip, ``scale_factor`` (x, y)
                to rescale.
            cfg: arguments of the post-processor, ``test_cfg`` by default.
            rescale: boxes in pixels of the original picture instead of the network's input.

        Returns:
            For each picture ``bboxes`` ``[K, 4]``, ``scores`` ``[K]``, ``labels`` ``[K]`` and
            ``attentions`` ``[K, D]``, best first.
        """
        maps = (cls_scores, bbox_preds, centernesses)
        locations = sum(score.shape[-2] * score.shape[-1] for score in cls_scores)
        results = []
        for found, index in self._detections(*maps, batch_img_metas, cfg, rescale):
            found.attentions = self.top_layer.at(top_feats, index + len(results) * locations)
            results.append(found)
        return results
