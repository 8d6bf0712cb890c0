"""Ray lengths in Python and torch, written from the rules in ``polar_ray_targets``' docstring.

All functions take finite contours and return ``[N, R]`` float32 lengths. Their arguments are the
operator's.
"""

import math

import torch
from torch import Tensor

__all__ = ['loop_binned', 'vectorised_binned', 'vectorised_exact']

EMPTY = 1e-6
SHIFTS = (0, 1, -1, 2, -2, 3, -3)
REACH = 3


def degrees_and_lengths(difference: Tensor) -> tuple[Tensor, Tensor]:
    """Angle in degrees from 0 on, and length, of ``[..., 2]`` float32 differences."""
    dx, dy = difference.unbind(dim=-1)
    degrees = torch.atan2(dx, dy) * 180 / math.pi
    degrees = torch.where(degrees < 0, degrees + 360, degrees)
    return degrees, torch.sqrt(dx**2 + dy**2)


def loop_binned(
    contours: Tensor, offsets: Tensor, locations: Tensor, instance_index: Tensor, num_rays: int = 36
) -> Tensor:
    """Mode ``binned`` as research code does it.

    A Python loop over the positives; torch for the contour's angles and lengths; a Python loop over
    the rays and over the seven bins that may answer, each asked by a tensor comparison.
    """
    starts = offsets.tolist()
    rays = locations.new_full((len(locations), num_rays), EMPTY)
    for row, instance in enumerate(instance_index.tolist()):
        contour = contours[starts[instance] : starts[instance + 1]]
        degrees, lengths = degrees_and_lengths(contour - locations[row])
        bins = degrees.int()
        for ray in range(num_rays):
            rays[row, ray] = longest_near(ray * (360 // num_rays), bins, lengths)
    return rays


def longest_near(angle: int, bins: Tensor, lengths: Tensor) -> Tensor | float:
    """The longest point of the first bin near a whole angle that holds any."""
    for shift in SHIFTS:
        hits = lengths[bins == angle + shift]
        if len(hits):
            return hits.max()
    return EMPTY


def vectorised_binned(
    contours: Tensor, offsets: Tensor, locations: Tensor, instance_index: Tensor, num_rays: int = 36
) -> Tensor:
    """Mode ``binned`` with one round of torch calls for each instance.

    The longest point of each of the 361 degrees of all the instance's positives by
    ``scatter_reduce``, then the seven look-ups of all rays. Bins are padded by three on both sides,
    because degrees do not wrap around.
    """
    rays = locations.new_full((len(locations), num_rays), EMPTY)
    angles = torch.arange(0, 360, 360 // num_rays, device=locations.device) + REACH
    starts = offsets.tolist()
    for instance in instance_index.unique().tolist():
        rows = (instance_index == instance).nonzero(as_tuple=True)[0]
        contour = contours[starts[instance] : starts[instance + 1]]
        degrees, lengths = degrees_and_lengths(contour - locations[rows, None])
        longest = locations.new_full((len(rows), 361 + 2 * REACH), -1)
        longest.scatter_reduce_(1, degrees.long() + REACH, lengths, 'amax')
        found = longest.new_full((len(rows), num_rays), -1)
        for shift in SHIFTS:
            found = torch.where(found < 0, longest[:, angles + shift], found)
        rays[rows] = torch.where(found < 0, EMPTY, found)
    return rays


def vectorised_exact(
    contours: Tensor, offsets: Tensor, locations: Tensor, instance_index: Tensor, num_rays: int = 36
) -> Tensor:
    """Mode ``exact`` with one round of torch calls for each instance, in float64.

    Every ray meets every edge: an edge whose ends lie on different sides of the ray crosses its
    line, a vertex on the line touches it, and the farthest meeting point ahead counts.
    """
    rays = locations.new_full((len(locations), num_rays), EMPTY)
    turns = torch.arange(num_rays, device=locations.device, dtype=torch.float64) / num_rays
    sines, cosines = (2 * math.pi * turns).sin(), (2 * math.pi * turns).cos()
    starts = offsets.tolist()
    for instance in instance_index.unique().tolist():
        rows = (instance_index == instance).nonzero(as_tuple=True)[0]
        contour = contours[starts[instance] : starts[instance + 1]].double()
        x, y = (contour - locations[rows, None].double()).unbind(dim=-1)
        if x.shape[1] == 0:
            continue
        across = x[:, None] * cosines[:, None] - y[:, None] * sines[:, None]  # [K, R, P]
        along = x[:, None] * sines[:, None] + y[:, None] * cosines[:, None]
        # a vertex that is on the line but for rounding
        across = torch.where(across.abs() < 1e-12, 0.0, across)
        before, along_before = across.roll(1, dims=2), along.roll(1, dims=2)
        crossing = before * across < 0
        share = before / torch.where(crossing, before - across, 1.0)
        meeting = along_before + share * (along - along_before)
        meeting = torch.where(crossing, meeting, torch.where(across == 0, along, -1.0))
        rays[rows] = meeting.amax(dim=2).clamp(min=EMPTY).float()
    return rays
