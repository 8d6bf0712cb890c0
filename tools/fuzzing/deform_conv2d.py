"""deform_conv2d, forward and backward, against gathering in float64 and torch's derivatives."""

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

import polarseg.ops
from fuzzing.draw import Call, break_one, demand, one_of, relayout, sprinkle

__all__ = ['check', 'draw', 'run']

FLOATS = (torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16)
TOLERANCES = {
    torch.float64: 1e-11,
    torch.float32: 2e-4,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
TENSORS = ('input', 'offset', 'weight', 'bias', 'mask')
FAR = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, 2.0**31, -(2.0**63), 0.0, -0.5)


# ---- drawing -------------------------------------------------------------------------------------


def _geometry(rng: Generator) -> dict[str, Any]:
    groups, deform_groups = (int(one_of(rng, [1, 1, 2, 3])) for _ in range(2))
    channels = groups * deform_groups * int(one_of(rng, [1, 2, 5, 17]))
    if rng.random() < 0.03:
        channels = groups * deform_groups * 70
    outs = groups * int(one_of(rng, [1, 2, 8, 17, 33]))
    kernel = [int(one_of(rng, [1, 1, 2, 3, 3, 5])) for _ in range(2)]
    stride = [int(one_of(rng, [1, 1, 2, 3, 2**31 - 1])) for _ in range(2)]
    padding = [int(one_of(rng, [0, 1, 1, 2, 7])) for _ in range(2)]
    dilation = [int(one_of(rng, [1, 1, 2, 3])) for _ in range(2)]
    dilation = [2**31 - 1 if k == 1 and rng.random() < 0.1 else d for k, d in zip(kernel, dilation)]
    reach = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding)]
    size = [max(r, 0) + int(one_of(rng, [0, 1, 3, 8, 12])) for r in reach]
    return {
        'batch': int(one_of(rng, [0, 1, 1, 2, 3])),
        'channels': channels,
        'outs': outs,
        'kernel': kernel,
        'size': size,
        'out': [(length - r) // s + 1 for length, r, s in zip(size, reach, stride)],
        'options': {
            'stride': tuple(stride),
            'padding': tuple(padding),
            'dilation': tuple(dilation),
            'groups': groups,
            'deform_groups': deform_groups,
        },
    }


def _offsets(rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
    kind = int(rng.integers(4))
    if kind == 0:
        return rng.integers(-3, 4, shape).astype(np.float64)
    if kind == 1:
        return np.zeros(shape)
    return sprinkle(rng, rng.normal(0, one_of(rng, [0.3, 3.0, 50.0]), shape), FAR)


def draw(rng: Generator) -> Call:
    """Draw tensors of a deformable convolution; what requires grad is drawn, too."""
    g = _geometry(rng)
    options = g['options']
    points = options['deform_groups'] * g['kernel'][0] * g['kernel'][1]
    usual = rng.random() < 0.85

    def numbers(*shape: int) -> np.ndarray:
        values = rng.normal(0, 1, shape)
        return values if usual else sprinkle(rng, values, FAR)

    arrays = {
        'input': numbers(g['batch'], g['channels'], *g['size']),
        'offset': _offsets(rng, (g['batch'], 2 * points, *g['out'])),
        'weight': numbers(g['outs'], g['channels'] // options['groups'], *g['kernel']),
        'bias': numbers(g['outs']) if rng.random() < 0.5 else None,
        'mask': numbers(g['batch'], points, *g['out']) if rng.random() < 0.5 else None,
    }
    dtype = one_of(rng, FLOATS)
    arguments: dict[str, Any] = dict(options)
    for name, array in arrays.items():
        if array is None:
            arguments[name] = None
            continue
        tensor = relayout(rng, torch.from_numpy(array).to(dtype))
        arguments[name] = tensor.requires_grad_(rng.random() < 0.5)
    return break_one(rng, arguments, BREAKS, share=0.25)


# ---- breaking ------------------------------------------------------------------------------------


def _break_option(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    far = [2**31, 2**62, -(2**62), -1]
    name = one_of(rng, ['stride', 'padding', 'dilation', 'groups', 'deform_groups'])
    if name in ('groups', 'deform_groups'):
        arguments[name] = one_of(rng, [0, -1, 4 * 7 * 11, 2**62, -(2**62)])
        return (ValueError,)
    value = one_of(rng, [*far, *([] if name == 'padding' else [0])])
    pairs = [value, (value, 1), (1, value), (1, 1, 1), ()]
    arguments[name] = one_of(rng, pairs)
    return (ValueError,)


def _break_shape(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    name = one_of(rng, [name for name in TENSORS if arguments[name] is not None])
    tensor = arguments[name].detach()
    axis = int(rng.integers(0, tensor.dim()))
    if name in ('input', 'weight'):  # other sizes may well fit the rest, other channels do not
        axis = 1
    kind = int(rng.integers(3))
    if kind == 0 and tensor.size(axis) > 0:
        arguments[name] = torch.cat([tensor, tensor.narrow(axis, 0, 1)], axis)
    elif kind < 2:
        arguments[name] = tensor[None]
    else:
        arguments[name] = tensor.reshape(-1) if tensor.dim() > 1 else tensor[:0]
    return (ValueError,)


def _break_type(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    name = one_of(rng, [name for name in TENSORS if arguments[name] is not None])
    tensor = arguments[name].detach()
    others = [torch.int32, torch.complex64, torch.bool]
    others += [dtype for dtype in TOLERANCES if dtype != tensor.dtype]
    arguments[name] = torch.zeros_like(tensor, dtype=one_of(rng, others))
    return (TypeError,)


def _break_kernel(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    """Kernels that are empty, larger than the input, or of a size whose products overflow."""
    weight = arguments['weight'].detach()
    kind = int(rng.integers(3))
    if kind == 0:
        arguments['weight'] = one_of(rng, [weight[:0], weight[:, :, :0], weight[..., :0]])
    else:
        length = one_of(rng, [2000, 2**33 + 1, 2**44])
        arguments['weight'] = weight[:, :, :1, :1].expand(-1, -1, 1, length)
        arguments['dilation'] = one_of(rng, [1, 2**31 - 1])
    return (ValueError,)


def _break_planes(rng: Generator, arguments: dict[str, Any]) -> tuple[type[Exception], ...]:
    """More output positions than can be counted; only an empty batch has tensors for them."""
    points = arguments['deform_groups'] * arguments['weight'][0, 0].numel()
    image = arguments['input'].detach()[:0]
    padding = int(one_of(rng, [2**31 - 1, 2**31 - 2]))
    out = [
        image.shape[2 + i] + 2 * padding - dilation * (arguments['weight'].shape[2 + i] - 1)
        for i, dilation in enumerate(arguments['dilation'])
    ]
    one = torch.zeros(1, dtype=image.dtype)
    arguments |= {
        'input': image,
        'offset': one.expand(0, 2 * points, *out),
        'mask': None,
        'padding': padding,
        'stride': 1,
    }
    return (ValueError,)


BREAKS = (_break_option, _break_shape, _break_type, _break_kernel, _break_planes)


# ---- checking ------------------------------------------------------------------------------------


def run(arguments: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """The result, the gradients of what requires them, and the gradient that they come from."""
    result = polarseg.ops.deform_conv2d(**arguments)
    wanted = _requiring_grad(arguments)
    if not wanted:
        return result, {}, torch.zeros(0)
    # numbers of one sign and size for all calls: a generator would be a second seed
    grad = torch.linspace(-1, 1.3, result.numel()).to(result.dtype).view(result.shape)
    grads = torch.autograd.grad(result, list(wanted.values()), grad)
    return result, dict(zip(wanted, grads)), grad


def _requiring_grad(arguments: dict[str, Any]) -> dict[str, Tensor]:
    tensors = {name: arguments[name] for name in TENSORS if arguments[name] is not None}
    return {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}


def check(arguments: dict[str, Any], results: tuple[Tensor, dict[str, Tensor], Tensor]) -> None:
    """Raise WrongResult where an answer is not right."""
    result, grads, grad = results
    dtype = arguments['input'].dtype
    batch, _, *out = arguments['offset'].shape
    shape = (batch, len(arguments['weight']), *out)
    demand(result.dtype == dtype, f'dtype {result.dtype} instead of {dtype}')
    demand(tuple(result.shape) == shape, f'shape {tuple(result.shape)} instead of {shape}')
    for name, value in grads.items():
        demand(value.dtype == dtype, f'the gradient of {name} is {value.dtype}')
        demand(value.shape == arguments[name].shape, f'the gradient of {name}: {value.shape}')
    tensors = [arguments[n] for n in TENSORS if n != 'offset' and arguments[n] is not None]
    if not all(bool((tensor.detach().abs() < 1e3).all()) for tensor in tensors):
        return
    doubles = {
        name: arguments[name].detach().double().requires_grad_(arguments[name].requires_grad)
        for name in TENSORS
        if arguments[name] is not None
    }
    expected = _reference(arguments, doubles)
    _compare('the result', result.detach(), expected.detach(), TOLERANCES[dtype])
    wanted = {name: doubles[name] for name in grads}
    if not wanted:
        return
    # an input without pixels has no part in the result
    expected = expected + 0 * sum(tensor.sum() for tensor in wanted.values())
    expected_grads = torch.autograd.grad(expected, list(wanted.values()), grad.double())
    for name, value in zip(wanted, expected_grads):
        _compare(f'the gradient of {name}', grads[name], value, TOLERANCES[dtype])


def _compare(name: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
    if expected.numel() == 0:
        return
    error = float((actual.double() - expected).abs().max())
    allowed = tolerance * (1 + float(expected.abs().max()))
    demand(error <= allowed, f'{name} is off by {error}, allowed {allowed}')


def _places(arguments: dict[str, Any], offset: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """``[N, D, K, P]`` places along an axis in the precision of the operator, and their offsets."""
    weight, groups = arguments['weight'], arguments['deform_groups']
    kh, kw = weight.shape[2:]
    batch, _, *out = offset.shape
    planes = offset.reshape(batch, groups, kh * kw, 2, out[0] * out[1])[:, :, :, axis]
    shape = [kh, kw, *out]
    point = torch.arange(shape[axis]).view([-1 if k == axis else 1 for k in range(4)])
    position = torch.arange(shape[2 + axis]).view([-1 if k == 2 + axis else 1 for k in range(4)])
    rest = position * arguments['stride'][axis] - arguments['padding'][axis]
    rest = (rest + point * arguments['dilation'][axis]).expand(shape).reshape(kh * kw, -1)
    precision = torch.float64 if arguments['input'].dtype == torch.float64 else torch.float32
    return (rest.to(precision) + planes.detach().to(precision)).double(), planes


def _reference(arguments: dict[str, Any], doubles: dict[str, Tensor]) -> Tensor:
    image, weight = doubles['input'], doubles['weight']
    batch, channels, height, width = image.shape
    groups, deform_groups = arguments['groups'], arguments['deform_groups']
    (y, dy), (x, dx) = (_places(arguments, doubles['offset'], axis) for axis in range(2))
    counts = (y > -1) & (x > -1) & (y < height) & (x < width)
    fractions, corners = [], []
    for place, change in ((y, dy), (x, dx)):
        place = torch.where(counts, place, 0.0)
        change = torch.where(counts, change, 0.0)
        low = place.floor()
        fractions.append(place - low + change - change.detach())
        corners.append(low.long())
    values = torch.zeros(batch, deform_groups, channels // deform_groups, *y.shape[2:]).double()
    pixels = image.reshape(batch, deform_groups, channels // deform_groups, height * width)
    for down in (0, 1):
        for right in (0, 1):
            row, column = corners[0] + down, corners[1] + right
            inside = counts & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = (fractions[0] if down else 1 - fractions[0]) * (
                fractions[1] if right else 1 - fractions[1]
            )
            if height * width == 0:
                continue
            index = torch.where(inside, row * width + column, 0).flatten(2)[:, :, None]
            index = index.expand(-1, -1, channels // deform_groups, -1)
            read = pixels.gather(3, index).view_as(values)
            values = values + read * torch.where(inside, share, 0.0)[:, :, None]
    if 'mask' in doubles:
        values = values * doubles['mask'].reshape(batch, deform_groups, 1, *y.shape[2:])
    columns = values.reshape(batch, groups, channels // groups, *y.shape[2:])
    kernels = weight.reshape(groups, len(weight) // groups, *weight.shape[1:2], -1)
    sums = torch.einsum('ngckp,gock->ngop', columns, kernels)
    result = sums.reshape(batch, len(weight), *arguments['offset'].shape[2:])
    bias = doubles.get('bias')
    return result if bias is None else result + bias[:, None, None]
