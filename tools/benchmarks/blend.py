"""Measure BlendMask's attention, blending and mask loss beside plain torch.

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
from polarseg.models.dense_heads.dense_outputs import flatten_levels
from polarseg.models.dense_heads.top_layer import TopLayer
from polarseg.models.mask_heads.blending import blend_loss

NUM_REGIONS = 40
LOCATIONS = (200, 1000)
DETECTIONS = (100, 1000)
SIZES = dict(num_bases=4, attention_size=14, resolution=56)
ATTENDED = (100, 1000)
CHANNELS = 256
# P3 to P7 of an 800 x 1333 picture, padded to 32
LEVELS = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
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


def prepare_attention(count: int, options: argparse.Namespace) -> Subject:
    """The attention of some locations of a picture; the peer convolves the whole maps."""
    generator = torch.Generator().manual_seed(count)
    channels, levels = (8, ((6, 9), (3, 5))) if options.quick else (CHANNELS, LEVELS)
    layer = TopLayer(channels, 16 if options.quick else 784).to(options.device)
    feats = [torch.randn(1, channels, *size, generator=generator) for size in levels]
    feats = [feat.to(options.device) for feat in feats]
    locations = sum(height * width for height, width in levels)
    index = torch.randint(0, locations, (count,), generator=generator).to(options.device)

    def ours() -> Tensor:
        with torch.no_grad():
            return layer.at(feats, index)

    def everywhere() -> Tensor:
        with torch.no_grad():
            return flatten_levels([layer(feat) for feat in feats])[index]

    return Subject(ours, {'torch, whole maps': Peer(everywhere, close(TOLERANCE))})


def list_cases(options: argparse.Namespace) -> list[Case]:
    """All cases."""
    locations = QUICK_COUNTS if options.quick else LOCATIONS
    detections = QUICK_COUNTS if options.quick else DETECTIONS
    losses = [
        Case('BlendMask mask loss', f'{count} locations', partial(prepare_loss, count))
        for count in locations
    ]
    attended = QUICK_COUNTS if options.quick else ATTENDED
    attentions = [
        Case('BlendMask attention', f'{count} locations', partial(prepare_attention, count))
        for count in attended
    ]
    return (
        losses
        + attentions
        + [
            Case('BlendMask blending', f'{count} detections', partial(prepare_logits, count))
            for count in detections
        ]
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status."""
    return main(list_cases, new_parser(__doc__), argv)


if __name__ == '__main__':
    sys.exit(run())
