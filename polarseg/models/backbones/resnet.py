"""ResNet and ResNeXt with deformable convolutions in every n-th block of a stage."""

import itertools
from typing import Any

from mmdet.models.backbones import ResNet as MMResNet
from mmdet.models.backbones import ResNeXt as MMResNeXt
from torch import nn

from polarseg.registry import MODELS

__all__ = ['ResNeXt', 'ResNet']


class _EveryNth:
    """Stands in for a block's class while a stage is built; counts the blocks."""

    def __init__(self, block: type[nn.Module], interval: int) -> None:
        self.expansion = block.expansion
        self._block = block
        self._interval = interval
        self._index = itertools.count()

    def __call__(self, *args: Any, dcn: dict | None = None, **kwargs: Any) -> nn.Module:
        chosen = next(self._index) % self._interval == 0
        return self._block(*args, dcn=dcn if chosen else None, **kwargs)


class _DeformInterval:
    """Adds the keyword ``dcn_interval`` to mmdet's ResNet and what is derived from it."""

    def __init__(self, *args: Any, dcn_interval: int = 1, **kwargs: Any) -> None:
        if not isinstance(dcn_interval, int) or dcn_interval < 1:
            raise ValueError(f'dcn_interval must be an integer of at least 1, got {dcn_interval}.')
        self.dcn_interval = dcn_interval
        super().__init__(*args, **kwargs)

    def make_res_layer(self, block: type[nn.Module], **kwargs: Any) -> nn.Module:
        """A stage; mmdet's constructor calls this."""
        layer = super().make_res_layer(block=_EveryNth(block, self.dcn_interval), **kwargs)
        layer.block = block
        return layer


@MODELS.register_module()
class ResNet(_DeformInterval, MMResNet):
    """mmdet's ResNet with an interval between deformable blocks.

    Inside of each stage that ``stage_with_dcn`` names, block i (from 0) is deformable if i is a
    multiple of the interval. BlendMask (arXiv 2001.00309) uses an interval of 3: blocks 0 and 3 of
    res3, 0, 3, ..., 21 of res4 and 0 of res5 in ResNet-101.

    Args:
        dcn_interval: 1 for every block, as mmdet has it.
        args, kwargs: mmdet's, such as ``depth``, ``dcn`` and ``stage_with_dcn``.

    Raises:
        ValueError: if the interval is not a positive integer.
    """


@MODELS.register_module()
class ResNeXt(_DeformInterval, MMResNeXt):
    """mmdet's ResNeXt with an interval between deformable blocks; see :class:`ResNet`.

    Args:
        dcn_interval: 1 for every block, as mmdet has it.
        args, kwargs: mmdet's.

    Raises:
        ValueError: if the interval is not a positive integer.
    """
