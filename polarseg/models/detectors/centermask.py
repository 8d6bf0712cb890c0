"""CenterMask: real-time anchor-free instance segmentation (arXiv 1911.06667)."""

from typing import Any

from mmdet.structures import DetDataSample
from torch import Tensor

from polarseg.models.detectors.panoptic import PanopticDetector
from polarseg.registry import MODELS

__all__ = ['CenterMask']


@MODELS.register_module()
class CenterMask(PanopticDetector):
    """Backbone, feature pyramid, an FCOS head, and a mask branch on the boxes that it finds.

    Boxes, classes and box scores are final after the FCOS head. Training samples carry boxes,
    labels and masks; predictions carry ``masks`` (:class:`~polarseg.structures.BoxMaskInstances`)
    and, with mask scoring, ``mask_scores`` beside ``scores``.

    Args:
        roi_head: config of the :class:`~polarseg.models.CenterMaskRoIHead`.
        train_cfg: ``proposals``, the post-processor's arguments for the boxes that the mask branch
            trains on, and ``roi``, the RoI head's ``train_cfg``.
        kwargs: ``backbone`` (C3 to C5 out), ``neck`` (P3 to P7 out), ``bbox_head``
            (:class:`~polarseg.models.FCOSHead`), ``test_cfg`` (the post-processor's arguments),
            ``data_preprocessor``, ``init_cfg``, and what is described at
            :class:`~polarseg.models.detectors.panoptic.PanopticDetector`.

    Raises:
        ValueError: if a head of the mask branch has fewer classes than ``bbox_head``.
    """

    def __init__(self, *, roi_head: dict, train_cfg: dict | None = None, **kwargs: Any) -> None:
        super().__init__(train_cfg=train_cfg, **kwargs)
        self.roi_head = MODELS.build(dict(roi_head, train_cfg=(train_cfg or {}).get('roi')))
        self._check_classes()

    def _check_classes(self) -> None:
        """A class without a mask would be found out by an index on the GPU, if at all."""
        wanted = self.bbox_head.num_classes
        for name in ('mask_head', 'mask_iou_head'):
            head = getattr(self.roi_head, name)
            found = getattr(head, 'num_classes', wanted)
            if found < wanted and not getattr(head, 'class_agnostic', False):
                raise ValueError(
                    f'roi_head.{name}.num_classes must be that of bbox_head, {wanted}, got {found}'
                )

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """The losses of both heads; see mmdet's ``BaseDetector.loss``."""
        feats = self.extract_feat(batch_inputs)
        levels = self.instance_levels(feats)
        losses, proposals = self.bbox_head.loss_and_predict(
            levels, batch_data_samples, proposal_cfg=(self.train_cfg or {}).get('proposals')
        )
        losses |= self.roi_head.loss(levels, proposals, batch_data_samples)
        return losses | self.semantic_loss(feats, batch_data_samples)

    def predict_group(
        self, inputs: Tensor, data_samples: list[DetDataSample], rescale: bool
    ) -> None:
        """Boxes from the FCOS head, then a mask for each."""
        feats = self.extract_feat(inputs)
        levels = self.instance_levels(feats)
        boxes = self.bbox_head.predict(levels, data_samples, rescale=False)
        results = self.roi_head.predict(levels, boxes, data_samples, rescale=rescale)
        self.add_pred_to_datasample(data_samples, results)
        self.add_semantics(feats, data_samples, rescale)
