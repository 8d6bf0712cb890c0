"""CenterMask's files: of the original, on maskrcnn-benchmark, and of CenterMask2, on detectron2."""

import re

from torch import Tensor

from polarseg.apis.layouts.backbones import MOBILENET_V2_RENAMES, VOVNET_RENAMES
from polarseg.apis.layouts.layout import Layout, LayoutError, Rename, counted, rename_tower_entry

__all__ = ['CENTERMASK']


def drop_background(tensor: Tensor) -> Tensor:
    """Rows of the classes: the original's predictors of masks have one for the background first.

    Raises:
        LayoutError: if there is no row besides the background's.
    """
    if tensor.dim() == 0 or tensor.shape[0] < 2:
        raise LayoutError(
            f'expected a row for the background and one for each class, got shape '
            f'{list(tensor.shape)}'
        )
    return tensor[1:].clone()


def to_number(scale: Tensor) -> Tensor:
    """A level's scale of shape ``[1]`` as one of shape ``[]``.

    Raises:
        LayoutError: if it is more than one number.
    """
    if scale.numel() != 1:
        raise LayoutError(f'expected the one scale of a level, got shape {list(scale.shape)}')
    return scale.reshape(())


def _resnet_norm(match: re.Match) -> str:
    """CenterMask2's norms stand inside of their convolutions; ``shortcut`` is ``downsample``."""
    block = f'layer{int(match[1]) - 1}.{match[2]}'
    is_norm = match[4] is not None
    if match[3] == 'shortcut':
        return f'{block}.downsample.{int(is_norm)}.'
    return f'{block}.{"bn" if is_norm else "conv"}{match[3].removeprefix("conv")}.'


_TOWERS: tuple[Rename, ...] = (
    (r'^(bbox_head)\.share_tower\.', r'\1.share_convs.'),
    (r'^(bbox_head)\.cls_tower\.', r'\1.cls_convs.'),
    (r'^(bbox_head)\.bbox_tower\.', r'\1.reg_convs.'),
    (r'^(bbox_head\.(?:share|cls|reg)_convs)\.(\d+)\.(weight|bias)$', rename_tower_entry),
    (r'^bbox_head\.cls_logits\.', 'bbox_head.conv_cls.'),
    (r'^bbox_head\.bbox_pred\.', 'bbox_head.conv_reg.'),
    (r'^bbox_head\.(?:centerness|ctrness)\.', 'bbox_head.conv_centerness.'),
)
_MASK_HEADS: tuple[Rename, ...] = (
    (r'^(roi_head\.mask_head)\.mask_fcn(\d+)\.', counted(r'\1.convs.#.conv.', 1)),
    (r'^(roi_head\.mask_head)\.spatialAtt\.', r'\1.attention.'),
    (r'^(roi_head\.mask_iou_head)\.maskiou_fcn(\d+)\.', counted(r'\1.convs.#.', 1)),
    (r'^(roi_head\.mask_iou_head)\.maskiou_fc(\d+)\.', counted(r'\1.fcs.#.', 1)),
    (r'^(roi_head\.mask_iou_head)\.maskiou\.', r'\1.fc_mask_iou.'),
)
_TOP_LEVELS: tuple[Rename, ...] = ((r'^neck\.p([67])\.', counted(r'neck.fpn_convs.#.conv.', 3)),)
_BACKBONES: tuple[Rename, ...] = (*VOVNET_RENAMES, *MOBILENET_V2_RENAMES)

_ORIGINAL_RENAMES: tuple[Rename, ...] = (
    (r'^backbone\.body\.(?:stem\.(?=conv1\.|bn1\.))?', 'backbone.'),
    *_BACKBONES,
    (r'^backbone\.fpn\.fpn_inner([2-4])\.', counted(r'neck.lateral_convs.#.conv.', 2)),
    (r'^backbone\.fpn\.fpn_layer([2-4])\.', counted(r'neck.fpn_convs.#.conv.', 2)),
    (r'^backbone\.fpn\.top_blocks\.', 'neck.'),
    *_TOP_LEVELS,
    (r'^rpn\.head\.', 'bbox_head.'),
    *_TOWERS,
    (r'^roi_heads\.mask\.predictor\.conv5_mask\.', 'roi_head.mask_head.upsample.'),
    (r'^roi_heads\.mask\.predictor\.mask_fcn_logits\.', 'roi_head.mask_head.conv_logits.'),
    (r'^roi_heads\.mask\.feature_extractor\.', 'roi_head.mask_head.'),
    (r'^roi_heads\.maskiou\.(?:feature_extractor|predictor)\.', 'roi_head.mask_iou_head.'),
    *_MASK_HEADS,
)
_CENTERMASK2_RENAMES: tuple[Rename, ...] = (
    (r'^backbone\.bottom_up\.stem\.conv1\.norm\.', 'backbone.bn1.'),
    (r'^backbone\.bottom_up\.stem\.conv1\.', 'backbone.conv1.'),
    (
        r'(?<=^backbone\.)bottom_up\.res([2-5])\.(\d+)\.(conv[123]|shortcut)\.(norm\.)?',
        _resnet_norm,
    ),
    (r'^backbone\.bottom_up\.', 'backbone.'),
    *_BACKBONES,
    (r'^backbone\.fpn_lateral([3-5])\.', counted(r'neck.lateral_convs.#.conv.', 3)),
    (r'^backbone\.fpn_output([3-5])\.', counted(r'neck.fpn_convs.#.conv.', 3)),
    (r'^backbone\.top_block\.', 'neck.'),
    *_TOP_LEVELS,
    (r'^proposal_generator\.fcos_head\.', 'bbox_head.'),
    *_TOWERS,
    (r'^roi_heads\.mask_head\.deconv\.', 'roi_head.mask_head.upsample.'),
    (r'^roi_heads\.mask_head\.predictor\.', 'roi_head.mask_head.conv_logits.'),
    (r'^roi_heads\.mask_head\.', 'roi_head.mask_head.'),
    (r'^roi_heads\.maskiou_head\.', 'roi_head.mask_iou_head.'),
    *_MASK_HEADS,
)
_SCALES = (r'^bbox_head\.scales\.\d+\.scale$', to_number)
_LICENCE = (
    'Converted from a checkpoint published by the authors of CenterMask, who allow use for '
    'non-commercial purposes only; the weights stay under their terms.'
)

CENTERMASK: tuple[Layout, ...] = (
    Layout(
        name='centermask',
        marks=('rpn.head.cls_logits.weight', 'roi_heads.mask.predictor.mask_fcn_logits.weight'),
        renames=_ORIGINAL_RENAMES,
        changes=(
            (r'^roi_head\.mask_head\.conv_logits\.', drop_background),
            (r'^roi_head\.mask_iou_head\.fc_mask_iou\.', drop_background),
            _SCALES,
        ),
        fills_counters=True,
        licence=_LICENCE,
    ),
    Layout(
        name='centermask2',
        marks=(
            'proposal_generator.fcos_head.cls_logits.weight',
            'roi_heads.mask_head.predictor.weight',
        ),
        renames=_CENTERMASK2_RENAMES,
        changes=(_SCALES,),
        # older files hold the normalisation of pictures, which stands in our configs
        ignores=(r'^pixel_(?:mean|std)$',),
        fills_counters=True,
        licence=_LICENCE,
    ),
)
