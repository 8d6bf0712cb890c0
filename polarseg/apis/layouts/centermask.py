"""CenterMask's files: of the original, on maskrcnn-benchmark, and of CenterMask2, on detectron2.

Those of CenterMask2 are of instances, or panoptic with a level P2.
"""

from torch import Tensor

from polarseg.apis.layouts.fcos import (
    MASKRCNN_BENCHMARK_RENAMES,
    NORMALISATION,
    SCALES,
    detectron2_renames,
)
from polarseg.apis.layouts.layout import Layout, LayoutError, Rename, counted
from polarseg.apis.layouts.panoptic import semantic_renames

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


_MASK_HEADS: tuple[Rename, ...] = (
    (r'^(roi_head\.mask_head)\.mask_fcn(\d+)\.', counted(r'\1.convs.#.conv.', 1)),
    (r'^(roi_head\.mask_head)\.spatialAtt\.', r'\1.attention.'),
    (r'^(roi_head\.mask_iou_head)\.maskiou_fcn(\d+)\.', counted(r'\1.convs.#.', 1)),
    (r'^(roi_head\.mask_iou_head)\.maskiou_fc(\d+)\.', counted(r'\1.fcs.#.', 1)),
    (r'^(roi_head\.mask_iou_head)\.maskiou\.', r'\1.fc_mask_iou.'),
)

_ORIGINAL_RENAMES: tuple[Rename, ...] = (
    *MASKRCNN_BENCHMARK_RENAMES,
    (r'^roi_heads\.mask\.predictor\.conv5_mask\.', 'roi_head.mask_head.upsample.'),
    (r'^roi_heads\.mask\.predictor\.mask_fcn_logits\.', 'roi_head.mask_head.conv_logits.'),
    (r'^roi_heads\.mask\.feature_extractor\.', 'roi_head.mask_head.'),
    (r'^roi_heads\.maskiou\.(?:feature_extractor|predictor)\.', 'roi_head.mask_iou_head.'),
    *_MASK_HEADS,
)
_CENTERMASK2_HEADS: tuple[Rename, ...] = (
    (r'^roi_heads\.mask_head\.deconv\.', 'roi_head.mask_head.upsample.'),
    (r'^roi_heads\.mask_head\.predictor\.', 'roi_head.mask_head.conv_logits.'),
    (r'^roi_heads\.mask_head\.', 'roi_head.mask_head.'),
    (r'^roi_heads\.maskiou_head\.', 'roi_head.mask_iou_head.'),
    *_MASK_HEADS,
)
_CENTERMASK2_MARKS = (
    'proposal_generator.fcos_head.cls_logits.weight',
    'roi_heads.mask_head.predictor.weight',
)
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
            SCALES,
        ),
        fills_counters=True,
        licence=_LICENCE,
    ),
    # a panoptic file has all marks of the other, so it comes first
    Layout(
        name='centermask2_panoptic',
        marks=(*_CENTERMASK2_MARKS, 'sem_seg_head.predictor.weight'),
        renames=(
            *detectron2_renames(first_level=2),
            *_CENTERMASK2_HEADS,
            *semantic_renames('sem_seg_head'),
        ),
        changes=(SCALES,),
        ignores=(NORMALISATION,),
        fills_counters=True,
        licence=_LICENCE,
        relatives=('centermask2',),
    ),
    Layout(
        name='centermask2',
        marks=_CENTERMASK2_MARKS,
        renames=(*detectron2_renames(), *_CENTERMASK2_HEADS),
        changes=(SCALES,),
        ignores=(NORMALISATION,),
        fills_counters=True,
        licence=_LICENCE,
        relatives=('centermask2_panoptic',),
    ),
)
