"""PolarMask's files, of mmdetection 1: three ages of them."""

import torch
from torch import Tensor

from polarseg.apis.layouts.layout import Layout, LayoutError, rename_tower_entry

__all__ = ['POLARMASK']


def roll_rays(tensor: Tensor) -> Tensor:
    """Channels of the legacy ray order (ray 0 left) in the current one (ray 0 down).

    ``current[j] = legacy[(j + R / 4) % R]``: the legacy direction of ray k is (-cos a, sin a), the
    current one (sin a, cos a), a quarter turn apart.

    Raises:
        LayoutError: if R is no multiple of 4, so that no ray lies a quarter turn from another.
    """
    if tensor.dim() == 0 or tensor.shape[0] % 4:
        raise LayoutError(
            f'rays of the legacy order cannot be turned by a quarter: shape {list(tensor.shape)}'
        )
    return torch.roll(tensor, -(tensor.shape[0] // 4), dims=0)


_RENAMES = (
    (r'^(backbone\..*conv2)_offset\.', r'\1.conv_offset.'),
    (
        r'^(bbox_head\.(?:cls|reg|mask)_convs)\.(\d+)\.((?:conv_offset_mask\.)?(?:weight|bias))$',
        rename_tower_entry,
    ),
)
_LICENCE = (
    'Converted from a checkpoint published by the authors of PolarMask, who allow use for '
    'non-commercial purposes only; the weights stay under their terms.'
)

POLARMASK: tuple[Layout, ...] = (
    Layout(
        name='polarmask',
        marks=('bbox_head.polar_mask.weight',),
        renames=_RENAMES,
        licence=_LICENCE,
    ),
    Layout(
        name='polarmask-legacy',
        marks=('bbox_head.fcos_mask.weight',),
        renames=((r'^bbox_head\.fcos_', 'bbox_head.polar_'), *_RENAMES),
        changes=((r'^bbox_head\.polar_mask\.(weight|bias)$', roll_rays),),
        licence=_LICENCE,
    ),
    # fcos_* names with the rays of today: trained between the two switches; chosen by hand only
    Layout(
        name='polarmask-legacy-names',
        marks=('bbox_head.fcos_mask.weight',),
        renames=((r'^bbox_head\.fcos_', 'bbox_head.polar_'), *_RENAMES),
        licence=_LICENCE,
    ),
)
