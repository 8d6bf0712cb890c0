"""Mode binned of polar_ray_targets: every number of rays sees the same degrees.

A ray's length depends on its own angle alone, so a few rays are some of many. The operator takes
another way where rays are far apart (and the processor has vectors): the results must be the same
bit for bit, most of all next to the borders of degrees, where its cheap angles cannot tell.
"""

import numpy as np
import pytest
import torch

from polarseg.ops import polar_ray_targets

FAR_APART = (1, 2, 5, 8, 9, 15, 24, 36, 40, 45)
ALL = 360
SIZES = (1, 2, 15, 16, 17, 100, 249, 250, 251, 700, 1023, 1024, 1025, 3000)


def assert_same_degrees(contours, locations, index):
    """Rays far apart against every tenth, say, of 360.

    Args:
        contours: list of ``[P, 2]`` arrays.
        locations: ``[N, 2]`` array.
        index: the contour of each location.
    """
    points = torch.from_numpy(np.concatenate(contours).astype(np.float32))
    offsets = torch.tensor([0, *np.cumsum([len(contour) for contour in contours])])
    locations = torch.from_numpy(np.asarray(locations, np.float32))
    arguments = points, offsets, locations, torch.as_tensor(index)
    every = polar_ray_targets(*arguments, ALL)
    for num_rays in FAR_APART:
        own = polar_ray_targets(*arguments, num_rays)
        torch.testing.assert_close(own, every[:, :: ALL // num_rays], rtol=0, atol=0)


def from_angles(degrees, radii, location):
    radians = np.radians(degrees)
    return location + radii[:, None] * np.stack([np.sin(radians), np.cos(radians)], axis=1)


@pytest.mark.parametrize('off', [0, 1e-6, 1e-5, 1e-4, 4e-4, 6e-4, 1e-3, 2e-2, 6e-2])
def test_points_next_to_borders_of_degrees(off):
    rng = np.random.default_rng(round(1e6 * off))
    location = np.array([0.0, 0.0])
    contours = []
    for size in SIZES:
        degrees = rng.integers(0, 361, size) + rng.choice([-1, 1], size) * off
        contours.append(from_angles(degrees, 10 ** rng.uniform(-2, 4, size), location))
    assert_same_degrees(contours, np.repeat(location[None], len(SIZES), 0), np.arange(len(SIZES)))


@pytest.mark.parametrize('within', [(0, 0), (0.3, 0.7), (1, 1), (1.2, 3.8), (-3, 4)])
@pytest.mark.parametrize('times', [1, 11, 12, 13, 36])
def test_every_point_matters(times, within):
    """As many points as can be are listed: in rays' own degrees, on borders, or only beside."""
    rng = np.random.default_rng(times)
    location = np.array([0.0, 0.0])
    contours = []
    for size in (1023, 1024, 1025, 2048):
        degrees = rng.integers(0, 8, size) * 45 + rng.uniform(*within, size)
        contours.append(from_angles(degrees, 10 ** rng.uniform(0, 3, size), location))
    index = np.arange(len(contours)).repeat(times)
    assert_same_degrees(contours, np.repeat(location[None], len(index), 0), index)


def test_pixels_seen_from_pixels_and_between_them():
    rng = np.random.default_rng(0)
    contours = [rng.integers(0, 2 + size // 10, (size, 2)) for size in SIZES]
    index = np.arange(len(SIZES)).repeat(6)
    inside = [contours[g][rng.integers(len(contours[g]))] for g in index]
    locations = np.array(inside) + rng.choice([0, 0.5, 0.25], (len(index), 2))
    assert_same_degrees(contours, locations, index)


@pytest.mark.parametrize('gap', [3, 11, 25, 100])
def test_rays_that_lack_their_own_degree(gap):
    """Long contours that leave a wedge empty: the rays in it ask their neighbours."""
    rng = np.random.default_rng(gap)
    contours, locations = [], []
    for start in (0, 55.5, 180, 357 - gap):
        location = rng.integers(0, 50, 2)
        degrees = np.linspace(start + gap, start + 360, 2500)
        contours.append(from_angles(degrees, rng.uniform(100, 120, 2500), location))
        locations.append(location)
    assert_same_degrees(contours, locations, np.arange(4))


@pytest.mark.parametrize('scale', [1e-44, 1e-40, 1e-38, 1e-30, 1e-20, 1e18, 1e19, 1e30, 1e38])
@pytest.mark.parametrize('size', [40, 400])
def test_distances_at_both_ends_of_float32(scale, size):
    rng = np.random.default_rng(size)
    degrees = rng.uniform(0, 360, size)
    contour = from_angles(degrees, scale * rng.uniform(1, 3, size), np.zeros(2))
    assert_same_degrees([contour], np.zeros((1, 2)), [0])


@pytest.mark.parametrize('size', [30, 300])
def test_numbers_that_are_not_finite_and_signed_zeros(size):
    rng = np.random.default_rng(size)
    contour = rng.uniform(-30, 30, (size, 2))
    odd = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], (size, 2))
    contour = np.where(rng.random((size, 2)) < 0.2, odd, contour)
    assert_same_degrees([contour], [[0.0, 0.0], [-0.0, -0.0], [3.0, np.inf]], [0, 0, 0])


def test_points_at_the_smallest_distances_beside_others():
    """Their reciprocal overflows, so their cheap angle is not a number."""
    beside = np.arange(2.5, 360, 10).repeat(9)
    degrees = np.concatenate([[0.5], beside])
    radii = np.where(degrees < 1, 7, 1e-40)
    assert_same_degrees([from_angles(degrees, radii, np.zeros(2))], np.zeros((1, 2)), [0])
