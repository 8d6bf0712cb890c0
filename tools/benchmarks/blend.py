"""Measure BlendMask's blending and mask loss beside plain torch.

python tools/benchmarks/blend.py --threads 1
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import torch
from comparisons import close
from harness import Case, Peer, Subject, main, new_parser
from peers.blend import blended, loss_and_gradients
from torch import Tensor

from polarseg.models import Blender
from polarseg.models.mask_heads.blending import blend_loss

NUM_REGIONS = 40
LOCATIONS = (200, 1000)
DETECTIONS = (100, 1000)
SIZES = dict(num_bases=4, attention_size=14, resolution=56)
QUICK_REGIONS = 3
QUICK_COUNTS = (5, 9)
QUICK_SIZES = dict(num_bases=2, attention_size=4, resolution=8)
TOLERANCE = 1e-5


def make_inputs(count: int, regions: int, blender: Blender, device: str) -> tuple[Tensor, ...]:
    """Pooled bases, attentions, index, targets and weights of locations."""
    generator = torch.Generator().manual_seed(count)
    bases, side, resolution = blender.num_bases, blender.attention_size, blender.resolution
    inputs = (
        torch.randn(regions, bases, resolution, resolution, generator=generator),
        torch.randn(count, bases, side, side, generator=generator),
        torch.randint(0, regions, (count,), generator=generator),
        torch.rand(regions, resolution, resolution, generator=generator) > 0.5,
        torch.rand(count, generator=generator),
    )
    return tuple(one.to(device) for one in inputs)


def prepare_loss(count: int, options: argparse.Namespace) -> Subject:
    """The loss and the gradients of bases and attentions."""
    blender = Blender(**(QUICK_SIZES if options.quick else SIZES)).to(options.device)
    regions = QUICK_REGIONS if options.quick else NUM_REGIONS
    pooled, attentions, *rest = make_inputs(count, regions, blender, options.device)
    trained = pooled.requires_grad_(), attentions.requires_grad_()
    chunk_size = blender._chunk_size(attentions)

    def ours() -> tuple[Tensor, ...]:
        loss = blend_loss(*trained, *rest, blender.matrix, chunk_size=chunk_size)
        return loss.detach(), *torch.autograd.grad(loss, trained)

    peer = Peer(lambda: loss_and_gradients(*trained, *rest), close(TOLERANCE))
    return Subject(ours, {'torch, at once': peer})


def prepare_logits(count: int, options: argparse.Namespace) -> Subject:
    """Logits of detections: pooling and blending."""
    blender = Blender(**(QUICK_SIZES if options.quick else SIZES)).to(options.device)
    generator = torch.Generator().manual_seed(count)
    height, width = (16, 24) if options.quick else (200, 336)
    bases = torch.randn(1, blender.num_bases, height, width, generator=generator)
    attentions = torch.randn(count, blender.attention_channels, generator=generator)
    corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
    boxes = (corners * 4 * torch.tensor([width, height])).flatten(1)
    rois = torch.cat([torch.zeros(count, 1), boxes], dim=1).to(options.device)
    bases, attentions = bases.to(options.device), attentions.to(options.device)
    maps = attentions.unflatten(1, (blender.num_bases, *[blender.attention_size] * 2))

    def ours() -> Tensor:
        with torch.no_grad():
            return blender(bases, attentions, rois)

    def plain() -> Tensor:
        with torch.no_grad():
            return blended(blender.pool(bases, rois), maps)

    return Subject(ours, {'torch, at once': Peer(plain, close(TOLERANCE))})


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    locations = QUICK_COUNTS if options.quick else LOCATIONS
    detections = QUICK_COUNTS if options.quick else DETECTIONS
    losses = [
        Case('BlendMask mask loss', f'{count} locations', partial(prepare_loss, count))
        for count in locations
    ]
    return losses + [
        Case('BlendMask blending', f'{count} detections', partial(prepare_logits, count))
        for count in detections
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    return main(list_cases, new_parser(__doc__), argv)


if __name__ == '__main__':
    sys.exit(run())
