"""Mode exact of polar_ray_targets: few rays are some of many.

The operator takes another way where rays are far apart (and the processor has vectors): the lengths
must be the same bit for bit. A power of two times as
many rays include the same directions exactly.
"""

import numpy as np
import pytest
import torch

from polarseg.ops import polar_ray_targets

TIMES = 64
NUM_RAYS = (5, 7, 8, 9, 16, 36, 40, 45, 90, 360)
SIZES = (1, 2, 3, 15, 16, 17, 100, 500, 1023, 1024, 1025, 2500)


def assert_same_lengths(contours, locations, index, num_rays=NUM_RAYS):
    """Rays against every 64th of 64 times as many.

    Args:
        contours: list of ``[P, 2]`` arrays.
        locations: ``[N, 2]`` array.
        index: the contour of each location.
        num_rays: numbers of rays to try.
    """
    points = torch.from_numpy(np.concatenate(contours).astype(np.float32))
    offsets = torch.tensor([0, *np.cumsum([len(contour) for contour in contours])])
    locations = torch.from_numpy(np.asarray(locations, np.float32))
    arguments = points, offsets, locations, torch.as_tensor(index)
    for count in num_rays:
        own = polar_ray_targets(*arguments, count, 'exact')
        many = polar_ray_targets(*arguments, TIMES * count, 'exact')
        torch.testing.assert_close(own, many[:, ::TIMES], rtol=0, atol=0)


def outline(size, rng, radius=200.0):
    """A closed outline that wiggles."""
    angles = np.linspace(0, 2 * np.pi, size, endpoint=False)
    waves = sum(rng.uniform(0, 0.2) * np.cos(k * angles + rng.uniform(0, 6)) for k in range(1, 6))
    return (radius * (1 + waves))[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def seen_from(contours, times, rng, spread=100.0):
    """Locations of whole pixels, and the contour that each sees."""
    index = np.arange(len(contours)).repeat(times)
    return rng.uniform(-spread, spread, (len(index), 2)).round(), index


@pytest.mark.parametrize('whole', [False, True])
def test_outlines_of_all_sizes(whole):
    rng = np.random.default_rng(int(whole))
    contours = [outline(size, rng) for size in SIZES]
    if whole:  # points on rays, duplicates
        contours = [contour.round() for contour in contours]
    assert_same_lengths(contours, *seen_from(contours, 9, rng))


def test_random_polygons_that_cross_themselves():
    rng = np.random.default_rng(2)
    contours = [rng.integers(-20, 21, (size, 2)) for size in SIZES]
    assert_same_lengths(contours, *seen_from(contours, 17, rng, spread=25))


@pytest.mark.parametrize('off', [0.0, 1e-3, 2.0])
@pytest.mark.parametrize('times', [1, 11, 12, 13, 36])
def test_every_edge_crosses_a_ray(times, off):
    """As many points as can be are listed: next to a ray, on either side of it in turn."""
    rng = np.random.default_rng(times)
    contours = []
    for size in (1023, 1024, 1025, 2048):
        degrees = 90.0 * rng.integers(0, 4) + off * (-1.0) ** np.arange(size)
        radii = rng.integers(1, 1000, size)
        radians = np.radians(degrees)
        points = radii[:, None] * np.stack([np.sin(radians), np.cos(radians)], axis=1)
        contours.append(points if off else points.round())  # on the ray to the last digit
    index = np.arange(len(contours)).repeat(times)
    assert_same_lengths(contours, np.zeros((len(index), 2)), index)


@pytest.mark.parametrize('scale', [1e-44, 1e-40, 1e-30, 1e-18, 1e17, 1e19, 1e30, 1e36])
def test_distances_at_both_ends_of_float32(scale):
    rng = np.random.default_rng(3)
    contours = [scale * outline(size, rng, radius=2.0) for size in SIZES]
    locations, index = seen_from(contours, 3, rng, spread=1)
    assert_same_lengths(contours, scale * locations, index)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, 3e38, 0.0, -0.0, 1e-45])
def test_points_that_are_not_like_the_others(bad):
    rng = np.random.default_rng(4)
    contours = [outline(size, rng) for size in SIZES]
    for contour in contours:
        spoilt = rng.random(contour.shape) < 0.05
        spoilt[len(contour) // 2, rng.integers(2)] = True
        contour[spoilt] = bad
    locations, index = seen_from(contours, 5, rng)
    locations[::5] = 0
    assert_same_lengths(contours, locations, index)
