"""What the drawers of all operators share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

__all__ = ['Call', 'WrongResult', 'break_one', 'demand', 'one_of', 'relayout', 'sprinkle']

T = TypeVar('T')
ODD = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, -1e-45, 0.0, -0.0)


class WrongResult(Exception):
    """An answer is not what the reference says, or what no answer may be."""


@dataclass
class Call:
    """One call of an operator.

    Args:
        arguments: keyword arguments of the operator.
        refusals: the exceptions of which one must come; empty if there must be an answer.
    """

    arguments: dict[str, Any]
    refusals: tuple[type[Exception], ...] = ()


def demand(condition: bool, sentence: str) -> None:
    """Raise WrongResult with the sentence unless the condition holds."""
    if not condition:
        raise WrongResult(sentence)


def one_of(rng: Generator, values: Sequence[T]) -> T:
    """One of the values as it is, where numpy's choice would convert it."""
    return values[int(rng.integers(len(values)))]


def sprinkle(rng: Generator, values: np.ndarray, odd: Sequence[float] = ODD) -> np.ndarray:
    """Mostly the values themselves; at times some of them are replaced by odd ones."""
    if rng.random() < 0.75 or values.size == 0:
        return values
    hit = rng.random(values.shape) < one_of(rng, [0.05, 0.3, 1.0])
    with np.errstate(over='ignore'):
        return np.where(hit, rng.choice(odd, values.shape), values).astype(values.dtype)


def relayout(rng: Generator, tensor: Tensor) -> Tensor:
    """The same values, at times as a view that is not contiguous or begins inside its storage."""
    kind = int(rng.integers(5))
    if kind == 0 and tensor.dim() > 1:
        order = list(rng.permutation(tensor.dim()))
        back = [int(i) for i in np.argsort(order)]
        return tensor.permute([int(i) for i in order]).contiguous().permute(back)
    if kind == 1 and tensor.dim() > 0:
        room = torch.zeros(*tensor.shape[:-1], 2 * tensor.shape[-1] + 1, dtype=tensor.dtype)
        view = room[..., 1::2]
        view.copy_(tensor)
        return view
    if kind == 2:
        room = torch.zeros(tensor.numel() + 3, dtype=tensor.dtype)
        view = room[3:].view(tensor.shape)
        view.copy_(tensor)
        return view
    return tensor


Break = Callable[[Generator, dict[str, Any]], tuple[type[Exception], ...]]


def break_one(
    rng: Generator, arguments: dict[str, Any], breaks: Sequence[Break], share: float
) -> Call:
    """The arguments as they are or, in a share of the calls, with one thing wrong."""
    if rng.random() >= share:
        return Call(arguments)
    return Call(arguments, one_of(rng, breaks)(rng, arguments))
