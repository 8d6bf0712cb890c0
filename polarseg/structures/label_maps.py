"""Two labels a pixel in one map, so that flips, crops and resizes treat them alike."""

import numpy as np
from torch import Tensor

__all__ = ['PADDED_LABELS', 'join_labels', 'split_labels']

SHIFT = 8
PADDED_LABELS = 255 << SHIFT
"""The joined label of padding: no thing, and ignored by the semantic loss."""


def join_labels(things: np.ndarray, semantic: np.ndarray) -> np.ndarray:
    """One map of two.

    Args:
        things: ``(H, W)`` integer 0 .. 255: 0 background, class + 1 of things.
        semantic: ``(H, W)`` integer 0 .. 255: 0 any thing, 1 .. S stuff, 255 ignored.

    Returns:
        ``(H, W)`` int32.

    Raises:
        ValueError: if the sizes differ or a label does not fit.
    """
    if things.shape != semantic.shape:
        raise ValueError(
            f'label maps must be of one size, got {list(things.shape)} and {list(semantic.shape)}'
        )
    for name, labels in dict(things=things, semantic=semantic).items():
        if labels.size and (labels.min() < 0 or labels.max() > 255):
            raise ValueError(f'{name} must be in 0 .. 255, got {labels.min()} .. {labels.max()}')
    return things.astype(np.int32) | (semantic.astype(np.int32) << SHIFT)


def split_labels(joined: Tensor) -> tuple[Tensor, Tensor]:
    """The two maps of one, as :func:`join_labels` takes them.

    Args:
        joined: integer tensor of any shape.
    """
    return joined & 255, joined >> SHIFT
