"""Which contour stands for a mask, and where its mass centre lies."""

import cv2
import numpy as np
import pytest

from polarseg.structures import largest_contour, largest_contours, mass_center, mass_centers
from polarseg.structures.contours import thin_contour


def blank():
    return np.zeros((40, 60), np.uint8)


def square(size, x=0, y=0):
    """Border pixels of a filled square in the order of cv2."""
    mask = blank()
    mask[y : y + size, x : x + size] = 1
    return largest_contour(mask)


def points(contour):
    return set(map(tuple, contour.astype(int).tolist()))


def test_every_border_pixel_is_a_point():
    contour = square(5, x=10, y=20)
    assert contour.dtype == np.float32
    expected = {(x, y) for x in range(10, 15) for y in range(20, 25)}
    expected -= {(x, y) for x in range(11, 14) for y in range(21, 24)}
    assert points(contour) == expected
    assert len(contour) == 16


@pytest.mark.parametrize('dtype', [np.uint8, bool])
@pytest.mark.parametrize('large_first', [False, True])
def test_the_component_that_encloses_most(dtype, large_first):
    mask = blank()
    corners = [(2, 2), (30, 20)]
    (small, large) = corners[::-1] if large_first else corners
    mask[small[1] : small[1] + 4, small[0] : small[0] + 12] = 1
    mask[large[1] : large[1] + 8, large[0] : large[0] + 9] = 1
    contour = largest_contour(mask.astype(dtype))
    assert contour.min(axis=0).tolist() == list(large)
    assert contour.max(axis=0).tolist() == [large[0] + 8, large[1] + 7]


def test_enclosed_area_counts_not_pixels():
    mask = blank()
    cv2.rectangle(mask, (2, 2), (32, 32), 1)  # a thin frame encloses more than the block
    mask[5:35, 40:55] = 1
    assert mask[:, :36].sum() < mask[:, 36:].sum()
    assert largest_contour(mask).max(axis=0).tolist() == [32, 32]


def test_a_long_contour_of_a_thin_shape_does_not_win():
    mask = blank()
    mask[2:4, 2:58] = 1
    mask[10:25, 20:35] = 1
    assert largest_contour(mask).min(axis=0).tolist() == [20, 10]


def test_holes_are_ignored():
    full, holed = blank(), blank()
    full[5:35, 5:45] = holed[5:35, 5:45] = 1
    holed[10:30, 10:40] = 0
    np.testing.assert_array_equal(largest_contour(holed), largest_contour(full))


def test_line_and_single_pixel():
    mask = blank()
    mask[7, 3:9] = 1
    assert points(largest_contour(mask)) == {(x, 7) for x in range(3, 9)}
    mask = blank()
    mask[4, 6] = 1
    np.testing.assert_array_equal(largest_contour(mask), [[6, 4]])


def test_empty_mask_and_views():
    assert largest_contour(blank()) is None
    mask = np.asfortranarray(np.pad(np.ones((6, 8), bool), 2))[::2, ::-1]
    assert len(largest_contour(mask)) > 0


# -- mass centre ----------------------------------------------------------------------------------


def test_center_of_a_square():
    assert mass_center(square(11, x=10, y=20), truncate=False) == pytest.approx((15, 25))


@pytest.mark.parametrize(('shift', 'expected'), [((0, 0), (1, 1)), ((-5, -4), (-3, -2))])
def test_truncation_is_towards_zero(shift, expected):
    triangle = np.array([[0, 0], [4, 0], [0, 4]], np.float32) + shift
    exact = mass_center(triangle, truncate=False)
    assert exact == pytest.approx((4 / 3 + shift[0], 4 / 3 + shift[1]))
    assert mass_center(triangle) == expected  # floor would give (-4, -3) for the second


def test_orientation_and_start_do_not_matter():
    outline = np.array([[1, 1], [9, 2], [7, 8], [2, 6]], np.float32)
    exact = mass_center(outline, truncate=False)
    assert mass_center(outline[::-1], truncate=False) == pytest.approx(exact)
    assert mass_center(np.roll(outline, 2, axis=0), truncate=False) == pytest.approx(exact)


@pytest.mark.parametrize(
    ('contour', 'expected'),
    [
        ([[5, 7]], (5, 7)),
        ([[3, 7], [4, 7], [5, 7], [6, 7]], (4, 7)),
        ([[0, 0], [3, 3], [6, 6], [3, 3]], (3, 3)),
        ([[0, 0], [1, 0]], (0, 0)),
    ],
    ids=['pixel', 'line', 'diagonal there and back', 'half pixel truncated'],
)
def test_without_area_the_mean_of_the_points(contour, expected):
    assert mass_center(np.array(contour, np.float32)) == expected


@pytest.mark.parametrize('seed', range(30))
def test_lines_between_pixels(seed):
    """Their area is rounding alone, and must not throw the centre out of the picture."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        along = rng.uniform(0, 1, (rng.integers(3, 6), 1))
        line = (rng.uniform(0, 600, 2) + along * rng.uniform(-50, 50, 2)).astype(np.float32)
        center = mass_center(line, truncate=False)
        assert (center >= line.min(axis=0) - 1).all()
        assert (center <= line.max(axis=0) + 1).all()


def test_no_points():
    with pytest.raises(ValueError, match='without points'):
        mass_center(np.zeros((0, 2), np.float32))


def published_center(contour):
    """The published formula, one vertex after the other in float64."""
    area = sum_x = sum_y = 0.0
    for index in range(len(contour)):
        x, y = map(float, contour[index])
        before_x, before_y = map(float, contour[index - 1])
        slice_area = (x * before_y - y * before_x) / 2.0
        area += slice_area
        sum_x += slice_area * (x + before_x) / 3.0
        sum_y += slice_area * (y + before_y) / 3.0
    return float(int(sum_x / area)), float(int(sum_y / area))


def test_symmetric_shapes_by_the_sequential_sum():
    """Their centre is whole, so the last bit decides; a pairwise sum differs for some of them."""
    by_pairwise_sum = 0
    for radius in range(4, 60):
        for center in ((61, 63), (90, 77), (70, 70)):
            mask = np.zeros((160, 160), np.uint8)
            cv2.circle(mask, center, radius, 1, -1)
            contour = largest_contour(mask)
            expected = published_center(contour)
            assert mass_center(contour) == expected
            x, y = contour.astype(np.float64).T
            slices = (x * np.roll(y, 1) - y * np.roll(x, 1)) / 2
            pairwise = np.sum(slices * (x + np.roll(x, 1)) / 3) / np.sum(slices)
            by_pairwise_sum += int(pairwise) != expected[0]
    assert by_pairwise_sum > 0, 'the shapes do not tell the two sums apart'


@pytest.mark.parametrize('seed', range(20))
def test_blobs_against_cv2_moments(seed):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(size=(120, 160)), (0, 0), 7)
    contour = largest_contour(noise > np.quantile(noise, 0.6))
    moments = cv2.moments(contour.astype(np.int32))
    exact = moments['m10'] / moments['m00'], moments['m01'] / moments['m00']
    assert mass_center(contour, truncate=False) == pytest.approx(exact, abs=1e-6)
    assert mass_center(contour) == (int(exact[0]), int(exact[1]))


# -- thinning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('count', 'kept'), [(10, 10), (360, 360), (361, 361), (719, 719), (720, 360), (1081, 361)]
)
def test_thin_contour(count, kept):
    contour = np.arange(2 * count, dtype=np.float32).reshape(-1, 2)
    thinned = thin_contour(contour)
    assert len(thinned) == kept
    np.testing.assert_array_equal(thinned, contour[:: max(count // 360, 1)])


@pytest.mark.parametrize('count', range(1, 40))
@pytest.mark.parametrize('keep', [3, 7])
def test_thin_contour_stays_between_once_and_twice(count, keep):
    thinned = thin_contour(np.zeros((count, 2)), keep)
    assert len(thinned) == count if count <= keep else keep <= len(thinned) < 2 * keep


def test_thinning_to_no_polygon():
    with pytest.raises(ValueError, match='keep=2'):
        thin_contour(np.zeros((10, 2)), 2)


@pytest.mark.parametrize('seed', range(20))
def test_looking_where_the_pixels_are_finds_the_same_contour(seed):
    rng = np.random.default_rng(seed)
    mask = (cv2.GaussianBlur(rng.random((60, 80)), (0, 0), 4) > 0.5).astype(np.uint8)
    mask[: rng.integers(1, 30)] = 0
    mask[:, rng.integers(40, 80) :] = 0
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    expected = max(contours, key=cv2.contourArea).reshape(-1, 2)
    found = largest_contours(np.stack([mask, 0 * mask, 7 * mask]).astype(np.uint8))
    assert found[1] is None
    for contour in (found[0], found[2], largest_contour(mask.astype(bool))):
        np.testing.assert_array_equal(contour, expected)


def test_centers_of_many_are_those_of_each():
    rng = np.random.default_rng(0)
    contours = [rng.integers(0, 40, (size, 2)).astype(np.float32) for size in (1, 2, 3, 7, 50)]
    contours.append(np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float32))
    for truncate in (True, False):
        together = mass_centers(contours, truncate)
        assert together.shape == (6, 2)
        assert together.tolist() == [list(mass_center(c, truncate)) for c in contours]
    assert mass_centers([]).shape == (0, 2)
    with pytest.raises(ValueError, match='without points'):
        mass_centers([contours[0], np.zeros((0, 2))])
