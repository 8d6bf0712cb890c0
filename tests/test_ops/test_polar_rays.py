"""polar_ray_targets against the published rule and against geometry, both written anew here."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polarseg.ops import polar_ray_targets

EMPTY = np.float32(1e-6)


# ---- references ----------------------------------------------------------------------------------


def degree_bins(dx, dy):
    """Whole degree of float32 differences by the published float32 steps."""
    # padded: torch takes the last few elements of a tensor through another, scalar, atan2
    padding = np.zeros(64, np.float32)
    padded = [torch.from_numpy(np.concatenate([part, padding])) for part in (dx, dy)]
    degrees = torch.atan2(*padded)[: len(dx)] * 180 / math.pi
    degrees = torch.where(degrees < 0, degrees + 360, degrees)
    assert degrees.dtype == torch.float32
    return degrees.int().long().numpy()


def binned_reference(contour, location, num_rays):
    difference = contour.astype(np.float32) - location.astype(np.float32)
    dx, dy = difference[:, 0], difference[:, 1]
    # torch's root: on a CPU it may be a unit in the last place off numpy's, as the operator's is
    lengths = torch.sqrt(torch.from_numpy(dx * dx + dy * dy)).numpy()
    bins = degree_bins(dx, dy)
    rays = np.full(num_rays, EMPTY)
    for k, angle in enumerate(range(0, 360, 360 // num_rays)):
        for shift in (0, 1, -1, 2, -2, 3, -3):
            hits = lengths[bins == angle + shift]
            if hits.size:
                rays[k] = hits.max()
                break
    return rays


def exact_reference(contour, location, num_rays):
    """Farthest intersection by testing every ray with every edge, in float64."""
    p = contour.astype(np.float64) - location.astype(np.float64)
    q = np.roll(p, -1, axis=0)
    rays = np.full(num_rays, float(EMPTY))
    for k in range(num_rays):
        angle = 2 * math.pi * k / num_rays
        along = np.array([math.sin(angle), math.cos(angle)])
        across = np.array([math.cos(angle), -math.sin(angle)])
        side_p, side_q = p @ across, q @ across
        side_p[np.abs(side_p) < 1e-12] = 0
        side_q[np.abs(side_q) < 1e-12] = 0
        crossing = side_p * side_q < 0
        share = side_p[crossing] / (side_p[crossing] - side_q[crossing])
        hits = (p[crossing] + share[:, None] * (q - p)[crossing]) @ along
        touching = (p @ along)[side_p == 0]
        rays[k] = max([rays[k], *hits, *touching])
    return rays


# ---- helpers -------------------------------------------------------------------------------------


def rays_of(contour, locations, num_rays=36, mode='binned', device='cpu'):
    """Rays of one contour from several locations, as numpy."""
    contour = torch.as_tensor(np.asarray(contour), dtype=torch.float32).reshape(-1, 2)
    locations = torch.as_tensor(np.asarray(locations), dtype=torch.float32).reshape(-1, 2)
    rays = polar_ray_targets(
        contour.to(device),
        torch.tensor([0, len(contour)], device=device),
        locations.to(device),
        torch.zeros(len(locations), dtype=torch.int64, device=device),
        num_rays,
        mode,
    )
    assert rays.shape == (len(locations), num_rays)
    assert rays.dtype == torch.float32
    return rays.cpu().numpy()


def ellipse(cx, cy, rx, ry, num=200):
    t = np.linspace(0, 2 * np.pi, num, endpoint=False)
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], 1).astype(np.float32)


def border_pixels(cx, cy, rx, ry):
    """Integer points round an ellipse, as a traced contour has them (repetitions included)."""
    return np.rint(ellipse(cx, cy, rx, ry, num=int(8 * (rx + ry))))


def random_batch(seed, num_instances=7, num_locations=60):
    """Random polygons of 1 to 40 points, locations anywhere, all four tensors."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 40, (num_instances,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    contours = torch.rand(int(offsets[-1]), 2, generator=generator) * 100
    locations = torch.rand(num_locations, 2, generator=generator) * 100
    index = torch.randint(0, num_instances, (num_locations,), generator=generator)
    return contours, offsets, locations, index


def split(contours, offsets, locations, index):
    """The contour and the location of each row, as numpy."""
    for location, g in zip(locations.numpy(), index.tolist()):
        yield contours[offsets[g] : offsets[g + 1]].numpy(), location


# ---- convention ----------------------------------------------------------------------------------


@pytest.mark.parametrize('mode', ['binned', 'exact'])
def test_ray_zero_points_down_and_ray_nine_right(mode):
    square = [[13, 10], [13, 24], [6, 24], [6, 10]]
    dense = [[x, y] for x in range(6, 14) for y in range(10, 25) if x in (6, 13) or y in (10, 24)]
    rays = rays_of(square if mode == 'exact' else dense, [[10, 20]], mode=mode)[0]
    assert rays[[0, 9, 18, 27]].tolist() == [4, 3, 10, 4]


# ---- mode binned ---------------------------------------------------------------------------------


@pytest.mark.parametrize('num_rays', [1, 4, 18, 24, 36, 72, 90, 120, 180, 360])
def test_binned_follows_the_published_rule_bit_for_bit(num_rays):
    contour = border_pixels(120, 90, 37, 61)
    locations = np.array([[120, 90], [100, 60], [84, 32], [200, 200], [120, 151], [119.5, 90.25]])
    rays = rays_of(contour, locations, num_rays)
    for row, location in zip(rays, locations):
        np.testing.assert_array_equal(row, binned_reference(contour, location, num_rays))


@pytest.mark.parametrize('num_rays', [36, 360])
def test_binned_of_random_polygons_bit_for_bit(num_rays):
    batch = random_batch(seed=3)
    rays = polar_ray_targets(*batch, num_rays).numpy()
    for row, (contour, location) in zip(rays, split(*batch)):
        np.testing.assert_array_equal(row, binned_reference(contour, location, num_rays))


def correctly_rounded_bins(dx, dy):
    """As degree_bins, with an arc tangent that is rounded once from double."""
    radians = np.arctan2(dx.astype(np.float64), dy.astype(np.float64)).astype(np.float32)
    degrees = radians * np.float32(180) / np.float32(math.pi)
    degrees = np.where(degrees < 0, degrees + np.float32(360), degrees)
    return np.where((dx == dy) & (dx > 0), 44, degrees.astype(np.int64))


def assert_bins(points, bins_of=degree_bins):
    """Each point as a contour of its own: which of 360 rays see it tells its bin."""
    num = len(points)
    rays = polar_ray_targets(
        torch.from_numpy(points),
        torch.arange(num + 1),
        torch.zeros(num, 2),
        torch.arange(num),
        360,
    ).numpy()
    bins = bins_of(points[:, 0], points[:, 1])
    expected = np.abs(np.arange(360)[None] - bins[:, None]) <= 3
    np.testing.assert_array_equal(rays != EMPTY, expected)


def test_bin_of_every_integer_offset():
    y, x = np.mgrid[-60:61, -60:61].astype(np.float32)
    assert_bins(np.stack([x.ravel(), y.ravel()], 1))


def test_bin_of_offsets_next_to_whole_degrees():
    degrees = np.arange(0, 360, 0.5)[:, None] + np.array([-3e-3, -1e-3, -1e-5, 0, 1e-5, 1e-3, 3e-3])
    angles = np.radians(degrees.ravel())
    points = np.stack([np.sin(angles), np.cos(angles)], 1) * 731.25
    # so near a border torch's own atan2 is a matter of its last bit; ours is rounded once
    assert_bins(points.astype(np.float32), correctly_rounded_bins)


def test_angle_just_below_zero_falls_into_bin_360():
    # -1e-7 of a degree plus 360 is 360 in float32: no ray of 36 looks there, rays 357 to 359 do.
    point = [[-1e-6, 900.0]]
    assert (rays_of(point, [[0, 0]]) == EMPTY).all()
    seen = rays_of(point, [[0, 0]], num_rays=360)[0] != EMPTY
    assert np.flatnonzero(seen).tolist() == [357, 358, 359]


def test_bins_do_not_wrap_around():
    angle = math.radians(358.5)
    point = [[50 * math.sin(angle), 50 * math.cos(angle)]]
    assert (rays_of(point, [[0, 0]]) == EMPTY).all()


def test_first_non_empty_bin_wins_and_in_it_the_longest():
    def at(degrees, length):
        return [length * math.sin(math.radians(degrees)), length * math.cos(math.radians(degrees))]

    contour = [at(91.5, 3), at(91.4, 5), at(89.5, 50), at(92.5, 70), at(86.5, 90)]
    assert rays_of(contour, [[0, 0]])[0, 9] == pytest.approx(5)  # bin 91 comes before 89
    assert rays_of(contour[2:], [[0, 0]])[0, 9] == pytest.approx(50)  # 89 before 92
    assert rays_of(contour[3:], [[0, 0]])[0, 9] == pytest.approx(70)  # 92 before 86
    assert rays_of(contour[4:], [[0, 0]])[0, 9] == EMPTY  # 86 is not looked at


def test_point_on_the_location_has_length_zero():
    rays = rays_of([[4, 4]], [[4, 4]])[0]
    assert rays[0] == 0
    assert (rays[1:] == EMPTY).all()


# ---- mode exact ----------------------------------------------------------------------------------


@pytest.mark.parametrize('num_rays', [1, 2, 3, 5, 7, 36, 37, 360, 5000])
def test_exact_agrees_with_brute_force(num_rays):
    batch = random_batch(seed=num_rays, num_locations=20 if num_rays > 1000 else 60)
    rays = polar_ray_targets(*batch, num_rays, 'exact').numpy()
    for row, (contour, location) in zip(rays, split(*batch)):
        expected = exact_reference(contour, location, num_rays)
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)


def test_exact_distances_in_a_rectangle():
    rays = rays_of([[0, 0], [40, 0], [40, 30], [0, 30]], [[25, 12]], 36, 'exact')[0]
    for k, length in enumerate(rays):
        sine, cosine = math.sin(math.radians(10 * k)), math.cos(math.radians(10 * k))
        to_side = (15 if sine > 0 else 25) / max(abs(sine), 1e-12)
        to_edge = (18 if cosine > 0 else 12) / max(abs(cosine), 1e-12)
        assert length == pytest.approx(min(to_side, to_edge), rel=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.floats(20, 500), min_size=36, max_size=36),
    x=st.integers(0, 1000),
    y=st.integers(0, 1000),
)
def test_star_sampled_at_the_rays_is_recovered(lengths, x, y):
    angles = np.radians(10 * np.arange(36))
    lengths = np.array(lengths)
    star = np.stack([x + lengths * np.sin(angles), y + lengths * np.cos(angles)], 1)
    rays = rays_of(star, [[x, y]], 36, 'exact')[0]
    np.testing.assert_allclose(rays, lengths, rtol=1e-4, atol=1e-3)


# Lattice points lie on rays again and again, exactly (multiples of 45 degrees) or almost.
lattice_stars = st.lists(
    st.tuples(st.integers(-12, 12), st.integers(-12, 12)).filter(lambda p: p != (0, 0)),
    min_size=3,
    max_size=24,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(points=lattice_stars, num_rays=st.sampled_from([1, 2, 4, 8, 24, 36, 72, 360]))
def test_no_ray_slips_out_between_two_edges(points, num_rays):
    star = np.array(sorted(points, key=lambda p: math.atan2(*p)), dtype=np.float64)
    angles = np.arctan2(star[:, 0], star[:, 1])
    gaps = np.diff(np.append(angles, angles[0] + 2 * math.pi))
    if gaps.max() > math.pi - 1e-3:
        star = np.concatenate([[[-20, -20]], [[-20, 20]], [[20, 20]], [[20, -20]]])
    rays = rays_of(star + np.array([30, 40]), [[30, 40]], num_rays, 'exact')[0]
    assert (rays > 1e-2).all()
    np.testing.assert_allclose(rays, exact_reference(star, np.zeros(2), num_rays), rtol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(scale=st.sampled_from([2.0, 0.25, 1024.0]), shift=st.integers(-512, 512))
def test_scaling_scales_and_translation_changes_nothing(scale, shift):
    contour = border_pixels(64, 50, 30, 21)
    locations = np.array([[64, 50], [50, 44], [10, 90]], dtype=np.float32)
    rays = rays_of(contour, locations, 36, 'exact')
    scaled = rays_of(contour * scale, locations * scale, 36, 'exact')
    np.testing.assert_array_equal(scaled, np.where(rays > 2 * EMPTY, rays * scale, EMPTY))
    np.testing.assert_array_equal(
        rays_of(contour + shift, locations + shift, 36, 'exact'),
        rays,
    )


def test_rotating_by_one_step_rolls_the_rays():
    generator = np.random.default_rng(5)
    contour = generator.uniform(-80, 80, (30, 2))
    angle = math.radians(10)
    sine, cosine = math.sin(angle), math.cos(angle)
    turned = contour @ np.array([[cosine, -sine], [sine, cosine]])
    rays = rays_of(contour, [[0, 0]], 36, 'exact')[0]
    np.testing.assert_allclose(
        rays_of(turned, [[0, 0]], 36, 'exact')[0], np.roll(rays, 1), rtol=1e-4, atol=1e-4
    )


def test_both_modes_agree_on_a_dense_contour():
    contour = ellipse(300, 300, 150, 90, num=4000)
    locations = [[300, 300], [240, 320]]
    binned = rays_of(contour, locations, 36, 'binned')
    exact = rays_of(contour, locations, 36, 'exact')
    # A bin is one degree wide: the longest point in it is at most a few per cent off the ray.
    np.testing.assert_allclose(binned, exact, rtol=0.04)


def test_rounding_never_lengthens_a_ray_beyond_the_points():
    # Edges along a ray, so far away that the location is lost in rounding.
    generator = np.random.default_rng(0)
    num = 4000
    locations = generator.integers(0, 1000, (num, 2)).astype(np.float32)
    angles = generator.integers(0, 8, (num, 1)) * math.pi / 4
    lengths = generator.uniform(1e17, 1e20, (num, 2))
    points = np.stack([lengths * np.sin(angles), lengths * np.cos(angles)], 2)
    points = (locations[:, None] + points).astype(np.float32)
    rays = polar_ray_targets(
        torch.from_numpy(points.reshape(-1, 2)),
        torch.arange(num + 1) * 2,
        torch.from_numpy(locations),
        torch.arange(num),
        8,
        'exact',
    ).numpy()
    farthest = np.linalg.norm(points.astype(np.float64) - locations[:, None], axis=2).max(1)
    assert (rays.max(1) <= farthest * (1 + 1e-6)).all()


def test_farthest_of_several_crossings_counts():
    # A spiral arm: to the right of (0, 0) lie walls at 5, 10 and 20.
    contour = [[5, -5], [5, 5], [10, 5], [10, -5], [20, -5], [20, 8], [-5, 8], [-5, -5]]
    rays = rays_of(contour, [[0, 0]], 36, 'exact')[0]
    assert rays[9] == 20
    assert rays[27] == 5


def test_rays_from_outside_see_the_far_side_or_nothing():
    rays = rays_of([[10, -3], [20, -3], [20, 3], [10, 3]], [[0, 0]], 36, 'exact')[0]
    assert rays[9] == 20
    assert (np.delete(rays, [8, 9, 10]) == EMPTY).all()


# Degenerate outlines of the exact mode: rays that differ from 1e-6, seen from (0, 0).
@pytest.mark.parametrize(
    ('contour', 'expected'),
    [
        ([[7, 0]], {9: 7}),  # one point, on a ray
        ([[7, 1]], {}),  # one point, beside the rays
        ([[4, 0], [9, 0]], {9: 9}),  # a segment along a ray
        ([[5, -4], [5, 4]], {6: None, 7: None, 8: None, 9: 5, 10: None, 11: None, 12: None}),
        ([[6, 6], [6, 6], [6, 6]], {}),  # 45 degrees is no ray of 36
        ([[0, 6], [0, 6], [0, -6]], {0: 6, 18: 6}),  # through the location, along two rays
        ([[-5, 0], [5, 0], [5, 10], [-5, 10]], 'lower half'),  # location on an edge
        ([[0, 0], [10, 0], [10, 10], [0, 10]], 'corner'),  # location on a vertex
        ([[0, 0], [0, 0]], {}),  # nothing but the location
    ],
)
def test_degenerate_outlines(contour, expected):
    rays = rays_of(contour, [[0, 0]], 36, 'exact')[0]
    assert np.isfinite(rays).all()
    assert (rays >= EMPTY).all()
    if expected == 'lower half':
        assert rays[0] == 10
        assert rays[[9, 27]].tolist() == [5, 5]
        assert (rays[:10] > 4.9).all()
        assert (rays[27:] > 4.9).all()
        assert (rays[10:27] == EMPTY).all()
    elif expected == 'corner':
        assert rays[[0, 9]].tolist() == [10, 10]
        assert (rays[:10] >= 10).all()
        assert (rays[10:] == EMPTY).all()
    else:
        assert set(np.flatnonzero(rays > EMPTY).tolist()) == set(expected)
        for ray, length in expected.items():
            assert length is None or rays[ray] == length


def test_duplicated_points_change_nothing():
    contour = border_pixels(64, 50, 30, 21)
    locations = [[64, 50], [50, 44], [10, 90]]
    for mode in ('binned', 'exact'):
        np.testing.assert_array_equal(
            rays_of(np.repeat(contour, 3, axis=0), locations, 36, mode),
            rays_of(contour, locations, 36, mode),
        )


# ---- both modes: data that is missing or not finite ----------------------------------------------

MODES = pytest.mark.parametrize('mode', ['binned', 'exact'])


@MODES
def test_contour_without_points_leaves_every_ray_empty(mode):
    contour = torch.from_numpy(border_pixels(20, 20, 9, 9)).float()
    offsets = torch.tensor([0, 0, len(contour), len(contour)])
    locations = torch.tensor([[20.0, 20.0]] * 3)
    rays = polar_ray_targets(contour, offsets, locations, torch.tensor([0, 1, 2]), 36, mode)
    assert (rays[[0, 2]] == EMPTY).all()
    assert (rays[1] > 8).all()


@MODES
@pytest.mark.parametrize('num_instances', [0, 3])
def test_no_locations(mode, num_instances):
    rays = polar_ray_targets(
        torch.zeros(0, 2),
        torch.zeros(num_instances + 1, dtype=torch.int64),
        torch.zeros(0, 2),
        torch.zeros(0, dtype=torch.int64),
        36,
        mode,
    )
    assert rays.shape == (0, 36)


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf, 3e38])
def test_points_that_are_not_finite_are_left_out(bad):
    contour = border_pixels(64, 50, 30, 21)
    broken = np.concatenate([contour, [[bad, 50], [64, bad], [bad, bad]]])
    np.testing.assert_array_equal(rays_of(broken, [[64, 50]]), rays_of(contour, [[64, 50]]))
    if bad == 3e38:  # a number that float32 holds: the exact mode reaches for it
        return
    rays = rays_of(broken, [[64, 50]], 36, 'exact')
    assert np.isfinite(rays).all()
    assert (rays > 20).sum() >= 35  # at most the ray through the gap is lost


@MODES
@pytest.mark.parametrize('x', [math.nan, math.inf, -math.inf, 3.0])
@pytest.mark.parametrize('y', [math.nan, math.inf, -math.inf])
def test_a_point_that_is_nowhere_is_met_by_no_ray(mode, x, y):
    # of all such points an angle is computed; that it is none must do no harm (sanitize_ops.sh)
    assert (rays_of([[x, y]], [[1, 2]], 36, mode) == EMPTY).all()
    assert (rays_of([[y, x]], [[1, 2]], 36, mode) == EMPTY).all()


def test_points_at_the_smallest_distances_have_their_angle():
    tiny = np.float32(1e-40)  # less than a float32 of full precision
    angle = math.degrees(math.atan2(2, 1))  # 63: neither of the rays at 0 and 90 looks there
    rays = rays_of([[2 * tiny, tiny]], [[0, 0]], 360)[0]
    near = np.abs(np.arange(360) - int(angle)) <= 3
    np.testing.assert_array_equal(rays, np.where(near, np.float32(0), EMPTY))


@MODES
@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_locations_that_are_not_finite_see_nothing(mode, bad):
    rays = rays_of(border_pixels(64, 50, 30, 21), [[bad, 50], [64, 50]], 36, mode)
    assert (rays[0] == EMPTY).all()
    assert (rays[1] > 20).all()


# ---- memory layout, integer types, threads -------------------------------------------------------


@MODES
def test_non_contiguous_and_int32_inputs(mode):
    contours, offsets, locations, index = random_batch(seed=11)
    expected = polar_ray_targets(contours, offsets, locations, index, 36, mode)
    wide = torch.zeros(2 * len(offsets), dtype=torch.int32)
    wide[::2] = offsets.int()
    actual = polar_ray_targets(
        contours.t().contiguous().t(),
        wide[::2],
        torch.cat([locations, locations], 1)[:, :2],
        index.int(),
        36,
        mode,
    )
    assert torch.equal(actual, expected)


@MODES
def test_number_of_threads_does_not_matter(mode):
    batch = random_batch(seed=12, num_instances=20, num_locations=4000)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = polar_ray_targets(*batch, 36, mode)
        torch.set_num_threads(3)
        assert torch.equal(polar_ray_targets(*batch, 36, mode), single)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not Path('/proc/self/schedstat').exists(), reason='Linux counts thread time')
def test_little_work_wakes_no_thread():
    """Neither for the rays nor for their roots, whichever library takes these."""
    program = """
import os, time, torch
from pathlib import Path
from polarseg.ops import polar_ray_targets
torch.set_num_threads(2)
contour = torch.tensor([[30.0, 0], [0, 30], [-30, 0], [0, -30]])
zeros = torch.zeros(100, 2)
arguments = contour, torch.tensor([0, 4]), zeros, zeros[:, 0].long()
torch.rand(100_000).neg()  # the other thread is there
time.sleep(0.5)
def other_threads():
    tasks = [task for task in Path('/proc/self/task').iterdir() if task.name != str(os.getpid())]
    return sum(int((task / 'schedstat').read_text().split()[0]) for task in tasks)
before = other_threads()
for _ in range(1000):
    polar_ray_targets(*arguments)
print((other_threads() - before) / 1e6, torch.get_num_threads())
"""
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    milliseconds, threads = run.stdout.split()
    assert float(milliseconds) < 1
    assert threads == '2'
