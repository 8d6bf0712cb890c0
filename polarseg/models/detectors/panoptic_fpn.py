"""Panoptic FPN (arXiv 1901.02446): mmdet's, with instances and semantic map in its results."""

from mmcv.ops import batched_nms
from mmdet.models.detectors import PanopticFPN as PanopticFPNBase
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from polarseg.registry import MODELS
from polarseg.structures import PanopticMap

__all__ = ['PanopticFPN']


@MODELS.register_module()
class PanopticFPN(PanopticFPNBase):
    """mmdet's Panoptic FPN, whose results hold what the other panoptic detectors' do.

    Network, losses and fusion are mmdet's. There a prediction is the panoptic map alone, made of
    confident instances, so that no AP can be had. Here ``test_cfg.rcnn`` says which instances are
    results, as for a Mask R-CNN, and ``test_cfg.panoptic`` which of them are fused.

    Args:
        args, kwargs: mmdet's. ``test_cfg.panoptic`` has, beside what mmdet's fusion head reads:

            * ``instance_score_thr``: instances above it are fused; 0 by default, which leaves none
              out, as mmdet does.
            * ``nms``: arguments of a non-maximum suppression over all classes together (``type``,
              ``iou_threshold``) before they are fused; none by default. It is among the results,
              of which each class has suppressed its own; mmdet's suppresses all at once, and
              in a chain of three boxes may keep one more.
    """

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Predictions of a batch; see mmdet's ``BaseDetector.predict``.

        Args:
            batch_inputs: ``[B, 3, H, W]``, normalised and padded.
            batch_data_samples: of the pictures.
            rescale: results in pixels of the original pictures.

        Returns:
            The samples with ``pred_instances``, ``pred_sem_seg.sem_seg`` ``[1, H, W]`` uint8 (0 any
            thing, 1 to S stuff) and ``pred_panoptic_seg``
            (:meth:`polarseg.structures.PanopticMap.to_pixel_data`).
        """
        feats = self.extract_feat(batch_inputs)
        proposals = self.rpn_head.predict(feats, batch_data_samples, rescale=False)
        found = self.roi_head.predict(feats, proposals, batch_data_samples, rescale=rescale)
        metas = [sample.metainfo for sample in batch_data_samples]
        logits = self.semantic_head.predict(feats, metas, rescale)
        fused = self.panoptic_fusion_head.predict([self.confident(own) for own in found], logits)
        for sample, instances, own, joined in zip(batch_data_samples, found, logits, fused):
            sample.pred_instances = instances
            # mmdet counts stuff from 0 and has the things last
            labels = (own.argmax(dim=0) + 1) % (self.num_stuff_classes + 1)
            sample.pred_sem_seg = PixelData(sem_seg=labels[None].byte())
            numbers = self.num_things_classes, self.num_stuff_classes
            sample.pred_panoptic_seg = PanopticMap.from_data(joined, numbers).to_pixel_data()
        return batch_data_samples

    def confident(self, instances: InstanceData) -> InstanceData:
        """The instances of a picture that are fused.

        Args:
            instances: with ``bboxes`` ``[N, 4]``, ``scores`` and ``labels`` ``[N]``.
        """
        cfg = self.test_cfg.panoptic
        chosen = instances[instances.scores > cfg.get('instance_score_thr', 0.0)]
        if cfg.get('nms') is None or len(chosen) == 0:
            return chosen
        nms = dict(cfg.nms, class_agnostic=True)
        _, kept = batched_nms(chosen.bboxes, chosen.scores, chosen.labels, nms)
        return chosen[kept]
