"""What masks that are held in another form than pixels have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from polarseg.structures.indexing import InstanceIndex, chosen_rows

__all__ = ['CompactMasks']

Masks = TypeVar('Masks', bound='CompactMasks')


class CompactMasks(ABC):
    """Masks of N instances of one picture, held as tensors of N rows until pixels are wanted.

    Stands as ``masks`` in an ``InstanceData``: it is indexed by instance and moves between devices
    like a tensor. Pixels and RLE are made on request.

    Args:
        height: of the picture.
        width: of the picture.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = int(height)
        self.width = int(width)

    @property
    @abstractmethod
    def _tensors(self) -> tuple[Tensor, ...]:
        """The tensors, one row for each instance."""

    @abstractmethod
    def _with(self: Masks, *tensors: Tensor) -> Masks:
        """The same picture with other tensors, in the order of :attr:`_tensors`."""

    @abstractmethod
    def to_rle(self) -> list[dict]:
        """COCO RLE of every mask: ``{'size': [height, width], 'counts': bytes}``."""

    def to_ndarray(self) -> np.ndarray:
        """``[N, height, width]`` uint8 masks, those of :meth:`to_rle`."""
        masks = np.zeros((len(self), self.height, self.width), np.uint8)
        for mask, rle in zip(masks, self.to_rle()):
            mask[:] = coco_mask.decode(rle)
        return masks

    def __len__(self) -> int:
        return len(self._tensors[0])

    def __getitem__(self: Masks, index: InstanceIndex) -> Masks:
        rows = chosen_rows(index, len(self), self._tensors[0].device)
        return self._each(lambda tensor: tensor[rows])

    @staticmethod
    def cat(parts: Sequence[Masks]) -> Masks:
        """The instances of several sets of one kind and the same picture, in order."""
        return parts[0]._with(*map(torch.cat, zip(*(part._tensors for part in parts))))

    def to(self: Masks, *args: object, **kwargs: object) -> Masks:
        """As ``Tensor.to``."""
        return self._each(lambda tensor: tensor.to(*args, **kwargs))

    def cpu(self: Masks) -> Masks:
        """As ``Tensor.cpu``."""
        return self._each(Tensor.cpu)

    def detach(self: Masks) -> Masks:
        """As ``Tensor.detach``."""
        return self._each(Tensor.detach)

    def _each(self: Masks, function: Callable[[Tensor], Tensor]) -> Masks:
        return self._with(*map(function, self._tensors))
