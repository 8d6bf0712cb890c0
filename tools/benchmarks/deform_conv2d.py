"""Measure deform_conv2d beside mmcv and, where it can be imported, torchvision.

    python tools/benchmarks/deform_conv2d.py --threads 2
    python tools/benchmarks/deform_conv2d.py --device cuda --dtype float16

Rows named "backward" are the gradients of input, offset, mask, weight and bias from a graph made
beforehand.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from comparisons import close
from harness import Case, Peer, Subject, main, new_parser
from peers import deform_conv2d as peers
from torch import Tensor

from polarseg.ops import deform_conv2d

# channels, height, width: C3 to C5 of a ResNet on an 800 x 1344 picture, and a head's tower
SIZES = ((128, 100, 168), (256, 50, 84), (512, 25, 42), (256, 100, 168))
V1_SIZE = (256, 50, 84)
QUICK_SIZES = ((8, 6, 10), (4, 9, 7))
QUICK_V1_SIZE = (4, 6, 5)
DTYPES = ('float32', 'float16', 'bfloat16')
TOLERANCES = {'float32': 1e-5, 'float16': 1e-2, 'bfloat16': 1e-2}


def ours(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """The operator under the peers' signature."""
    return deform_conv2d(input, offset, weight, bias, padding=peers.PADDING, mask=mask)


def make_inputs(
    size: tuple[int, int, int], modulated: bool, device: str, dtype: torch.dtype
) -> list[Tensor | None]:
    """Input, offset, mask, weight, bias of a 3 x 3 convolution that keeps size and channels.

    Offsets are normal with a deviation of 2 pixels, so that samples spread over the neighbourhood
    and some fall outside the map.
    """
    channels, height, width = size
    generator = torch.Generator().manual_seed(channels + height + width)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tensors = [
        normal(1, channels, height, width),
        2 * normal(1, 18, height, width),
        normal(1, 9, height, width).sigmoid() if modulated else None,
        normal(channels, channels, 3, 3) / (9 * channels) ** 0.5,
        normal(channels) if modulated else None,
    ]
    return [None if one is None else one.to(device, dtype).requires_grad_() for one in tensors]


def differentiable(tensors: Sequence[Tensor | None]) -> list[Tensor]:
    """Those inputs that are there."""
    return [one for one in tensors if one is not None]


def forward(function: Callable[..., Tensor], tensors: list[Tensor | None]) -> Callable[[], Tensor]:
    """The layer without a graph, as at inference."""

    def run() -> Tensor:
        with torch.no_grad():
            return function(*tensors)

    return run


def backward(
    function: Callable[..., Tensor], tensors: list[Tensor | None]
) -> Callable[[], tuple[Tensor, ...]]:
    """All gradients, from a graph that is kept."""
    output = function(*tensors)
    weights = cotangent(output)

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(output, differentiable(tensors), weights, retain_graph=True)

    return run


def both(
    function: Callable[..., Tensor], tensors: list[Tensor | None]
) -> Callable[[], tuple[Tensor, ...]]:
    """A training step's share: output with graph, then all gradients."""
    with torch.no_grad():
        weights = cotangent(function(*tensors))

    def run() -> tuple[Tensor, ...]:
        output = function(*tensors)
        return output, *torch.autograd.grad(output, differentiable(tensors), weights)

    return run


def cotangent(output: Tensor) -> Tensor:
    """The gradient that comes from above."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(output.shape, generator=generator).to(output)


DIRECTIONS = {'forward': forward, 'backward': backward, 'forward and backward': both}


def prepare(
    size: tuple[int, int, int], modulated: bool, direction: str, options: argparse.Namespace
) -> Subject:
    """One direction at one size."""
    tensors = make_inputs(size, modulated, options.device, getattr(torch, options.dtype))
    direct = DIRECTIONS[direction]
    compare = close(TOLERANCES[options.dtype])
    # mmcv has no bfloat16 kernels
    others = (
        {'mmcv, in float32': peers.mmcv_float32}
        if options.dtype == 'bfloat16'
        else {'mmcv': peers.mmcv}
    )
    if peers.torchvision is not None:
        others['torchvision'] = peers.torchvision
    return Subject(
        direct(ours, tensors),
        {name: Peer(direct(function, tensors), compare) for name, function in others.items()},
    )


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    directions = ['forward', 'backward']
    if options.device == 'cuda':
        directions.append('forward and backward')
    sizes, v1_size = (QUICK_SIZES, QUICK_V1_SIZE) if options.quick else (SIZES, V1_SIZE)
    layers = [(size, True) for size in sizes] + [(v1_size, False)]
    return [
        Case(
            'deform_conv2d',
            f'v{2 if modulated else 1} {size[0]} @ {size[1]}x{size[2]} {direction}',
            partial(prepare, size, modulated, direction),
        )
        for size, modulated in layers
        for direction in directions
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    parser = new_parser(__doc__)
    parser.add_argument(
        '--dtype', choices=DTYPES, default='float32', help='half types need --device cuda'
    )

    def checked_cases(options: argparse.Namespace) -> list[Case]:
        if options.dtype != 'float32' and options.device == 'cpu':
            parser.error(f'--dtype {options.dtype} needs --device cuda')
        return list_cases(options)

    return main(checked_cases, parser, argv, peers.ABSENT)


if __name__ == '__main__':
    sys.exit(run())
