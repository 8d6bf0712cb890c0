"""Angles, decoding and centerness of the polar representation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polarseg.ops import polar_ray_targets
from polarseg.structures import (
    PackedContours,
    decode_rays,
    fill_polygon,
    polar_centerness,
    ray_directions,
)
from polarseg.structures.polar import EMPTY_RAY


@pytest.mark.parametrize(
    ('num_rays', 'ray', 'direction'),
    [
        (36, 0, (0, 1)),
        (36, 9, (1, 0)),
        (36, 18, (0, -1)),
        (36, 27, (-1, 0)),
        (18, 3, (math.sqrt(3) / 2, 0.5)),
        (40, 10, (1, 0)),
        (3, 1, (math.sqrt(3) / 2, -0.5)),
    ],
)
def test_directions(num_rays, ray, direction):
    """Ray 0 points down, a quarter further they point right, then up, then left."""
    directions = ray_directions(num_rays)
    assert directions.shape == (2, num_rays)
    assert directions.dtype == torch.float32
    assert directions[:, ray].tolist() == pytest.approx(direction, abs=1e-6)


@pytest.mark.parametrize('num_rays', [2, 0, -1])
def test_too_few_rays(num_rays):
    with pytest.raises(ValueError, match=f'num_rays={num_rays}'):
        ray_directions(num_rays)


def test_decode_rays_down_right_up_left():
    points = torch.tensor([[50.0, 40.0], [10.0, 20.0]])
    rays = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]])
    expected = [
        [[50, 41], [52, 40], [50, 37], [46, 40]],
        [[10, 25], [15, 20], [10, 15], [5, 20]],
    ]
    torch.testing.assert_close(
        decode_rays(points, rays), torch.tensor(expected).float(), atol=1e-5, rtol=0
    )


def test_decode_rays_clamps_each_vertex_to_the_last_pixel():
    polygon = decode_rays(torch.tensor([[50.0, 40.0]]), torch.full((1, 4), 1000.0), (60, 80))[0]
    expected = torch.tensor([[50.0, 59.0], [79.0, 40.0], [50.0, 0.0], [0.0, 40.0]])
    torch.testing.assert_close(polygon, expected, atol=1e-3, rtol=0)


def test_decode_rays_of_nothing_and_in_double():
    assert decode_rays(torch.zeros(0, 2), torch.zeros(0, 36), (60, 80)).shape == (0, 36, 2)
    double = decode_rays(torch.zeros(2, 2).double(), torch.ones(2, 36).double())
    assert double.dtype == torch.float64


def test_decode_rays_has_gradients():
    rays = torch.full((1, 8), 3.0, requires_grad=True)
    decode_rays(torch.zeros(1, 2), rays)[..., 1].sum().backward()
    torch.testing.assert_close(rays.grad[0], ray_directions(8)[1])


def test_polar_centerness():
    rays = torch.tensor([[2.0, 2.0, 2.0], [1.0, 4.0, 2.0], [0.0, 3.0, 3.0], [EMPTY_RAY, 1.0, 1.0]])
    expected = [1.0, 0.5, 0.0, math.sqrt(EMPTY_RAY)]
    assert polar_centerness(rays).tolist() == pytest.approx(expected)


def test_polar_centerness_of_zeros_is_zero_and_of_nothing_is_empty():
    assert polar_centerness(torch.zeros(2, 36)).tolist() == [0, 0]
    assert polar_centerness(torch.zeros(0, 36)).shape == (0,)


def rays_to(outline, origin, num_rays=360):
    packed = PackedContours.from_list([outline])
    origin = torch.tensor([list(map(float, origin))])
    return polar_ray_targets(
        packed.points,
        packed.offsets,
        origin,
        torch.zeros(1, dtype=torch.long),
        num_rays,
        'exact',
    )


def overlap(first, second):
    """IoU at eight times the size, where the outline's own pixels hardly count."""
    masks = [fill_polygon(outline * 8, 1024, 1024).astype(bool) for outline in (first, second)]
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


@settings(max_examples=60, deadline=None)
@given(radii=st.lists(st.floats(15, 45), min_size=3, max_size=12), turn=st.floats(0, 6.28))
def test_rays_of_a_star_convex_polygon_give_it_back(radii, turn):
    angles = turn + 2 * math.pi * np.arange(len(radii)) / len(radii)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * np.array(radii)[:, None] + 64
    rays = rays_to(outline, (64, 64))
    decoded = decode_rays(torch.tensor([[64.0, 64.0]]), rays)[0].numpy()
    assert overlap(outline, decoded) > 0.97


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(st.floats(0, 0.8), min_size=4, max_size=12),
    weights=st.lists(st.floats(0.3, 1), min_size=12, max_size=12),
)
def test_rays_of_a_convex_polygon_from_any_point_inside(corners, weights):
    angles = (np.arange(len(corners)) + corners) * 2 * math.pi / len(corners)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * 50 + 64
    inside = np.average(outline, axis=0, weights=weights[: len(outline)])
    decoded = decode_rays(torch.tensor(inside)[None].float(), rays_to(outline, inside, 720))
    assert overlap(outline, decoded[0].numpy()) > 0.95


def test_few_rays_lose_detail():
    """The bound that the number of rays sets: more of them come nearer to a wavy outline."""
    angles = np.linspace(0, 2 * math.pi, 360, endpoint=False)
    radii = 40 + 8 * np.cos(11 * angles)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + 64
    found = []
    for num_rays in (18, 36, 72):
        rays = rays_to(outline, (64, 64), num_rays)
        found.append(overlap(outline, decode_rays(torch.tensor([[64.0, 64.0]]), rays)[0].numpy()))
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.95


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_infinite_rays_end_at_the_border(dtype):
    rays = torch.full((1, 4), float('inf'), dtype=dtype)
    vertices = decode_rays(torch.tensor([[30.0, 20.0]], dtype=dtype), rays, (40, 60))
    expected = torch.tensor([[30, 39], [59, 20], [30, 0], [0, 20]], dtype=dtype)
    torch.testing.assert_close(vertices[0], expected, atol=100 * torch.finfo(dtype).eps, rtol=1e-2)
