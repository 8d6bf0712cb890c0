"""Mixed precision on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from polarseg.registry import OPTIM_WRAPPERS

__all__ = ['CpuAmpOptimWrapper']


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast on the CPU.

    mmengine's ``AmpOptimWrapper`` insists on a GPU. The CPU has only bfloat16 autocast, whose range
    is float32's, so no loss scaling is needed. ``--amp`` chooses between the two.

    Args:
        kwargs: those of ``mmengine.optim.OptimWrapper`` (optimizer, clip_grad,
            accumulative_counts).
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass; gradient accumulation as in ``OptimWrapper``."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
