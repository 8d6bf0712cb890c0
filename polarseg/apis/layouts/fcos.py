"""Detectors on FCOS: the names that CenterMask's and BlendMask's files share, and FCOS by itself.

There are two spellings: that of maskrcnn-benchmark, which the originals of FCOS and CenterMask were
built on, and that of detectron2, which their successors and BlendMask were built on.
"""

import re

from torch import Tensor

from polarseg.apis.layouts.backbones import MOBILENET_V2_RENAMES, VOVNET_RENAMES
from polarseg.apis.layouts.layout import Layout, LayoutError, Rename, counted, rename_tower_entry

__all__ = ['FCOS', 'MASKRCNN_BENCHMARK_RENAMES', 'NORMALISATION', 'SCALES', 'detectron2_renames']

# older files hold the normalisation of pictures, which stands in our configs
NORMALISATION = r'^pixel_(?:mean|std)$'


def to_number(scale: Tensor) -> Tensor:
    """A level's scale of shape ``[1]`` as one of shape ``[]``.

    Raises:
        LayoutError: if it is more than one number.
    """
    if scale.numel() != 1:
        raise LayoutError(f'expected the one scale of a level, got shape {list(scale.shape)}')
    return scale.reshape(())


SCALES = (r'^bbox_head\.scales\.\d+\.scale$', to_number)


def _resnet_unit(match: re.Match) -> str:
    """detectron2's norms stand inside of their convolutions; ``shortcut`` is ``downsample``."""
    block = f'layer{int(match[1]) - 1}.{match[2]}'
    unit, is_norm = match[3], match[4] is not None
    if unit == 'shortcut':
        return f'{block}.downsample.{int(is_norm)}.'
    if unit == 'conv2_offset':
        return f'{block}.conv2.conv_offset.'
    return f'{block}.{"bn" if is_norm else "conv"}{unit.removeprefix("conv")}.'


def _level_norm(match: re.Match) -> str:
    """Entry 3 i + 1 of a tower may be a list: a norm for each level of the pyramid."""
    layer, part = divmod(int(match[2]), 3)
    if part != 1:
        return match[0]  # no such tensor: let the strict loading name it
    return f'{match[1]}.{layer}.norms.{match[3]}.'


_HEAD: tuple[Rename, ...] = (
    (r'^(bbox_head)\.share_tower\.', r'\1.share_convs.'),
    (r'^(bbox_head)\.cls_tower\.', r'\1.cls_convs.'),
    (r'^(bbox_head)\.bbox_tower\.', r'\1.reg_convs.'),
    (r'^(bbox_head\.(?:share|cls|reg)_convs)\.(\d+)\.(weight|bias)$', rename_tower_entry),
    (r'^(bbox_head\.(?:share|cls|reg)_convs)\.(\d+)\.(\d+)\.', _level_norm),
    (r'^bbox_head\.cls_logits\.', 'bbox_head.conv_cls.'),
    (r'^bbox_head\.bbox_pred\.', 'bbox_head.conv_reg.'),
    (r'^bbox_head\.(?:centerness|ctrness)\.', 'bbox_head.conv_centerness.'),
)
_BACKBONES: tuple[Rename, ...] = (*VOVNET_RENAMES, *MOBILENET_V2_RENAMES)

MASKRCNN_BENCHMARK_RENAMES: tuple[Rename, ...] = (
    (r'^backbone\.body\.(?:stem\.(?=conv1\.|bn1\.))?', 'backbone.'),
    *_BACKBONES,
    (r'^backbone\.fpn\.fpn_inner([2-4])\.', counted(r'neck.lateral_convs.#.conv.', 2)),
    (r'^backbone\.fpn\.fpn_layer([2-4])\.', counted(r'neck.fpn_convs.#.conv.', 2)),
    (r'^backbone\.fpn\.top_blocks\.p([67])\.', counted(r'neck.fpn_convs.#.conv.', 3)),
    (r'^rpn\.head\.', 'bbox_head.'),
    *_HEAD,
)


def detectron2_renames(first_level: int = 3) -> tuple[Rename, ...]:
    """Backbone, pyramid and head in detectron2's spelling.

    Args:
        first_level: of the pyramid; its numbers count from 0 with us.
    """
    levels = f'([{first_level}-5])'
    return (
        (r'^backbone\.bottom_up\.stem\.conv1\.norm\.', 'backbone.bn1.'),
        (r'^backbone\.bottom_up\.stem\.conv1\.', 'backbone.conv1.'),
        (
            r'(?<=^backbone\.)bottom_up\.res([2-5])\.(\d+)\.'
            r'(conv[123]|conv2_offset|shortcut)\.(norm\.)?',
            _resnet_unit,
        ),
        (r'^backbone\.bottom_up\.', 'backbone.'),
        *_BACKBONES,
        (
            rf'^backbone\.fpn_lateral{levels}\.',
            counted(r'neck.lateral_convs.#.conv.', first_level),
        ),
        (rf'^backbone\.fpn_output{levels}\.', counted(r'neck.fpn_convs.#.conv.', first_level)),
        (
            r'^backbone\.top_block\.p([67])\.',
            counted(r'neck.fpn_convs.#.conv.', first_level),
        ),
        (r'^proposal_generator\.fcos_head\.', 'bbox_head.'),
        *_HEAD,
    )


_LICENCE = (
    'Converted from a checkpoint published by the authors of FCOS; the weights stay under their '
    'terms, which may allow non-commercial use only.'
)
_HINT = (
    'The file has no tensors of masks. To start the training of another model from an FCOS '
    'detector, convert the file with the config of an FCOS model and name the result in '
    'load_from: what the model has beside it starts afresh.'
)

FCOS: tuple[Layout, ...] = (
    Layout(
        name='fcos',
        marks=('rpn.head.cls_logits.weight', 'rpn.head.bbox_pred.weight'),
        renames=MASKRCNN_BENCHMARK_RENAMES,
        changes=(SCALES,),
        fills_counters=True,
        licence=_LICENCE,
        hint=_HINT,
    ),
    Layout(
        name='fcos_detectron2',
        marks=(
            'proposal_generator.fcos_head.cls_logits.weight',
            'proposal_generator.fcos_head.bbox_pred.weight',
        ),
        renames=detectron2_renames(),
        changes=(SCALES,),
        ignores=(NORMALISATION,),
        fills_counters=True,
        licence=_LICENCE,
        hint=_HINT,
    ),
)
