"""The semantic branch of panoptic files, BlendMask's and CenterMask2's."""

import re

from polarseg.apis.layouts.layout import Rename, counted

__all__ = ['semantic_renames']


def semantic_renames(published: str) -> tuple[Rename, ...]:
    """From the published names of the branch to those of ``semantic_head``.

    Args:
        published: name of the branch, 'panoptic_module' (BlendMask) or 'sem_seg_head'
            (CenterMask2).
    """
    return (
        (rf'^{published}\.predictor\.', 'semantic_head.conv_logits.'),
        (rf'^{published}\.p([2-5])\.', counted('semantic_head.conv_upsample_layers.#.', 2)),
        (r'^(semantic_head\.conv_upsample_layers\.\d+)\.(\d+)\.(norm\.)?', _unit),
    )


def _unit(match: re.Match) -> str:
    """A level is a flat list: convolutions, with an upsampling after each, which has no tensors."""
    layer, between = divmod(int(match[2]), 2)
    if between:
        return match[0]
    return f'{match[1]}.conv.{layer}.{"conv" if match[3] is None else "gn"}.'
