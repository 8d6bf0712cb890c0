"""Whether two results of a benchmark are the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ['Comparison', 'close', 'identical', 'same_rle']


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        identical: bit for bit, or None where nothing was compared.
        max_error: the largest difference in the case's own measure, where it has one.
        ok: the difference is within what the case allows.
        note: for the table.
    """

    identical: bool | None = None
    max_error: float | None = None
    ok: bool = True
    note: str = ''


def identical(ours: Tensor, theirs: Tensor) -> Comparison:
    """Demands equal shapes, dtypes and values."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return Comparison(False, None, False, f'{describe(ours)} is not {describe(theirs)}')
    count = int((ours != theirs).sum())
    note = f'{count} of {ours.numel()} values differ' if count else ''
    return Comparison(count == 0, None, count == 0, note)


def describe(tensor: Tensor) -> str:
    """Dtype and shape of a tensor."""
    return f'{tensor.dtype} {list(tensor.shape)}'


def close(tolerance: float) -> Callable[[Any, Any], Comparison]:
    """Allows a largest difference of ``tolerance`` times the largest value of the peer's result.

    The comparison takes two tensors, or two sequences of tensors, whose worst pair counts.
    """

    def compare(ours: Tensor | Sequence[Tensor], theirs: Tensor | Sequence[Tensor]) -> Comparison:
        pairs = [(ours, theirs)] if isinstance(ours, Tensor) else list(zip(ours, theirs))
        for own, other in pairs:
            if own.shape != other.shape:
                note = f'{describe(own)} is not {describe(other)}'
                return Comparison(False, None, False, note)
        error = max(relative_error(own, other) for own, other in pairs)
        same = all(torch.equal(own, other.to(own.dtype)) for own, other in pairs)
        # an error that is not a number is not within the tolerance
        ok = error <= tolerance
        return Comparison(same, error, ok, '' if ok else f'more than {tolerance:g} is not allowed')

    return compare


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference over the largest absolute value; NaN if either has a NaN."""
    if ours.numel() == 0:
        return 0.0
    ours, theirs = ours.detach().double(), theirs.detach().double()
    scale = theirs.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((ours - theirs).abs().max() / scale)


def same_rle(ours: Sequence[Mapping], theirs: Sequence[Mapping]) -> Comparison:
    """Demands equal sizes and run length strings, text or bytes."""
    if len(ours) != len(theirs):
        return Comparison(False, None, False, f'{len(ours)} masks are not {len(theirs)}')
    count = sum(_key(own) != _key(other) for own, other in zip(ours, theirs))
    note = f'{count} of {len(ours)} strings differ' if count else ''
    return Comparison(count == 0, None, count == 0, note)


def _key(rle: Mapping) -> tuple[list[int], str]:
    counts = rle['counts']
    return list(rle['size']), counts.decode() if isinstance(counts, bytes) else counts
