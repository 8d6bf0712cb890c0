"""polygons_to_rle against OpenCV and pycocotools, and by hand where no OpenCV can be asked."""

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from polarseg.ops import polygons_to_rle

RULES = ('fill', 'fill-4.8', 'fill-4.5', 'coco')
LOW, HIGH = -(2**31), 2**31 - 1


# ---- references ----------------------------------------------------------------------------------


def cv2_pixels(polygon, height, width):
    canvas = np.zeros((height, width), np.uint8)
    if len(polygon):
        cv2.drawContours(canvas, [polygon.astype(np.int32)[:, None]], -1, 1, cv2.FILLED)
    return canvas


def encoded(pixels):
    return coco_mask.encode(np.asfortranarray(pixels))


def decoded(rle):
    return coco_mask.decode(rle)


@pytest.fixture(scope='module')
def installed_rule():
    """The rule of the OpenCV that is installed, by what it draws of two telling polygons."""
    inside = np.array([[4, 7], [6, 3]])
    beyond = np.array([[0, 0], [-6, 7]])
    for rule in ('fill', 'fill-4.8', 'fill-4.5'):
        drawn = polygons_to_rle([inside, beyond], 16, 16, rule)
        if drawn == [encoded(cv2_pixels(polygon, 16, 16)) for polygon in (inside, beyond)]:
            return rule
    pytest.fail(f'OpenCV {cv2.__version__} fills by a rule that is not among those known.')


# ---- polygons ------------------------------------------------------------------------------------


def inside(rng, size, height, width):
    return rng.integers(0, [width, height], (size, 2))


def partly_outside(rng, size, height, width):
    return rng.integers([-width, -height], [2 * width, 2 * height], (size, 2))


def far_outside(rng, size, height, width):
    return rng.integers(-100000, 100000, (size, 2))


def huge(rng, size, height, width):
    # OpenCV walks every row above the picture, so these start not far above it
    edges = [LOW, LOW + 1, HIGH, HIGH - 1, -1, 0, 1, width - 1, width, 2**30, -(2**30)]
    return np.maximum(rng.choice(edges, (size, 2)), [LOW, -3000])


def thin(rng, size, height, width):
    ends = partly_outside(rng, 2, height, width)
    return ends[rng.integers(0, 2, size)] + rng.integers(-1, 2, (size, 2))


def repeated(rng, size, height, width):
    return partly_outside(rng, 4, height, width)[rng.integers(0, 4, size)]


def one_far_vertex(rng, size, height, width):
    polygon = inside(rng, size, height, width)
    polygon[rng.integers(0, size)] = rng.integers(-3000, 3000, 2)
    return polygon


KINDS = [inside, partly_outside, far_outside, huge, thin, repeated, one_far_vertex]


def star(rng, height, width, radius, size=36):
    angles = np.arange(size) * 2 * np.pi / size
    radii = radius * rng.uniform(0.5, 1, size)
    centre = rng.uniform(0, [width, height])
    return np.stack([radii * np.sin(angles), radii * np.cos(angles)], 1) + centre


# ---- rule fill -----------------------------------------------------------------------------------


@pytest.mark.parametrize('make', KINDS, ids=lambda make: make.__name__)
def test_fill_is_opencvs_byte_for_byte(make, installed_rule):
    rng = np.random.default_rng(3)
    for _ in range(400):
        height, width = (int(side) for side in rng.integers(1, 40, 2))
        polygon = make(rng, int(rng.integers(1, 14)), height, width)
        actual = polygons_to_rle([polygon], height, width, installed_rule)[0]
        assert actual == encoded(cv2_pixels(polygon, height, width)), (polygon, height, width)


def test_fill_of_large_stars_is_opencvs(installed_rule):
    rng = np.random.default_rng(4)
    stars = np.array([star(rng, 300, 400, radius) for radius in np.geomspace(2, 600, 30)])
    rles = polygons_to_rle(torch.from_numpy(stars), 300, 400, installed_rule)
    assert rles == [encoded(cv2_pixels(polygon, 300, 400)) for polygon in stars]


def test_published_rule_inside_the_picture_is_opencvs(installed_rule):
    if installed_rule == 'fill-4.8':
        pytest.skip('OpenCV 4.8 to 4.10 fills by another rule')
    rng = np.random.default_rng(5)
    for _ in range(400):
        polygon = inside(rng, int(rng.integers(1, 14)), 30, 40)
        assert polygons_to_rle([polygon], 30, 40)[0] == encoded(cv2_pixels(polygon, 30, 40))


def picture(rows):
    return np.array([[pixel == '#' for pixel in row] for row in rows], np.uint8)


# As drawn by OpenCV 4.5.5 and 4.7; 4.8.1 and 4.10; 4.11, 4.12 and 5.0.
TRIANGLE = ['....#', '..###', '#####', '#####']
LINE = ['...#..', '...#..', '...#..', '....#.', '....#.', '....#.', '....#.', '.....#', '.....#']
WIDER_LINE = [*LINE[:3], '...##.', *LINE[4:7], '....##', LINE[8]]


@pytest.mark.parametrize(
    ('rule', 'triangle', 'line'),
    [
        ('fill-4.5', ['.....', '.....', *TRIANGLE], LINE),
        ('fill-4.8', ['.....', '.....', *TRIANGLE], WIDER_LINE),
        ('fill', ['....#', '....#', *TRIANGLE], LINE),
    ],
)
def test_versions_of_opencv_differ(rule, triangle, line):
    leaving = [np.array([[-42, 19], [13, -1], [-38, 34]]), np.array([[2, -5], [6, 15]])]
    assert polygons_to_rle(leaving[:1], 6, 5, rule) == [encoded(picture(triangle))]
    assert polygons_to_rle(leaving[1:], 9, 6, rule) == [encoded(picture(line))]


def test_outline_and_even_odd_by_hand():
    bow = np.array([[0, 0], [6, 6], [6, 0], [0, 6]])
    rows = ['#.....#', '##...##', '###.###', '#######', '###.###', '##...##', '#.....#']
    np.testing.assert_array_equal(decoded(polygons_to_rle([bow], 7, 7)[0]), picture(rows))


def test_vertices_are_truncated_towards_zero():
    real = np.array([[-0.9, -0.9], [6.9, 0.2], [6.1, 5.9], [0.2, 5.1]])
    whole = np.array([[0, 0], [6, 0], [6, 5], [0, 5]])
    for rule in RULES[:3]:
        assert polygons_to_rle([real], 9, 9, rule) == polygons_to_rle([whole], 9, 9, rule)


@pytest.mark.parametrize('rule', RULES[:3])
def test_points_and_lines(rule):
    point, line, outside = [[3, 2]], [[1, 1], [4, 1]], [[9, 9]]
    rles = polygons_to_rle([np.array(p) for p in (point, line, outside)], 5, 6, rule)
    assert decoded(rles[0]).nonzero() == (2, 3)
    np.testing.assert_array_equal(np.argwhere(decoded(rles[1])), [[1, x] for x in (1, 2, 3, 4)])
    assert not decoded(rles[2]).any()


@pytest.mark.parametrize('rule', RULES[:3])
def test_inside_does_not_depend_on_first_vertex_or_direction(rule):
    polygon = star(np.random.default_rng(6), 50, 50, 20).clip(0, 49)
    turned = [np.roll(polygon, shift, axis=0) for shift in (1, 17)] + [polygon[::-1]]
    assert len({rle['counts'] for rle in polygons_to_rle([polygon, *turned], 50, 50, rule)}) == 1


# ---- rule coco -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'make',
    [
        lambda rng, size: rng.uniform(-20, 70, (size, 2)),
        lambda rng, size: rng.uniform(0, 40, (size, 2)),
        lambda rng, size: rng.uniform(-500, 500, (size, 2)),
        lambda rng, size: rng.integers(0, 50, (size, 2)).astype(float),
        lambda rng, size: rng.integers(-25, 275, (size, 2)) / 5 + 0.1,
        lambda rng, size: rng.uniform(0, 40, (3, 2))[rng.integers(0, 3, size)],
    ],
    ids=['over the border', 'small', 'large', 'whole', 'fifths', 'repeated'],
)
def test_coco_is_pycocotools_byte_for_byte(make):
    rng = np.random.default_rng(7)
    for _ in range(400):
        height, width = (int(side) for side in rng.integers(1, 50, 2))
        polygon = make(rng, int(rng.integers(3, 12)))
        expected = coco_mask.frPyObjects([polygon.ravel().tolist()], height, width)
        assert polygons_to_rle([polygon], height, width, 'coco') == expected, (polygon, height)


# ---- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('rule', RULES)
def test_batch_equals_single_polygons_and_threads_do_not_matter(rule):
    rng = np.random.default_rng(8)
    stars = [star(rng, 90, 120, 70, size=int(size)) for size in rng.integers(3, 60, 25)]
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(polygons_to_rle(stars, 90, 120, rule))
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]
    assert results[0] == [polygons_to_rle([polygon], 90, 120, rule)[0] for polygon in stars]
    for rle in results[0]:
        assert rle['size'] == [90, 120]
        assert coco_mask.area(rle) == decoded(rle).sum() > 0


@pytest.mark.parametrize('rule', RULES)
def test_nothing(rule):
    empty = encoded(np.zeros((7, 5), np.uint8))
    assert polygons_to_rle([], 7, 5, rule) == []
    assert polygons_to_rle(torch.zeros(0, 36, 2), 7, 5, rule) == []
    assert polygons_to_rle(torch.zeros(2, 0, 2), 7, 5, rule) == [empty, empty]
    assert polygons_to_rle([np.zeros((0, 2)), torch.zeros(0)], 7, 5, rule) == [empty, empty]
    triangle = torch.tensor([[[0.0, 0], [9, 0], [0, 9]]])
    for height, width in ((0, 5), (5, 0), (0, 0)):
        expected = encoded(np.zeros((height, width), np.uint8))
        assert polygons_to_rle(triangle, height, width, rule) == [expected]


@pytest.mark.parametrize('rule', RULES)
def test_whole_picture(rule):
    cover = torch.tensor([[[-3.0, -3], [30, -3], [30, 30], [-3, 30]]])
    assert polygons_to_rle(cover, 11, 13, rule) == [encoded(np.ones((11, 13), np.uint8))]


@pytest.mark.parametrize(
    'dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.uint8]
)
def test_dtypes_and_layouts(dtype):
    square = torch.tensor([[4, 4], [20, 4], [20, 30], [4, 30]])
    expected = polygons_to_rle(square.float()[None], 40, 40)
    assert polygons_to_rle(square.to(dtype)[None], 40, 40) == expected
    assert (
        polygons_to_rle(square.to(dtype).flip(1).flip(1)[None].mT.contiguous().mT, 40, 40)
        == expected
    )
    assert polygons_to_rle([square.float().requires_grad_()], 40, 40) == expected
    assert polygons_to_rle([square.numpy()[::-1][::-1]], np.int64(40), np.int64(40)) == expected


def test_arrays_that_cannot_be_written_are_only_read(recwarn):
    square = np.array([[4.0, 4], [20, 4], [20, 30]])
    expected = polygons_to_rle([square], 40, 40)
    square.setflags(write=False)
    assert polygons_to_rle([square], 40, 40) == expected
    assert not recwarn.list


def test_default_device_does_not_matter():
    polygons = [torch.rand(4, 2) * 30, np.array([[4.0, 4], [20, 4], [20, 30]])]
    expected = polygons_to_rle(polygons, 40, 40)
    with torch.device('meta'):
        assert polygons_to_rle(polygons, 40, 40) == expected
        assert polygons_to_rle(polygons[0][None], 40, 40) == expected[:1]


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('value', [float('nan'), float('inf'), 2.0**31, -(2.0**31) - 256])
def test_vertices_without_a_pixel_name_their_polygon(rule, value):
    polygons = torch.rand(4, 5, 2)
    polygons[2, 3, 1] = value
    with pytest.raises(ValueError, match=r'finite and within .* but polygon 2 has the vertex'):
        polygons_to_rle(polygons, 10, 10, rule)


@pytest.mark.parametrize(
    ('polygons', 'size', 'rule', 'error', 'sentence'),
    [
        (torch.zeros(3, 2), (5, 5), 'fill', ValueError, r'\[N, V, 2\].*shape \[3, 2\]'),
        ([torch.zeros(3, 2), torch.zeros(3)], (5, 5), 'fill', ValueError, r'polygon 1 .*\[3\]'),
        ([[1, 2]], (5, 5), 'fill', TypeError, 'must be a tensor or an array'),
        (torch.zeros(1, 3, 2).cfloat(), (5, 5), 'fill', ValueError, 'must be real numbers'),
        (torch.zeros(1, 3, 2), (-1, 5), 'fill', ValueError, 'must not be negative, got -1 and 5'),
        (torch.zeros(1, 3, 2), (2**16, 2**15), 'fill', ValueError, r'fewer than 2\^31 pixels'),
        (torch.zeros(1, 3, 2), (2**40, 0), 'fill', ValueError, r'fewer than 2\^31 pixels'),
        (torch.zeros(1, 3, 2), (5, 5), 'cv2', ValueError, "'fill-4.5' or 'coco', got 'cv2'"),
    ],
    ids=str,
)
def test_refusals(polygons, size, rule, error, sentence):
    with pytest.raises(error, match=sentence):
        polygons_to_rle(polygons, *size, rule)
