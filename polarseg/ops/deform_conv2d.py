"""Deformable convolution v1 (arXiv 1703.06211) and v2 (arXiv 1811.11168)."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

IntOrPair = int | Sequence[int]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    mask: Tensor | None = None,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Convolution whose kernel points read the input at learned places.

    With ``mask`` it is the modulated convolution (v2), without it v1. The order of the arguments is
    that of ``torchvision.ops.deform_conv2d``, their names are mmcv's, and so are the numbers.

    The kernel point k = i * kw + j of the output position (r, c) reads the input at
    ``y = r * stride - padding + i * dilation + dy`` and
    ``x = c * stride - padding + j * dilation + dx``, in pixels of the input; pixel (row i, column
    j) lies at y = i, x = j. A point counts if -1 < y < H and -1 < x < W: then it is the bilinear
    mean of its four neighbours, those outside of the input being 0. Any other point, and one whose
    offset is not a number, reads 0 and has no gradient.

    Derivatives by all five tensors exist; a derivative of these does not. The result is contiguous,
    whatever the layout of the arguments is. Under autocast all tensors are cast to its lower
    precision on CUDA, as for torch's convolutions, and to float32 on the CPU.

    Args:
        input: (N, C, H, W) float32, float64, float16 or bfloat16. On the CPU half precision is
            computed in float32 and rounded once.
        offset: (N, 2 * deform_groups * kh * kw, H', W'), dy and dx alternating: channel
            ``2 * (d * kh * kw + k)`` is dy of point k of deform group d, the next one is dx. In
            pixels of the input.
        weight: (C', C / groups, kh, kw).
        bias: (C',), or None.
        stride: of the output positions in pixels of the input; one or two integers (y, x).
        padding: pixels added on each side; one or two integers.
        dilation: distance of the kernel points; one or two integers.
        mask: (N, deform_groups * kh * kw, H', W') factor of each point, or None for 1.
        groups: input and output channels are cut into so many independent convolutions.
        deform_groups: the input channels are cut into so many parts with offsets of their own.

    Returns:
        (N, C', H', W'), H' = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1.

    Raises:
        TypeError: for another dtype, or where not all tensors have the same.
        ValueError: if shapes, numbers or devices do not fit together, or the output would be empty
            (an empty batch is fine).
        RuntimeError: on differentiating twice.
    """
    return torch.ops.polarseg.deform_conv2d(
        input,
        offset,
        weight,
        bias,
        _pair(stride),
        _pair(padding),
        _pair(dilation),
        mask,
        groups,
        deform_groups,
    )


def _pair(value: IntOrPair) -> list[int]:
    """As torch's convolutions take it: a number, or a sequence of one, counts twice."""
    values = list(value) if isinstance(value, Sequence) else [value]
    return values * 2 if len(values) == 1 else values


def _demand(condition: bool, sentence: str, error: type[Exception] = ValueError) -> None:
    if not condition:
        raise error(f'deform_conv2d: {sentence}')


def _check_like_input(input: Tensor, name: str, tensor: Tensor, dimensions: int) -> None:
    _demand(
        tensor.dtype == input.dtype,
        f'{name} is {tensor.dtype} but input is {input.dtype}.',
        TypeError,
    )
    _demand(
        tensor.device == input.device,
        f'{name} is on {tensor.device} but input is on {input.device}.',
    )
    _demand(
        tensor.dim() == dimensions,
        f'{name} must have {dimensions} dimensions, got shape {tuple(tensor.shape)}.',
    )


def _output_shape(
    input: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Shape of the result; any entry may be symbolic."""
    lengths = []
    for axis in range(2):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        room = input.shape[2 + axis] + 2 * padding[axis] - reach
        _demand(
            room >= 0,
            'the input is too small for the kernel; the output would be empty.',
        )
        lengths.append(room // stride[axis] + 1)
    return [input.shape[0], weight.shape[0], *lengths]


def _check(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    groups: int,
    deform_groups: int,
) -> None:
    """Refuse while tracing what the compiled operator would refuse, but for the sizes of planes."""
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    _demand(
        input.dtype in floats,
        f'input must be float32, float64, float16 or bfloat16, got {input.dtype}.',
        TypeError,
    )
    _demand(input.dim() == 4, f'input must have 4 dimensions, got shape {tuple(input.shape)}.')
    _check_like_input(input, 'offset', offset, 4)
    _check_like_input(input, 'weight', weight, 4)
    _demand(weight.numel() > 0, f'weight must not be empty, got shape {tuple(weight.shape)}.')
    _demand(groups >= 1, f'groups must be at least 1, got {groups}.')
    _demand(deform_groups >= 1, f'deform_groups must be at least 1, got {deform_groups}.')
    for name, parts, channels in (
        ('groups', groups, input.shape[1]),
        ('groups', groups, weight.shape[0]),
        ('deform_groups', deform_groups, input.shape[1]),
    ):
        _demand(channels % parts == 0, f'{name} must divide the {channels} channels, got {parts}.')
    _demand(
        weight.shape[1] * groups == input.shape[1],
        f'weight must have {input.shape[1] // groups} input channels for each group, got shape '
        f'{tuple(weight.shape)}.',
    )
    if bias is not None:
        _check_like_input(input, 'bias', bias, 1)
        _demand(
            bias.shape[0] == weight.shape[0],
            f'bias must have {weight.shape[0]} entries, got {bias.shape[0]}.',
        )


def _check_planes(name: str, planes: Tensor, output: list[int], channels: int) -> None:
    expected = [output[0], channels, *output[2:]]
    for actual, wanted in zip(planes.shape, expected):
        torch._check_value(
            actual == wanted,
            lambda: f'deform_conv2d: {name} must have shape {expected}, got {list(planes.shape)}.',
        )


@torch.library.register_fake('polarseg::deform_conv2d')
def _fake(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    mask: Tensor | None = None,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Shape, dtype and device of the result, for tracing without data."""
    for name, pair, least in (
        ('stride', stride, 1),
        ('padding', padding, 0),
        ('dilation', dilation, 1),
    ):
        _demand(len(pair) == 2, f'{name} must be one or two integers, got {len(pair)} of them.')
        _demand(min(pair) >= least, f'{name} must be at least {least}, got {list(pair)}.')
    _check(input, offset, weight, bias, mask, groups, deform_groups)
    output = _output_shape(input, weight, stride, padding, dilation)
    points = deform_groups * weight.shape[2] * weight.shape[3]
    _check_planes('offset', offset, output, 2 * points)
    if mask is not None:
        _check_like_input(input, 'mask', mask, 4)
        _check_planes('mask', mask, output, points)
    return input.new_empty(output)


@torch.library.register_fake('polarseg::deform_conv2d_backward')
def _fake_backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, ...]:
    """Gradients by input, offset, weight and mask; those not asked for are empty."""
    tensors = (input, offset, weight, mask)
    return tuple(
        input.new_empty(tensor.shape if wanted and tensor is not None else (0,))
        for tensor, wanted in zip(tensors, output_mask)
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, offset, weight, _, stride, padding, dilation, mask, groups, deform_groups = inputs
    ctx.save_for_backward(input, offset, weight, mask)
    ctx.geometry = (stride, padding, dilation, groups, deform_groups)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, offset, weight, mask = ctx.saved_tensors
    # the dispatcher drops trailing arguments that equal their default, so this may be short
    by_input, by_offset, by_weight, by_bias, *rest = (*ctx.needs_input_grad, False)[:8]
    wanted = [by_input, by_offset, by_weight, mask is not None and rest[3]]
    grads: list[Tensor | None] = [None] * 4
    if any(wanted):
        results = torch.ops.polarseg.deform_conv2d_backward(
            grad, input, offset, weight, mask, *ctx.geometry, wanted
        )
        grads = [result if asked else None for result, asked in zip(results, wanted)]
    bias = grad.sum((0, 2, 3)) if by_bias else None
    return grads[0], grads[1], grads[2], bias, None, None, None, grads[3], None, None


def _no_second_derivative(ctx: Any, *grads: Tensor) -> NoReturn:
    raise RuntimeError(
        'deform_conv2d can be differentiated once only: its gradients have no derivative.'
    )


torch.library.register_autograd('polarseg::deform_conv2d', _backward, setup_context=_setup_context)
torch.library.register_autograd('polarseg::deform_conv2d_backward', _no_second_derivative)
