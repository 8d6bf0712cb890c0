"""What happens to a batch of panoptic ground truth on its way to the model."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample

from polarseg.registry import MODELS
from polarseg.structures import PADDED_LABELS, split_labels

__all__ = ['PanopticDataPreprocessor']


@MODELS.register_module()
class PanopticDataPreprocessor(DetDataPreprocessor):
    """mmdet's, for label maps that hold two labels a pixel.

    A loader hands over one map, so that each transform treats both labels alike
    (:func:`~polarseg.structures.join_labels`). Here it is padded, background for the one and
    ignored for the other, and becomes ``gt_sem_seg.sem_seg``, thing-semantic labels, and
    ``gt_sem_seg.semantic_seg``, labels of things merged and stuff; ``[1, H, W]`` each.

    Args:
        kwargs: mmdet's, without ``pad_seg`` and ``seg_pad_value``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pad_seg=True, seg_pad_value=PADDED_LABELS, **kwargs)

    def pad_gt_sem_seg(self, batch_data_samples: Sequence[DetDataSample]) -> None:
        """Pad and split the label maps in place."""
        super().pad_gt_sem_seg(batch_data_samples)
        for sample in batch_data_samples:
            if 'gt_sem_seg' in sample:
                labels = sample.gt_sem_seg
                things, semantic = split_labels(labels.sem_seg)
                labels.sem_seg = things
                labels.semantic_seg = semantic
