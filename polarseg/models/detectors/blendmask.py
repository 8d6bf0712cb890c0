"""BlendMask: top-down meets bottom-up for instance segmentation (arXiv 2001.00309)."""

from typing import Any

from mmdet.structures import DetDataSample
from torch import Tensor

from polarseg.models.detectors.panoptic import PanopticDetector
from polarseg.registry import MODELS

__all__ = ['BlendMask']

BASES_FROM = ('neck', 'backbone')


@MODELS.register_module()
class BlendMask(PanopticDetector):
    """Backbone, feature pyramid, an FCOS head with attention, bases, and the blender of both.

    Training samples carry boxes, labels, masks and, where the basis module has its auxiliary head,
    the label map of :class:`~polarseg.datasets.LoadThingSemantic`. Predictions carry ``masks``
    (:class:`~polarseg.structures.BoxMaskInstances`).

    Args:
        basis_module: config of the :class:`~polarseg.models.ProtoNet` or another one.
        blender: config of the :class:`~polarseg.models.Blender`.
        bases_from: whose feature maps the basis module sees, those of the 'neck' or those of the
            'backbone' (ablation).
        return_bases: predictions carry ``pred_bases`` ``[K, h, w]`` too, of the picture without its
            padding, at the bases' stride, and with an auxiliary head ``pred_basis_sem``
            ``[1 + C, h, w]``, its class logits, at its stride.
        kwargs: ``backbone``, ``neck``, ``bbox_head`` (:class:`~polarseg.models.BlendMaskHead`),
            ``train_cfg``, ``test_cfg`` (the post-processor's arguments), ``data_preprocessor``,
            ``init_cfg``, and what is described at
            :class:`~polarseg.models.detectors.panoptic.PanopticDetector`.

    Raises:
        ValueError: if attention, bases and blender do not fit together, for a head with inclusive
            boxes, or for an unknown ``bases_from``.
    """

    def __init__(
        self,
        *,
        basis_module: dict,
        blender: dict,
        bases_from: str = 'neck',
        return_bases: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if bases_from not in BASES_FROM:
            raise ValueError(f'bases_from must be one of {BASES_FROM}, got {bases_from!r}')
        self.bases_from = bases_from
        self.return_bases = return_bases
        self.basis_module = MODELS.build(basis_module)
        self.blender = MODELS.build(blender)
        self._check_parts()

    def _check_parts(self) -> None:
        if self.bbox_head.inclusive_boxes:
            raise ValueError(
                'bbox_head.inclusive_boxes must be False, as bases are pooled inside of continuous '
                'boxes; the data have to say the same'
            )
        bases, wanted = self.basis_module.num_bases, self.blender.num_bases
        if bases != wanted:
            raise ValueError(
                f'basis_module.num_bases must be that of blender, {wanted}, got {bases}'
            )
        wanted = self.blender.attention_channels
        found = self.bbox_head.top_layer.out_channels
        if found != wanted:
            raise ValueError(
                'bbox_head.top_channels must be num_bases times attention_size squared of blender, '
                f'{wanted}, got {found}'
            )

    def extract_feat(self, batch_inputs: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The feature maps of the neck, for the head, and those for the basis module.

        Args:
            batch_inputs: ``[B, 3, H, W]``, normalised and padded.
        """
        backbone_feats = self.backbone(batch_inputs)
        feats = self.neck(backbone_feats)
        return feats, backbone_feats if self.bases_from == 'backbone' else feats

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> tuple[tuple[list[Tensor], ...], Tensor]:
        """The head's maps and the bases, without post-processing."""
        feats, basis_feats = self.extract_feat(batch_inputs)
        return self.bbox_head(self.instance_levels(feats)), self.basis_module(basis_feats)

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """The losses of all parts; see mmdet's ``BaseDetector.loss``."""
        feats, basis_feats = self.extract_feat(batch_inputs)
        levels = self.instance_levels(feats)
        losses, positives = self.bbox_head.loss_and_positives(levels, batch_data_samples)
        bases, basis_losses = self.basis_module.loss(basis_feats, batch_data_samples)
        ground_truth = [sample.gt_instances for sample in batch_data_samples]
        losses |= basis_losses | self.blender.loss(bases, *positives, ground_truth)
        return losses | self.semantic_loss(feats, batch_data_samples)

    def predict_group(
        self, inputs: Tensor, data_samples: list[DetDataSample], rescale: bool
    ) -> None:
        """Boxes and attention from the head, blended with the bases."""
        feats, basis_feats = self.extract_feat(inputs)
        levels = self.instance_levels(feats)
        found = self.bbox_head.predict(levels, data_samples, rescale=False)
        bases = self.basis_module(basis_feats)
        results = self.blender.predict(bases, found, data_samples, rescale=rescale)
        self.add_pred_to_datasample(data_samples, results)
        self.add_semantics(feats, data_samples, rescale)
        if self.return_bases:
            _add_maps('pred_bases', bases, self.basis_module.base_stride, data_samples)
        if self.return_bases and self.basis_module.seg_head is not None:
            logits = self.basis_module.semantic(basis_feats)
            _add_maps('pred_basis_sem', logits, self.basis_module.sem_stride, data_samples)


def _add_maps(name: str, maps: Tensor, stride: int, data_samples: list[DetDataSample]) -> None:
    """Each sample's own map, without its padding."""
    for own, sample in zip(maps, data_samples):
        height, width = (-(-side // stride) for side in sample.img_shape[:2])
        setattr(sample, name, own[:, :height, :width])
