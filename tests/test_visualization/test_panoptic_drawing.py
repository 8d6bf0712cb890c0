"""draw_panoptic: what is coloured, borders, where labels stand, nothing changed elsewhere."""

import cv2
import numpy as np
import pytest

from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import PanopticFiles
from polarseg.visualization import draw_panoptic, instance_color, stuff_color
from polarseg.visualization import panoptic_drawing as drawing_module

GREY = 128
NAMES = ('cat', 'dog', 'sky-other-merged', 'sea')


def picture(height=120, width=160):
    return np.full((height, width, 3), GREY, np.uint8)


def two_cats_and_sky():
    """Cats left and in the middle, sky at the right, void at the bottom."""
    ids = np.zeros((120, 160), np.int32)
    ids[:80, :40], ids[:80, 40:90], ids[:80, 90:] = 9, 300, 4
    segments = [
        Segment(300, 0, isthing=True, score=0.876),
        Segment(4, 2, isthing=False),
        Segment(9, 0, isthing=True),
    ]
    return PanopticMap(ids, segments)


def changed(drawn):
    return (drawn != GREY).any(axis=2)


def mixed(color, alpha=0.5):
    return pytest.approx((1 - alpha) * GREY + alpha * np.array(color), abs=1)


@pytest.fixture
def written(monkeypatch):
    """Texts with their plates, in the order of writing."""
    plates = []
    original = drawing_module.draw_plate

    def note(canvas, text, plate):
        plates.append((text, plate))
        return original(canvas, text, plate)

    monkeypatch.setattr(drawing_module, 'draw_plate', note)
    return plates


def test_segments_are_coloured_and_void_left_alone():
    image, panoptic = picture(), two_cats_and_sky()
    drawn = draw_panoptic(image, panoptic, labels=False, enlarge=1)
    assert (image == GREY).all()
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape
    assert changed(drawn)[:80].all()
    assert not changed(drawn)[80:].any()
    assert drawn[20, 20] == mixed(instance_color(1))
    assert drawn[20, 60] == mixed(instance_color(0))
    assert drawn[20, 120] == mixed(stuff_color(2))
    again = draw_panoptic(image, two_cats_and_sky(), labels=False, enlarge=1, alpha=0.2)
    assert again[20, 120] == mixed(stuff_color(2), 0.2)


def test_borders_are_one_pixel_thin():
    drawn = draw_panoptic(picture(), two_cats_and_sky(), labels=False, enlarge=1)
    bright = drawn.min(axis=2) > 160
    assert bright[:79, [39, 89]].all()
    assert bright[79].all()
    assert bright.sum() == 79 * 2 + 160


def test_colours_of_stuff_are_those_of_the_class():
    ids = np.zeros((120, 160), np.int32)
    ids[:60], ids[60:] = 1, 2
    for order in ((2, 3), (3, 2)):
        segments = [Segment(n, c, isthing=False) for n, c in zip((1, 2), order)]
        drawn = draw_panoptic(picture(), PanopticMap(ids, segments), labels=False, enlarge=1)
        assert drawn[20, 20] == mixed(stuff_color(order[0]))
        assert drawn[90, 20] == mixed(stuff_color(order[1]))
    colors = {stuff_color(number) for number in range(80, 133)}
    assert len(colors) == 53


def test_labels_stand_inside_their_segments(written):
    panoptic = two_cats_and_sky()
    drawn = draw_panoptic(picture(), panoptic, NAMES)
    factor = drawn.shape[1] // 160
    assert drawn.shape == (120 * factor, 160 * factor, 3)
    # the largest first; scores of things
    assert [text for text, _ in written] == ['sky', 'cat 0.88', 'cat']
    for (_, (x1, y1, x2, y2)), number in zip(written, (4, 300, 9)):
        inside = panoptic.ids[y1 // factor : y2 // factor, x1 // factor : x2 // factor]
        assert (inside == number).all()


@pytest.mark.parametrize('classes', [None, ('cat',)])
def test_classes_without_a_name(written, classes):
    draw_panoptic(picture(), two_cats_and_sky(), classes)
    assert written[0][0] == '2'


def test_the_label_of_a_ring_is_on_the_ring(written):
    ids = np.zeros((400, 400), np.int32)
    cv2.circle(ids, (200, 200), 150, 5, 60)
    panoptic = PanopticMap(ids, [Segment(5, 1, isthing=True, iscrowd=True)])
    draw_panoptic(picture(400, 400), panoptic, NAMES, enlarge=1)
    text, (x1, y1, x2, y2) = written[0]
    assert text == 'dog (crowd)'
    assert ids[(y1 + y2) // 2, (x1 + x2) // 2] == 5


def test_labels_never_cover_one_another(written):
    """200 segments of 8 x 8 pixels: most labels find no room."""
    number = np.arange(200).reshape(10, 20) + 1
    ids = np.kron(number, np.ones((8, 8), int))
    segments = [Segment(int(n), 0, isthing=True, score=0.5) for n in number.ravel()]
    draw_panoptic(picture(80, 160), PanopticMap(ids, segments), NAMES, enlarge=1)
    plates = np.array([plate for _, plate in written])
    assert 4 <= len(plates) < 200
    assert (plates >= 0).all()
    assert (plates[:, 2] < 160).all()
    assert (plates[:, 3] < 80).all()
    for index, plate in enumerate(plates):
        others = np.delete(plates, index, 0)
        covered = (others[:, :2] <= plate[2:]) & (others[:, 2:] >= plate[:2])
        assert not covered.all(axis=1).any()


def test_a_picture_smaller_than_a_label(written):
    panoptic = PanopticMap(np.ones((4, 6), int), [Segment(1, 1, isthing=True)])
    drawn = draw_panoptic(picture(4, 6), panoptic, NAMES, enlarge=1)
    assert drawn.shape == (4, 6, 3)
    assert len(written) == 1


def test_nothing_and_segments_without_pixels(written):
    empty = PanopticMap(np.zeros((120, 160), int), [Segment(1, 1, isthing=True)])
    assert not changed(draw_panoptic(picture(), empty, NAMES)).any()
    assert not written


def test_sizes_that_differ():
    with pytest.raises(ValueError, match=r'one size, got \[4, 6\] and \[120, 160\]'):
        draw_panoptic(picture(4, 6), two_cats_and_sky())


def test_real_pictures(shared_data, written):
    folder = shared_data / 'coco_panoptic'
    files = PanopticFiles(folder / 'annotations/panoptic.json', folder / 'panoptic')
    for number in files.annotations:
        image = cv2.imread(str(folder / f'images/{number:012}.jpg'))
        panoptic = files.read(number)
        written.clear()
        drawn = draw_panoptic(image, panoptic)
        assert drawn.shape == (2 * image.shape[0], 2 * image.shape[1], 3)
        assert (drawn == draw_panoptic(image, files.read(number))).all()
        assert len(written) >= 2 * 0.8 * len(panoptic.segments)
