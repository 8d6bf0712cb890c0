"""Other libraries' deformable convolutions under one signature.

Each function takes ``(input, offset, mask, weight, bias)``; ``mask`` and ``bias`` are None for the
first, unmodulated version.
"""

from collections.abc import Callable

from mmcv.ops import deform_conv2d as mmcv_v1
from mmcv.ops import modulated_deform_conv2d as mmcv_v2
from torch import Tensor

__all__ = ['ABSENT', 'PADDING', 'mmcv', 'mmcv_float32', 'torchvision']

PADDING = 1
ABSENT: dict[str, str] = {}
"""Peers that cannot be imported here, and why."""

try:
    from torchvision.ops import deform_conv2d as torchvision_op
except (ImportError, OSError, RuntimeError) as error:
    # RuntimeError and OSError: it is there, but was built for another torch
    torchvision_op = None
    ABSENT['torchvision'] = f'{type(error).__name__}: {str(error).splitlines()[0]}'


def mmcv(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """``mmcv.ops.modulated_deform_conv2d``, or ``deform_conv2d`` without a mask."""
    if mask is None:
        return mmcv_v1(input, offset, weight, 1, PADDING)
    return mmcv_v2(input, offset, mask, weight, bias, 1, PADDING)


def mmcv_float32(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """The same in float32 and back, for dtypes that mmcv does not know."""
    widened = [None if one is None else one.float() for one in (input, offset, mask, weight, bias)]
    return mmcv(*widened).to(input.dtype)


def _torchvision(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    return torchvision_op(input, offset, weight, bias, padding=PADDING, mask=mask)


torchvision: Callable[..., Tensor] | None = None if torchvision_op is None else _torchvision
"""``torchvision.ops.deform_conv2d``, or None where torchvision cannot be imported."""
