"""Indexing by instance, the same for everything that stands in an ``InstanceData``."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ['InstanceIndex', 'chosen_rows']

InstanceIndex = int | slice | Sequence[int] | np.ndarray | Tensor
"""An index, a slice, integer indices, or a mask with one bool for each instance."""


def chosen_rows(index: InstanceIndex, count: int, device: torch.device | str = 'cpu') -> Tensor:
    """The rows that an index names, in its order; a single integer names one row.

    Args:
        index: on any device.
        count: number of instances.
        device: where the result lives.

    Returns:
        ``[K]`` int64.

    Raises:
        IndexError: if a row does not exist, or a mask has another length than ``count``.
    """
    if not isinstance(index, slice):
        index = torch.as_tensor(index, device=device)
        if index.numel() == 0 and index.is_floating_point():
            index = index.long()  # torch takes an empty list for one of floats
    return torch.arange(count, device=device)[index].reshape(-1)
