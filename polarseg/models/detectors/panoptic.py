"""Detectors that can tell things and stuff of a whole picture apart."""

from collections.abc import Sequence
from typing import Any

from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from torch import Tensor

from polarseg.models.detectors.independent_pictures import IndependentPictures
from polarseg.registry import MODELS

__all__ = ['PanopticDetector']


class PanopticDetector(IndependentPictures):
    """A detector of instances with an optional semantic branch, and the fusion of both.

    With the branch the neck gives levels that the detection head does not use, the finest first:
    P2 of P2 to P7. The head gets the last ones, as many as it has strides. Predictions carry
    ``pred_sem_seg.sem_seg`` ``[1, H, W]`` uint8 and, with a fusion, ``pred_panoptic_seg``
    (:meth:`polarseg.structures.PanopticMap.to_pixel_data`) beside the instances.

    Args:
        semantic_head: config of the :class:`~polarseg.models.SemSegFPNHead`; None for instances
            alone.
        panoptic_fusion: config of the :class:`~polarseg.models.PanopticFusion`.
        args, kwargs: of
            :class:`~polarseg.models.detectors.independent_pictures.IndependentPictures`.

    Raises:
        ValueError: for a fusion without a semantic branch.
    """

    def __init__(
        self,
        *args: Any,
        semantic_head: dict | None = None,
        panoptic_fusion: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if panoptic_fusion is not None and semantic_head is None:
            raise ValueError('panoptic_fusion needs a semantic_head, got None')
        self.semantic_head = MODELS.build(semantic_head) if semantic_head else None
        self.panoptic_fusion = MODELS.build(panoptic_fusion) if panoptic_fusion else None

    def instance_levels(self, feats: Sequence[Tensor]) -> Sequence[Tensor]:
        """The neck's levels that are the detection head's."""
        return feats[len(feats) - len(self.bbox_head.strides) :]

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> tuple[list[Tensor], ...]:
        """The detection head's maps, without post-processing."""
        return self.bbox_head(self.instance_levels(self.extract_feat(batch_inputs)))

    def semantic_loss(
        self, feats: Sequence[Tensor], batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """The loss of the semantic branch; nothing without one."""
        if self.semantic_head is None:
            return {}
        return self.semantic_head.loss(feats, batch_data_samples)

    def add_semantics(
        self, feats: Sequence[Tensor], data_samples: list[DetDataSample], rescale: bool
    ) -> None:
        """Add what the semantic branch says to samples that have their instances.

        Args:
            feats: all levels of the neck.
            data_samples: with ``pred_instances``; changed in place.
            rescale: results in pixels of the original pictures.
        """
        if self.semantic_head is None:
            return
        metas = [sample.metainfo for sample in data_samples]
        for sample, logits in zip(data_samples, self.semantic_head.predict(feats, metas, rescale)):
            labels = logits.argmax(dim=0)
            sample.pred_sem_seg = PixelData(sem_seg=labels[None].byte())
            if self.panoptic_fusion is not None:
                fused = self.panoptic_fusion(sample.pred_instances, labels)
                sample.pred_panoptic_seg = fused.to_pixel_data()
