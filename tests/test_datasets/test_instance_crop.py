"""The instance-aware crop: where its window lies, what it leaves of each instance."""
# ruff: noqa: NPY002  (what is tested draws from numpy's global generator)

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.dataset import Compose
from scipy import stats

import polarseg.datasets.transforms as room
from polarseg.datasets.transforms import BoxesFromMasks, InstanceAwareCrop
from polarseg.registry import TRANSFORMS

HEIGHT, WIDTH = 60, 90
BOXES = [[5.5, 4, 40, 30.25], [60, 10, 85, 55], [20, 35, 45, 58], [-10, -5, 12, 20]]


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


@pytest.fixture(autouse=True)
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'polarseg.datasets.skip_log.print_log', lambda text, **_: lines.append(text)
    )
    return lines


def u_shape(x1, y1, x2, y2):
    """Open to the right: its right part falls into two pieces."""
    upper, lower = y1 + (y2 - y1) / 3, y2 - (y2 - y1) / 3
    bend = x1 + 2
    outer, inner = [x1, y2, x1, y1, x2, y1, x2, upper], [bend, upper, bend, lower, x2, lower]
    return np.array([*outer, *inner, x2, y2])


def picture():
    """Each pixel says where it comes from: blue the column, green the row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns, rows, rows * 0], axis=-1).astype(np.uint8)


def results_of(boxes=BOXES, kind='polygons', ignored=()):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    polygons = PolygonMasks([[u_shape(*box)] for box in boxes.tolist()], HEIGHT, WIDTH)
    results = dict(
        img=picture(),
        img_shape=(HEIGHT, WIDTH),
        img_id=17,
        gt_seg_map=picture()[..., 0],
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.isin(np.arange(len(boxes)), ignored),
    )
    if kind == 'bitmaps':
        results['gt_masks'] = BitmapMasks(polygons.to_ndarray().astype(np.uint8), HEIGHT, WIDTH)
    elif kind == 'polygons':
        results['gt_masks'] = polygons
    return results


def window_of(results):
    """Where the cut picture comes from."""
    height, width = results['img'].shape[:2]
    x, y = results['img'][0, 0, :2].tolist()
    return x, y, x + width, y + height


def fixed(window):
    """The transform with its window chosen."""
    crop = InstanceAwareCrop()
    crop.draw = lambda boxes, size: window
    return crop


def test_sizes_are_uniform_shares_of_each_side():
    crop = InstanceAwareCrop(size_range=(0.5, 0.8))
    boxes = np.array([[0.0, 0, 1000, 800]])
    windows = np.array([crop.draw(boxes, (800, 1000)) for _ in range(2000)])
    widths, heights = (windows[:, 2:] - windows[:, :2]).T
    for sides, low, length in [(heights, 400, 800), (widths, 800, 1000)]:
        assert sides.min() >= low
        assert sides.max() <= length
        assert stats.kstest(sides, stats.uniform(low, length - low).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.1


@pytest.fixture
def smallest(monkeypatch):
    """The smallest window every time; which instance and which corner stay random."""
    monkeypatch.setattr(np.random, 'rand', np.zeros)


@pytest.mark.parametrize(('share', 'length', 'side'), [(0.9, 15, 14), (0.9, 16, 14), (1, 9, 9)])
def test_sides_round_half_up(smallest, share, length, side):
    window = InstanceAwareCrop(size_range=(share, share)).draw(np.zeros((0, 4)), (length, length))
    assert window[2] - window[0] == window[3] - window[1] == side


@pytest.mark.parametrize(
    ('box', 'lefts', 'tops'),
    [
        # windows of 10 x 10 in 40 x 50; the centre is
        ([4, 20, 9, 25.5], (0, 7), (12, 23)),  # 6.5, 22.75
        ([20, 30, 40, 50], (20, 30), (30, 40)),  # 30, 40
        ([36, 46, 40, 50], (28, 30), (38, 40)),  # 38, 48
        ([0, 0, 0, 0], (0, 0), (0, 0)),
        (None, (0, 30), (0, 40)),
    ],
)
def test_corners_are_uniform_over_those_around_the_centre(smallest, box, lefts, tops):
    boxes = np.array([box] if box else [], np.float64).reshape(-1, 4)
    crop = InstanceAwareCrop(size_range=(0.2, 0.25))
    windows = np.array([crop.draw(boxes, (50, 40)) for _ in range(1000)])
    assert (windows[:, 2:] - windows[:, :2] == 10).all()
    for starts, (first, last) in [(windows[:, 0], lefts), (windows[:, 1], tops)]:
        found, counts = np.unique(starts, return_counts=True)
        assert found.tolist() == list(range(first, last + 1))
        assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_every_instance_is_drawn_and_the_window_holds_its_centre(smallest):
    boxes = np.array([[2.0, 2, 4, 4], [50, 50, 52, 52], [96, 4, 98, 6]])
    crop = InstanceAwareCrop(size_range=(0.2, 0.2))
    windows = np.array([crop.draw(boxes, (100, 100)) for _ in range(600)])
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    holds = (windows[:, None, :2] <= centers) & (centers <= windows[:, None, 2:])
    counts = holds.all(axis=2).sum(axis=0)
    assert counts.sum() == 600  # one each, so far apart are they
    assert stats.chisquare(counts).pvalue > 1e-3


def test_crowds_are_drawn_too(smallest):
    crop = InstanceAwareCrop(size_range=(0.2, 0.2))
    for _ in range(20):
        results = crop(results_of([[60, 40, 70, 50]], ignored=[0]))
        x1, y1, x2, y2 = window_of(results)
        assert x1 <= 65 <= x2
        assert y1 <= 45 <= y2


def test_boxes_count_inside_of_the_picture_only(smallest):
    crop = InstanceAwareCrop(size_range=(0.2, 0.2))
    # the part inside has its centre at 85, 5
    for _ in range(20):
        x1, y1, x2, y2 = window_of(crop(results_of([[80, -200, 300, 10]])))
        assert x1 <= 85 <= x2
        assert y1 <= 5 <= y2


def test_numpys_seed_decides():
    runs = []
    for _ in range(2):
        np.random.seed(5)
        runs.append([window_of(InstanceAwareCrop((0.5, 0.5))(results_of())) for _ in range(8)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


@pytest.mark.parametrize('kind', ['polygons', 'bitmaps', 'boxes'])
def test_everything_is_cut_alike(kind):
    x1, y1, x2, y2 = window = (18, 12, 70, 50)
    results = fixed(window)(results_of(kind=kind))
    assert window_of(results) == window
    assert results['img_shape'] == (38, 52)
    np.testing.assert_array_equal(results['img'], picture()[y1:y2, x1:x2])
    np.testing.assert_array_equal(results['gt_seg_map'], results['img'][..., 0])
    expected = [[0, 0, 22, 18.25], [42, 0, 52, 38], [2, 23, 27, 38]]
    assert results['gt_bboxes'].tensor.tolist() == expected
    assert results['gt_bboxes_labels'].tolist() == [0, 1, 2]
    assert len(results['gt_ignore_flags']) == 3
    point = results['homography_matrix'] @ [x1, y1, 1]
    assert point.tolist() == [0, 0, 1]
    if kind == 'boxes':
        assert 'gt_masks' not in results
        return
    masks = results['gt_masks'].to_ndarray()
    assert (results['gt_masks'].height, results['gt_masks'].width) == (38, 52)
    before = results_of()['gt_masks'].to_ndarray()[:3, y1:y2, x1:x2]
    # COCO's rule sees the cut edge as an outline
    np.testing.assert_array_equal(masks[:, 1:-1, 1:-1], before[:, 1:-1, 1:-1])


def test_a_polygon_becomes_several():
    results = fixed((20, 0, 90, 60))(results_of([BOXES[0]]))
    (parts,) = results['gt_masks'].masks
    assert len(parts) == 2
    assert sum(results['gt_masks'].areas) == pytest.approx(20 * 2 * 26.25 / 3)


def test_what_the_window_misses_is_left_out_logged_and_counted(log):
    crop = fixed((0, 0, 30, 30))
    results = crop(results_of())
    assert results['gt_bboxes_labels'].tolist() == [0, 3]
    assert len(results['gt_masks']) == len(results['gt_bboxes']) == 2
    assert dict(crop.skips.counts) == {'nothing of it is in the window': 2}
    assert 'instance 1 of image 17' in log[0]


@pytest.mark.parametrize('kind', ['polygons', 'bitmaps'])
def test_the_mask_decides_for_instances_and_the_box_for_ignored_ones(kind):
    # between the arms of the first there is box, but no mask
    results = fixed((10, 14, 30, 20))(results_of(BOXES[:1] * 2, kind, ignored=[1]))
    assert results['gt_ignore_flags'].tolist() == [True]
    assert results['gt_bboxes_labels'].tolist() == [1]
    assert len(results['gt_masks']) == 1
    assert not results['gt_masks'].to_ndarray().any()


@pytest.mark.parametrize('kind', ['polygons', 'bitmaps', 'boxes'])
def test_no_instances(kind):
    results = InstanceAwareCrop(size_range=(0.5, 0.5))(results_of([], kind))
    assert window_of(results)[2:] != (0, 0)
    assert len(results['gt_bboxes']) == 0
    if kind != 'boxes':
        assert results['gt_masks'].to_ndarray().shape == (0, *results['img_shape'])
    assert InstanceAwareCrop((1, 1))(dict(img=picture()))['img_shape'] == (HEIGHT, WIDTH)


def uncut(boxes, window):
    """Whether each box lies wholly inside or wholly outside."""
    x1, y1, x2, y2 = window
    inside = (boxes >= [x1, y1, x1, y1]).all(axis=1) & (boxes <= [x2, y2, x2, y2]).all(axis=1)
    beside = (boxes[:, 2:] <= [x1, y1]).any(axis=1) | (boxes[:, :2] >= [x2, y2]).any(axis=1)
    return inside | beside


@pytest.mark.parametrize('seed', range(20))
def test_the_window_grows_until_it_cuts_no_instance(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [80, 50], (6, 2))
    boxes = np.concatenate([corners, (corners + rng.uniform(1, 25, (6, 2)))], axis=1)
    boxes = boxes.clip(0, [WIDTH, HEIGHT] * 2).astype(np.float32)
    np.random.seed(seed)
    first = window_of(InstanceAwareCrop((0.2, 0.2))(results_of(boxes)))
    np.random.seed(seed)
    results = InstanceAwareCrop((0.2, 0.2), crop_instance=False)(results_of(boxes, ignored=[0]))
    x1, y1, x2, y2 = grown = window_of(results)
    assert uncut(boxes, grown).all()
    assert x1 <= first[0] <= first[2] <= x2
    assert y1 <= first[1] <= first[3] <= y2
    assert (x2 - x1) * (y2 - y1) == (first[2] - first[0]) * (first[3] - first[1]) or not uncut(
        boxes, first
    ).all()
    sides = boxes[results['gt_bboxes_labels']]
    np.testing.assert_array_equal(
        results['gt_bboxes'].tensor, sides - np.array([x1, y1] * 2, np.float32)
    )


def test_the_whole_picture_is_taken_after_too_many_rounds(smallest):
    # each box is cut by the window that holds those before it
    chain = [[3 * i, 0, 3 * i + 4, 10] for i in range(20)]
    for rounds, grows in [(3, False), (30, True)]:
        crop = InstanceAwareCrop((0.1, 0.05), crop_instance=False, max_rounds=rounds)
        crop.draw = lambda boxes, size: (0, 0, 2, 6)
        expected = (0, 0, 61, 10) if grows else (0, 0, WIDTH, HEIGHT)
        assert window_of(crop(results_of(chain))) == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(size_range=(0.9,)), r'two shares in \(0, 1\], got \[0.9\]'),
        (dict(size_range=(0, 0.5)), 'two shares'),
        (dict(size_range=(0.5, 1.1)), 'two shares'),
        (dict(max_rounds=-1), 'max_rounds'),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        InstanceAwareCrop(**options)


def test_missing_keys():
    results = results_of()
    del results['gt_bboxes']
    with pytest.raises(KeyError, match='gt_bboxes beside gt_masks'):
        InstanceAwareCrop()(results)
    with pytest.raises(KeyError, match='BoxesFromMasks needs gt_masks'):
        BoxesFromMasks()(results_of(kind='boxes'))


def test_boxes_of_polygons_span_their_vertices():
    results = fixed((20, 0, 90, 60))(results_of())
    # an instance's box is looser than what is left of its mask
    results['gt_bboxes'].tensor[0] = results['gt_bboxes'].tensor.new_tensor([0, 0, 70, 60])
    results['gt_ignore_flags'][1] = True
    ignored = results['gt_bboxes'].tensor[1].tolist()
    results = BoxesFromMasks()(results)
    boxes = results['gt_bboxes'].tensor.tolist()
    assert boxes[0] == [0, 4, 20, 30.25]
    assert boxes[1] == ignored
    assert boxes[2] == [0, 35, 25, 58]


def test_boxes_of_bitmaps_span_their_pixels():
    masks = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    masks[0, 10:20, 30] = masks[0, 12, 30:41] = 1
    results = results_of([[0, 0, 80, 50]], kind='boxes')
    results['gt_masks'] = BitmapMasks(masks, HEIGHT, WIDTH)
    assert BoxesFromMasks()(results)['gt_bboxes'].tensor.tolist() == [[30, 10, 41, 20]]


@pytest.mark.parametrize('kind', ['polygons', 'bitmaps'])
def test_no_boxes_from_no_masks(kind):
    assert BoxesFromMasks()(results_of([], kind))['gt_bboxes'].tensor.shape == (0, 4)


def test_boxes_are_tight_at_the_end_of_the_pipeline():
    steps = Compose(
        [
            TRANSFORMS.build(dict(type=name, **options))
            for name, options in [
                ('InstanceAwareCrop', dict(size_range=(0.5, 0.5))),
                ('ShortestEdgeResize', dict(scales=[100, 140], sampling='range')),
                ('RandomFlip', dict(prob=0.5)),
                ('BoxesFromMasks', dict()),
                ('BoxesToConvention', dict(drop_empty=True)),
            ]
        ]
    )
    for _ in range(20):
        results = steps(results_of())
        height, width = results['img_shape']
        boxes = results['gt_bboxes'].tensor.numpy()
        assert len(boxes) == len(results['gt_masks']) >= 1
        for box, parts in zip(boxes, results['gt_masks'].masks):
            points = np.concatenate(parts).reshape(-1, 2)
            span = [*points.min(axis=0), *points.max(axis=0)]
            np.testing.assert_allclose(box, span, rtol=0, atol=1e-4)
            assert (points >= -1e-4).all()
            assert (points <= [width + 1e-4, height + 1e-4]).all()


def test_repr_shows_the_arguments():
    for transform in (InstanceAwareCrop((0.5, 0.6), False, 7), BoxesFromMasks()):
        assert repr(eval(repr(transform), vars(room))) == repr(transform)
