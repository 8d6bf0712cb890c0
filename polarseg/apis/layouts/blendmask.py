"""BlendMask's files, on detectron2: instances, and the panoptic models with a level P2."""

import re

from polarseg.apis.layouts.fcos import NORMALISATION, SCALES, detectron2_renames
from polarseg.apis.layouts.layout import Layout, Rename

__all__ = ['BLENDMASK']

_UNIT = ('conv', 'bn')


def _semantic_entry(match: re.Match) -> str:
    """The auxiliary head as a flat list: convolution, norm and ReLU twice, then a convolution."""
    layer, part = divmod(int(match[2]), 3)
    if layer == 2 and part == 0:
        return f'{match[1]}.2.'
    if layer < 2 and part < 2:
        return f'{match[1]}.{layer}.{_UNIT[part]}.'
    # a ReLU has no tensors: a name that no model has, for the strict loading to show
    return f'{match[1]}.entry{match[2]}.'


def _semantic_unit(match: re.Match) -> str:
    """A level of the panoptic branch: convolutions, with an upsampling after each."""
    layer, between = divmod(int(match[2]), 2)
    if between:
        return match[0]
    return f'{match[1]}.{layer}.{"conv" if match[3] is None else "gn"}.'


_HEADS: tuple[Rename, ...] = (
    (r'^top_layer\.', 'bbox_head.top_layer.'),
    (
        r'^(basis_module\.(?:refine|tower)\.\d+)\.([01])\.',
        lambda match: f'{match[1]}.{_UNIT[int(match[2])]}.',
    ),
    (r'^(basis_module\.seg_head)\.(\d+)\.', _semantic_entry),
)
_PANOPTIC: tuple[Rename, ...] = (
    (r'^panoptic_module\.', 'sem_seg_head.'),
    (r'^(sem_seg_head\.p[2-5])\.(\d+)\.(norm\.)?', _semantic_unit),
)
_MARKS = (
    'proposal_generator.fcos_head.cls_logits.weight',
    'top_layer.weight',
    'basis_module.refine.0.0.weight',
)
_LICENCE = (
    'Converted from a checkpoint published by the authors of BlendMask, who allow use for '
    'non-commercial purposes only; the weights stay under their terms.'
)

BLENDMASK: tuple[Layout, ...] = (
    # a panoptic file has all marks of the other, so it comes first
    Layout(
        name='blendmask_panoptic',
        marks=(*_MARKS, 'panoptic_module.predictor.weight'),
        renames=(*detectron2_renames(first_level=2), *_HEADS, *_PANOPTIC),
        changes=(SCALES,),
        ignores=(NORMALISATION,),
        fills_counters=True,
        licence=_LICENCE,
        relatives=('blendmask',),
    ),
    Layout(
        name='blendmask',
        marks=_MARKS,
        renames=(*detectron2_renames(), *_HEADS),
        changes=(SCALES,),
        ignores=(NORMALISATION,),
        fills_counters=True,
        licence=_LICENCE,
        relatives=('blendmask_panoptic',),
    ),
)
