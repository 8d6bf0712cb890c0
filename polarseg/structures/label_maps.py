"""Two labels a pixel in one map, so that flips, crops and resizes treat them alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from polarseg.structures.panoptic_files import Category

__all__ = ['PADDED_LABELS', 'UNLABELLED', 'join_labels', 'semantic_labels', 'split_labels']

ANY_THING = 0
"""Semantic label of every thing."""

UNLABELLED = 255
"""Semantic label of void pixels and of stuff that is not learned; the loss ignores it."""

SHIFT = 8
PADDED_LABELS = UNLABELLED << SHIFT
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


def semantic_labels(
    categories: 'Sequence[Category]', stuff_classes: Sequence[str], classes: Sequence[str] = ()
) -> dict[int, int]:
    """Label of each category of a panoptic file where things are merged into one.

    Args:
        categories: of the file.
        stuff_classes: names of stuff; ``stuff_classes[s]`` has label ``s + 1``.
        classes: names of things, which are only looked for. All things of the file have label 0.

    Returns:
        Label by category id: 0 things, 1 .. S stuff, 255 stuff that is not in ``stuff_classes``.

    Raises:
        ValueError: if a name is not in the file, is there or in ``stuff_classes`` twice, or is of
            the other kind; if there are more than 254 names of stuff.
    """
    if len(stuff_classes) >= UNLABELLED:
        raise ValueError(f'at most {UNLABELLED - 1} classes of stuff, got {len(stuff_classes)}')
    if len(set(stuff_classes)) < len(stuff_classes):
        raise ValueError(f'stuff_classes has a name twice: {list(stuff_classes)}')
    _check_names(categories, stuff_classes, 'stuff_classes', isthing=False)
    _check_names(categories, classes, 'classes', isthing=True)
    label_of = {name: label for label, name in enumerate(stuff_classes, start=1)}
    return {c.id: ANY_THING if c.isthing else label_of.get(c.name, UNLABELLED) for c in categories}


def _check_names(
    categories: 'Sequence[Category]', names: Sequence[str], what: str, isthing: bool
) -> None:
    known = [category.name for category in categories if category.isthing == isthing]
    missing = [name for name in names if name not in known]
    if missing:
        kind = 'thing' if isthing else 'stuff'
        raise ValueError(
            f'{what}: no category of {kind} is named {missing}; the file has {sorted(known)}'
        )
    repeated = [name for name in names if known.count(name) > 1]
    if repeated:
        raise ValueError(f'{what}: more than one category is named {repeated}')
