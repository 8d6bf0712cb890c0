import numpy as np
import pytest
from pycocotools import mask as mask_utils

from polarseg.datasets.shapes.masks import (
    count_parts,
    encode_mask,
    has_hole,
    hidden_share,
    segmentation_of,
    tight_box,
    trace_polygon,
)


def _grid(*rows):
    return np.array([[c == '#' for c in row] for row in rows])


def _disc(size, centre, radius):
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(columns - centre[0], rows - centre[1]) <= radius


def _decode(polygon, shape):
    return mask_utils.decode(mask_utils.frPyObjects([polygon], *shape))[..., 0].astype(bool)


def _shoelace(polygon):
    x, y = np.array(polygon).reshape(-1, 2).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0


def test_single_pixel_and_rectangle_have_four_corners():
    assert trace_polygon(_grid('...', '.#.')) == [1, 1, 2, 1, 2, 2, 1, 2]
    assert trace_polygon(np.ones((3, 5), dtype=bool)) == [0, 0, 5, 0, 5, 3, 0, 3]


def test_polygon_of_random_shapes_is_exact():
    rng = np.random.default_rng(0)
    traced = 0
    for _ in range(200):
        shape = tuple(rng.integers(4, 24, 2).tolist())
        mask = np.zeros(shape, dtype=bool)
        for _ in range(4):
            y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
        polygon = trace_polygon(mask)
        if polygon is None:
            assert count_parts(mask) > 1 or has_hole(mask)
            continue
        traced += 1
        assert np.array_equal(_decode(polygon, shape), mask)
        assert _shoelace(polygon) == mask.sum()
    assert traced > 50


@pytest.mark.parametrize(
    'mask',
    [
        _grid('#.#'),
        _grid('###', '#.#', '###'),
        _grid('#..', '.#.'),
        _grid('.##', '#.#', '###'),  # The hole's only way out is diagonal.
    ],
    ids=['two parts', 'hole', 'diagonal parts', 'diagonal gap'],
)
def test_what_one_polygon_cannot_tell_becomes_run_lengths(mask):
    assert trace_polygon(mask) is None
    rle = segmentation_of(mask)
    assert isinstance(rle['counts'], str)
    assert np.array_equal(mask_utils.decode(rle).astype(bool), mask)
    assert rle == encode_mask(mask)


def test_tight_box():
    assert tight_box(_grid('....', '.##.', '..#.')) == (1, 1, 2, 2)
    with pytest.raises(ValueError, match='empty mask'):
        tight_box(np.zeros((3, 3), dtype=bool))


def test_parts_below_a_share_are_not_counted():
    mask = _grid('#.##########')
    assert count_parts(mask) == 2
    assert count_parts(mask, least_share=0.2) == 1


def test_hidden_share_tells_star_convex_from_not():
    disc = _disc(64, (32, 32), 25)
    assert hidden_share(disc) < 0.01
    assert hidden_share(disc & ~_disc(64, (44, 32), 22)) > 0.15
    ring = disc & ~_disc(64, (32, 32), 12)
    assert hidden_share(ring) == 1.0  # Its mass centre lies in the hole.
    two = _disc(64, (24, 32), 16).copy()
    two |= _disc(64, (56, 32), 5)
    # Of both discs only the large one, which holds the mass centre, is seen.
    assert hidden_share(two) == pytest.approx(5**2 / (16**2 + 5**2), abs=0.02)
