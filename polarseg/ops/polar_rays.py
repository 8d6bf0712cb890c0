"""Ray lengths from locations to instance contours (PolarMask, arXiv 1909.13226)."""

import torch
from torch import Tensor

# the overload itself: its packet would look for the one that fits at every call
_operator = torch.ops.polarseg.polar_ray_targets.default


def polar_ray_targets(
    contours: Tensor,
    offsets: Tensor,
    locations: Tensor,
    instance_index: Tensor,
    num_rays: int = 36,
    mode: str = 'binned',
) -> Tensor:
    """Length of every ray from each location to the contour of its instance.

    Ray ``k`` of ``R`` leaves the location at the angle ``a = 360 / R * k`` degrees in the direction
    ``(sin a, cos a)``, x to the right and y down: ray 0 points down, a quarter of the rays further
    they point right, then up, then left. A ray that meets nothing has the length 1e-6.

    ``mode='binned'`` is the rule with which the published models were trained. A contour point
    belongs to the whole degree below its angle, and a ray takes the longest point of the first
    non-empty degree among i, i+1, i-1, i+2, i-2, i+3, i-3, where i is the ray's own degree; degrees
    do not wrap around. It means dense contours (every border pixel) and leaves rays empty where the
    points of a small object are more than three degrees apart. All arithmetic is float32.

    ``mode='exact'`` is the farthest intersection of the ray with the edges of the closed polygon
    (the last point is joined to the first). It takes sparse polygons and dense contours alike. From
    a location strictly inside, every ray has a positive length.

    In degenerate cases, ``exact`` behaves as follows. One point, or a point that the outline merely
    touches, is met by a ray that passes through it exactly. Points on one line behave as the
    segments between them. A location on a vertex does not see the two edges that end there, one on
    an edge does not see that edge; what else the ray meets counts. Edges of length zero change
    nothing.

    Contours without points give 1e-6 for every ray. A contour point that is not finite is left out
    (``exact``: with its two edges), and from a location that is not finite nothing is met.

    The result is a training target, not a function to differentiate: it never requires grad.

    Args:
        contours: (P, 2) float32, x and y in pixels of the contour points of all instances, one
            instance after the other.
        offsets: (G + 1,) int64 or int32. Points ``offsets[g]`` to ``offsets[g + 1] - 1`` belong to
            instance g; begins with 0, does not decrease, ends with P.
        locations: (N, 2) float32, x and y in the same pixels.
        instance_index: (N,) int64 or int32, the instance of each location, in [0, G).
        num_rays: R, at least 1; in mode ``binned`` a divisor of 360.
        mode: ``binned`` or ``exact``.

    Returns:
        (N, R) float32 lengths in pixels, on the device of the arguments. In mode ``binned`` a
        length is 0 if the only points that count coincide with the location; in mode ``exact`` it
        is never below 1e-6.

    Raises:
        TypeError: if a tensor has another dtype.
        ValueError: if shapes or devices do not fit together, ``offsets`` is not as described, the
            mode is unknown, or ``num_rays`` does not suit it.
        IndexError: if an entry of ``instance_index`` names no instance.

    On CUDA the values of ``offsets`` and ``instance_index`` are checked by the kernel, so that the
    call does not wait for the device: a bad value prints a sentence and stops the kernel, which
    surfaces as a CUDA error at the next synchronisation, as it does for torch's own indexing.
    """
    return _operator(contours, offsets, locations, instance_index, num_rays, mode)


def _check(
    contours: Tensor,
    offsets: Tensor,
    locations: Tensor,
    instance_index: Tensor,
    num_rays: int,
    mode: str,
) -> None:
    """Refuse while tracing what the compiled operator would refuse without looking at values."""

    def demand(condition: bool, sentence: str, error: type[Exception] = ValueError) -> None:
        if not condition:
            raise error(f'polar_ray_targets: {sentence}')

    demand(mode in ('binned', 'exact'), f"mode must be 'binned' or 'exact', got '{mode}'.")
    demand(1 <= num_rays <= 2**20, f'num_rays must be between 1 and {2**20}, got {num_rays}.')
    demand(
        mode == 'exact' or 360 % num_rays == 0,
        f"num_rays must divide 360 in mode 'binned', got {num_rays}.",
    )
    for name, points in (('contours', contours), ('locations', locations)):
        demand(
            points.dtype == torch.float32,
            f'{name} must be float32, got {points.dtype}.',
            TypeError,
        )
        demand(
            points.dim() == 2 and points.shape[1] == 2,
            f'{name} must have shape (n, 2), got {tuple(points.shape)}.',
        )
    for name, integers in (('offsets', offsets), ('instance_index', instance_index)):
        demand(
            integers.dtype in (torch.int64, torch.int32),
            f'{name} must be int64 or int32, got {integers.dtype}.',
            TypeError,
        )
        demand(integers.dim() == 1, f'{name} must have one dimension.')
    for name, tensor in (
        ('offsets', offsets),
        ('locations', locations),
        ('instance_index', instance_index),
    ):
        demand(
            tensor.device == contours.device,
            f'{name} is on {tensor.device} but contours is on {contours.device}.',
        )
    torch._check_value(
        offsets.shape[0] >= 1, lambda: 'polar_ray_targets: offsets must not be empty.'
    )
    torch._check_value(
        instance_index.shape[0] == locations.shape[0],
        lambda: 'polar_ray_targets: instance_index must have one entry for each location.',
    )


@torch.library.register_fake('polarseg::polar_ray_targets')
def _fake(
    contours: Tensor,
    offsets: Tensor,
    locations: Tensor,
    instance_index: Tensor,
    num_rays: int = 36,
    mode: str = 'binned',
) -> Tensor:
    """Shape, dtype and device of the result, for tracing without data."""
    _check(contours, offsets, locations, instance_index, num_rays, mode)
    return locations.new_empty((locations.shape[0], num_rays))
