"""The polar representation: angles, decoding of rays to polygons, polar centerness.

PolarMask (arXiv 1909.13226), sections 3.2 to 3.4. Ray k of R has the angle 360 / R * k degrees and
the direction (sin a, cos a) in image coordinates (x right, y down): ray 0 points down, and with 36
rays ray 9 points right, ray 18 up and ray 27 left. Lengths are pixels of the network's input.
"""

import math

import torch
from torch import Tensor

__all__ = ['EMPTY_RAY', 'LONGEST_RAY', 'decode_rays', 'polar_centerness', 'ray_directions']

EMPTY_RAY = 1e-6
"""Length of a ray that meets nothing (float32 pixels)."""

LONGEST_RAY = 1e5
"""Rays are decoded up to this length (pixels)."""


def ray_directions(num_rays: int, device: torch.device | str | None = None) -> Tensor:
    """Unit directions of the rays.

    Args:
        num_rays: number of rays R, at least 3.
        device: where the result lives.

    Returns:
        ``[2, R]`` float32, the row of sines (x) above the row of cosines (y). The angles are
        float32 degrees divided by 180 and multiplied by pi, as published.

    Raises:
        ValueError: if ``num_rays`` is below 3, which is no polygon.
    """
    if num_rays < 3:
        raise ValueError(f'a polygon needs at least 3 rays, got num_rays={num_rays}')
    degrees = torch.arange(num_rays, dtype=torch.float32, device=device) * (360.0 / num_rays)
    angles = degrees / 180 * math.pi
    return torch.stack([torch.sin(angles), torch.cos(angles)])


def decode_rays(points: Tensor, rays: Tensor, img_shape: tuple[int, int] | None = None) -> Tensor:
    """Turn ray lengths at locations into polygons.

    Args:
        points: ``[N, 2]`` x, y of the ray origins, pixels.
        rays: ``[N, R]`` ray lengths, pixels. Longer ones than any picture (of a model that
            diverges, up to infinity) are cut to ``LONGEST_RAY``, so that no vertex is NaN.
        img_shape: (height, width) of the unpadded network input; vertices are clamped to
            [0, width - 1] x [0, height - 1], each by itself (no polygon clipping, as published).
            None leaves them where they are.

    Returns:
        ``[N, R, 2]`` vertices x, y, in the dtype of ``rays``.
    """
    sin, cos = ray_directions(rays.shape[1], rays.device).to(rays.dtype)
    # infinity times a sine of 0 would be NaN
    rays = rays.clamp(max=min(LONGEST_RAY, torch.finfo(rays.dtype).max))
    x = rays * sin + points[:, 0:1]
    y = rays * cos + points[:, 1:2]
    if img_shape is not None:
        height, width = img_shape[:2]
        x = x.clamp(min=0, max=width - 1)
        y = y.clamp(min=0, max=height - 1)
    return torch.stack([x, y], dim=-1)


def polar_centerness(rays: Tensor) -> Tensor:
    """Polar centerness sqrt(min d / max d) of ray targets (section 3.3 of the paper).

    Args:
        rays: ``[N, R]`` non-negative lengths, of which at least one a row is positive. A row of
            zeros gives 0, not NaN.

    Returns:
        ``[N]`` in [0, 1].
    """
    if rays.shape[0] == 0:
        return rays.new_zeros(0)
    longest = rays.amax(dim=1)
    ratio = rays.amin(dim=1) / longest.clamp(min=torch.finfo(rays.dtype).tiny)
    return torch.sqrt(ratio)
