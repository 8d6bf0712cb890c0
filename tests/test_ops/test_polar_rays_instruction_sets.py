"""polar_ray_targets gives the same with every instruction set, bit for bit."""

import numpy as np
import pytest
import torch
from instruction_sets import CAPABILITIES, run_with

from polarseg.ops import polar_ray_targets

SIZES = (0, 1, 7, 8, 9, 16, 100, 199, 200, 700, 1023, 1024, 1025, 2600)
RAYS = (1, 3, 5, 8, 36, 45, 360)
MODES = ('binned', 'exact')
CODE = """
import itertools, sys, torch
from polarseg.ops import polar_ray_targets
arguments, rays, modes = torch.load(sys.argv[1])
every = itertools.product(rays, modes)
torch.save([polar_ray_targets(*arguments, count, mode) for count, mode in every], sys.argv[2])
"""


def make_arguments():
    """Outlines of all sizes, some of them of whole pixels, and what is not a number among them."""
    rng = np.random.default_rng(5)
    contours = []
    for n, size in enumerate(SIZES):
        angles = np.sort(rng.uniform(0, 2 * np.pi, size))
        radii = 200 * (1 + sum(rng.uniform(0, 0.2) * np.cos(k * angles + k) for k in range(1, 7)))
        points = np.stack([radii * np.sin(angles), radii * np.cos(angles)], axis=1)
        points = points.round() if n % 3 else points
        points[rng.random(points.shape) < 0.01] = rng.choice([np.nan, np.inf, -0.0, 1e30, 1e-40])
        contours.append(points.astype(np.float32))
    index = np.arange(len(contours)).repeat(17)
    locations = rng.uniform(-150, 150, (len(index), 2)).round().astype(np.float32)
    offsets = np.cumsum([0, *(len(points) for points in contours)])
    return tuple(map(torch.from_numpy, (np.concatenate(contours), offsets, locations, index)))


@pytest.mark.parametrize('capability', CAPABILITIES)
def test_every_instruction_set_gives_the_same(capability, tmp_path):
    arguments = make_arguments()
    paths = tmp_path / 'case.pt', tmp_path / 'result.pt'
    torch.save((arguments, RAYS, MODES), paths[0])
    run_with(capability, CODE, *paths)
    expected = [polar_ray_targets(*arguments, count, mode) for count in RAYS for mode in MODES]
    assert any((lengths > 1).any() for lengths in expected)
    for actual, wanted in zip(torch.load(paths[1]), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=0)
