"""draw_instances: every form of masks, labels that can be read, nothing changed elsewhere."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from polarseg.structures import PolygonInstances, masks_to_rle
from polarseg.visualization import draw_instances, instance_color
from polarseg.visualization import drawing as drawing_module

HEIGHT, WIDTH = 120, 160
CORNERS = torch.tensor(
    [[[20.0, 20], [70, 20], [70, 90], [20, 90]], [[100, 30], [150, 60], [100, 100], [90, 60]]]
)
POLYGONS = PolygonInstances(CORNERS, HEIGHT, WIDTH)
GREY = 128


def picture(height=HEIGHT, width=WIDTH):
    return np.full((height, width, 3), GREY, np.uint8)


def instances(masks=POLYGONS, scores=(0.9, 0.8), labels=(0, 1), boxes=None):
    found = InstanceData(labels=torch.tensor(labels, dtype=torch.long))
    found.bboxes = POLYGONS.boxes()[: len(labels)] if boxes is None else torch.tensor(boxes)
    if scores is not None:
        found.scores = torch.tensor(scores)
    if masks is not None:
        found.masks = masks
    return found


def changed(drawn):
    return (drawn != GREY).any(axis=2)


@pytest.fixture
def written(monkeypatch):
    """Texts with their places, in the order of writing."""
    texts = []
    original = cv2.putText

    def note(canvas, text, place, *rest):
        texts.append((text, place))
        return original(canvas, text, place, *rest)

    monkeypatch.setattr(drawing_module.cv2, 'putText', note)
    return texts


def test_masks_are_filled_and_the_rest_left_alone():
    image = picture()
    drawn = draw_instances(image, instances(), enlarge=1, labels=False, boxes=False)
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape
    assert (image == GREY).all()
    inside = POLYGONS.to_ndarray().astype(bool)
    for mask in inside:
        assert changed(drawn)[mask].all()
    # the line is two pixels wide, with soft edges
    near = cv2.dilate(inside.any(axis=0).astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert not changed(drawn)[~near].any()


def test_mask_is_see_through():
    drawn = draw_instances(picture(), instances(), enlarge=1, alpha=0.25, labels=False)
    expected = 0.75 * GREY + 0.25 * np.array(instance_color(0))
    np.testing.assert_allclose(drawn[50, 40], expected, atol=1)
    opaque = draw_instances(picture(), instances(), enlarge=1, alpha=1.0, labels=False)
    np.testing.assert_allclose(opaque[50, 40], instance_color(0), atol=1)


def test_best_is_on_top():
    over = InstanceData(
        bboxes=torch.tensor([[30.0, 30, 90, 90]] * 2),
        labels=torch.zeros(2, dtype=torch.long),
        masks=POLYGONS[[0, 0]],
    )
    drawn = draw_instances(picture(), over, enlarge=1, alpha=1.0, labels=False, boxes=False)
    np.testing.assert_allclose(drawn[50, 40], instance_color(0), atol=1)


@pytest.mark.parametrize(
    'form',
    [
        lambda masks: torch.from_numpy(masks),
        lambda masks: torch.from_numpy(masks).bool(),
        lambda masks: masks,
        lambda masks: BitmapMasks(list(masks), HEIGHT, WIDTH),
        masks_to_rle,
    ],
    ids=['tensor', 'bool', 'array', 'bitmap', 'rle'],
)
@pytest.mark.parametrize('enlarge', [1, 3])
def test_pixels_are_drawn_as_their_polygons_are(form, enlarge):
    options = dict(enlarge=enlarge, labels=False, boxes=False)
    by_pixels = draw_instances(picture(), instances(form(POLYGONS.to_ndarray())), **options)
    by_polygons = draw_instances(picture(), instances(), **options)
    # outlines run along pixels' edges or through their centres: they alone may differ
    inside = np.kron(POLYGONS.to_ndarray(), np.ones((enlarge, enlarge))).astype(np.uint8)
    square = np.ones((2 * enlarge + 5,) * 2, np.uint8)
    away = np.ones(inside.shape[1:], bool)
    for mask in inside:
        away &= cv2.dilate(mask, square) == cv2.erode(mask, square)
    assert not (by_polygons != by_pixels).any(axis=2)[away].any()
    for mask in inside.astype(bool):
        assert changed(by_pixels)[mask & away].all()
        assert (mask & away).sum() > mask.sum() / 2


def test_holes_stay_open():
    mask = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    mask[0, 20:100, 20:100] = 1
    mask[0, 50:70, 50:70] = 0
    found = instances(torch.from_numpy(mask), (0.9,), (0,))
    drawn = draw_instances(picture(), found, enlarge=1, labels=False, boxes=False)
    assert changed(drawn)[30, 30]
    assert not changed(drawn)[54:66, 54:66].any()


@pytest.mark.parametrize(
    ('size', 'factor'), [((64, 48), 8), ((240, 160), 2), ((300, 480), 1), ((900, 700), 1)]
)
def test_small_pictures_are_enlarged(size, factor):
    none = instances(None, (), (), np.zeros((0, 4), np.float32))
    drawn = draw_instances(picture(*size), none)
    assert drawn.shape == (size[0] * factor, size[1] * factor, 3)
    assert not changed(drawn).any()


def test_enlarged_masks_and_boxes_keep_their_place():
    drawn = draw_instances(picture(), instances(), enlarge=4, labels=False)
    inside = np.kron(POLYGONS.to_ndarray()[0], np.ones((4, 4))).astype(bool)
    small = cv2.erode(inside.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert changed(drawn)[small].all()
    assert changed(drawn)[80, 80:280].all()  # upper edge of the first box
    rows, columns = np.nonzero(changed(drawn)[:, :320])
    assert 76 <= rows.min() <= 80
    assert 360 <= rows.max() <= 366
    assert 76 <= columns.min() <= 80
    assert 280 <= columns.max() <= 286


def test_no_instance():
    none = instances(PolygonInstances(torch.zeros(0, 36, 2), HEIGHT, WIDTH), (), ())
    assert not changed(draw_instances(picture(), none, enlarge=1)).any()
    pixels = instances(torch.zeros(0, HEIGHT, WIDTH), (), ())
    assert not changed(draw_instances(picture(), pixels, enlarge=1)).any()


def test_boxes_alone():
    drawn = draw_instances(picture(), instances(None), enlarge=1, labels=False)
    assert changed(drawn)[20, 20:70].all()
    assert changed(drawn)[20:90, 70].all()
    assert not changed(drawn)[25:85, 25:65].any()
    off = draw_instances(picture(), instances(None), enlarge=1, labels=False, boxes=False)
    assert not changed(off).any()


def test_labels(written):
    draw_instances(picture(), instances(), ('cat', 'dog'), enlarge=2)
    assert [text for text, _ in written] == ['dog 0.80', 'cat 0.90']  # the best is written last
    (x, y) = written[1][1]
    assert x == 40
    assert 30 <= y <= 40  # above the box


@pytest.mark.parametrize(
    ('classes', 'scores', 'expected'),
    [
        (None, (0.9, 0.8), {'0 0.90', '1 0.80'}),
        (None, None, {'0', '1'}),
        (('cat', 'dog'), None, {'cat', 'dog'}),
        (('cat', 'dog', 'cow'), (0.9, 1.25), {'cat 0.90', 'dog 1.25'}),
    ],
)
def test_what_a_label_says(written, classes, scores, expected):
    draw_instances(picture(), instances(scores=scores), classes)
    assert {text for text, _ in written} == expected


def test_one_class_needs_no_name(written):
    draw_instances(picture(), instances(labels=(0, 0)), ('nucleus',))
    assert {text for text, _ in written} == {'0.90', '0.80'}
    written.clear()
    draw_instances(picture(), instances(labels=(0, 0), scores=None), ('nucleus',))
    assert {text for text, _ in written} == {'nucleus'}


def test_label_beyond_the_names_is_a_number(written):
    draw_instances(picture(), instances(labels=(0, 7)), ('cat', 'dog'))
    assert {text for text, _ in written} == {'cat 0.90', '7 0.80'}


def plates_of(written):
    """Boxes of the written texts."""
    found = []
    for text, (x, y) in written:
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        found.append((x, y + base // 2 - height - base, x + width, y + base // 2))
    return np.array(found)


def test_labels_do_not_cover_one_another(written):
    # six instances on one spot: each label finds a place of its own
    boxes = np.tile(np.float32([60, 60, 220, 200]), (6, 1))
    crowd = instances(None, np.linspace(0.9, 0.4, 6), (0, 1) * 3, boxes)
    draw_instances(picture(300, 300), crowd, ('cat', 'dog'), enlarge=1)
    plates = plates_of(written)
    for index, plate in enumerate(plates):
        others = np.delete(plates, index, axis=0)
        assert not ((others[:, :2] < plate[2:]) & (others[:, 2:] > plate[:2])).all(axis=1).any()


def test_more_labels_than_places(written):
    boxes = np.tile(np.float32([60, 60, 80, 80]), (40, 1))
    crowd = instances(None, np.linspace(0.9, 0.1, 40), (0,) * 40, boxes)
    draw_instances(picture(300, 300), crowd, ('cat', 'dog'), enlarge=1)
    assert len(written) == 40
    assert written[-1][0] == 'cat 0.90'


@pytest.mark.parametrize(
    'box',
    [
        (-50, -50, 40, 40), (290, 10, 340, 50), (10, 280, 50, 340), (-10, -10, 400, 400),
        (299, 299, 300, 300),
    ],
    ids=['top_left', 'right', 'bottom', 'larger', 'corner'],
)  # fmt: skip
def test_labels_stay_inside_the_picture(written, box):
    one = instances(None, (0.5,), (0,), np.float32([box]))
    draw_instances(picture(300, 300), one, ('cat', 'dog'), enlarge=1)
    ((x1, y1, x2, y2),) = plates_of(written)
    assert 0 <= x1 < x2 < 300
    assert 0 <= y1 < y2 < 300


def test_picture_smaller_than_a_label():
    drawn = draw_instances(
        picture(10, 12), instances(None, (0.5,), (0,), np.float32([[1, 1, 9, 9]])), enlarge=1
    )
    assert drawn.shape == (10, 12, 3)


def test_colours_of_neighbours_differ():
    colours = np.array([instance_color(index) for index in range(12)])
    assert ((colours >= 0) & (colours <= 255)).all()
    for step in (1, 2, 3):
        distance = np.abs(colours[step:] - colours[:-step]).sum(axis=1)
        assert distance.min() > 60
