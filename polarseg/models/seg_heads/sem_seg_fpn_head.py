"""The semantic branch of Panoptic FPN (arXiv 1901.02446), as BlendMask and CenterMask2 have it."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.seg_heads import PanopticFPNHead
from mmdet.structures import DetDataSample
from mmengine.model import kaiming_init
from torch import Tensor, nn
from torch.nn import functional as F

from polarseg.registry import MODELS

__all__ = ['IGNORED', 'SemSegFPNHead']

IGNORED = 255
"""Label of pixels that do not count: unlabelled ones and padding."""


@MODELS.register_module()
class SemSegFPNHead(PanopticFPNHead):
    """mmdet's Panoptic FPN head with the published labels, loss and resizing.

    The network is mmdet's. What differs from there: label 0 is any thing and 1 to S are the stuff
    classes (mmdet: stuff from 0, things last); the loss is taken at the full size, against labels
    that nobody has shrunk, and is the mean over the pixels that are not ignored (mmdet: at a
    quarter of the size, over all pixels); the predictor is initialised as the other convolutions.

    Args:
        num_stuff_classes: S.
        stride: of the finest feature map, pixels.
        loss_weight: of the cross-entropy.
        kwargs: of mmdet's ``PanopticFPNHead``: ``in_channels``, ``inner_channels``, ``norm_cfg``,
            ``start_level``, ``end_level``.
    """

    def __init__(
        self,
        *,
        num_stuff_classes: int = 53,
        stride: int = 4,
        loss_weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        # the loss is ours; mmdet's warns that its average counts ignored pixels, unless told not to
        unused = dict(type='CrossEntropyLoss', ignore_index=IGNORED, avg_non_ignore=True)
        super().__init__(num_stuff_classes=num_stuff_classes, loss_seg=unused, **kwargs)
        del self.loss_seg
        self.stride = stride
        self.loss_weight = loss_weight

    def init_weights(self) -> None:
        """Kaiming normal by fan-out for every convolution, biases 0."""
        super().init_weights()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                kaiming_init(layer, mode='fan_out', nonlinearity='relu', distribution='normal')

    def logits(self, x: Sequence[Tensor]) -> Tensor:
        """Class logits at the finest stride.

        Args:
            x: ``[B, in_channels, H_l, W_l]`` for each level, P2 first.

        Returns:
            ``[B, 1 + S, H, W]``.
        """
        return self(x)['seg_preds']

    def full_size(self, x: Sequence[Tensor]) -> Tensor:
        """``[B, 1 + S, H, W]`` float32 class logits at the size of the (padded) pictures."""
        logits = self.logits(x).float()
        return F.interpolate(logits, scale_factor=self.stride, mode='bilinear', align_corners=False)

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]
    ) -> dict[str, Tensor]:
        """The semantic loss; 0 with a graph where every pixel is ignored.

        Args:
            x: as for :meth:`logits`.
            batch_data_samples: with ``gt_sem_seg.semantic_seg`` ``[1, H, W]`` integer: 0 thing,
                1 to S stuff, 255 ignored; padded with 255 to the size of the batch.

        Returns:
            ``loss_sem_seg``.

        Raises:
            ValueError: if a label map is missing or not of the batch's size.
        """
        logits = self.full_size(x)
        labels = [_labels(sample, logits.shape[-2:]) for sample in batch_data_samples]
        target = logits.new_zeros(len(labels), *logits.shape[-2:]).long()
        for row, own in zip(target, labels):
            row.copy_(own[0])
        total = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction='sum')
        count = (target != IGNORED).sum().clamp(min=1)
        return dict(loss_sem_seg=self.loss_weight * total / count)

    def predict(
        self, x: Sequence[Tensor], batch_img_metas: Sequence[dict], rescale: bool = False
    ) -> list[Tensor]:
        """Class logits of pictures that fill their batch, up to their own padding.

        Args:
            x: as for :meth:`logits`.
            batch_img_metas: ``img_shape`` (height, width without padding) and, to rescale,
                ``ori_shape``.
            rescale: at the size of the original pictures instead of the network's input.

        Returns:
            For each picture ``[1 + S, h, w]`` float32.
        """
        results = []
        for own, meta in zip(self.full_size(x), batch_img_metas):
            height, width = meta['img_shape'][:2]
            own = own[:, :height, :width]
            if rescale:
                size = tuple(meta['ori_shape'][:2])
                own = F.interpolate(own[None], size=size, mode='bilinear', align_corners=False)[0]
            results.append(own)
        return results


def _labels(sample: DetDataSample, size: tuple[int, int]) -> Tensor:
    labels = sample.get('gt_sem_seg')
    labels = None if labels is None else labels.get('semantic_seg')
    if labels is None:
        raise ValueError(
            'the semantic loss needs gt_sem_seg.semantic_seg: load it with LoadPanopticLabels and '
            'use the PanopticDataPreprocessor'
        )
    if tuple(labels.shape[-2:]) != tuple(size):
        raise ValueError(
            f'semantic labels must have the size of the batch, {list(size)}, got '
            f'{list(labels.shape[-2:])}'
        )
    return labels
