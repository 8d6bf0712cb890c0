"""Labels of stuff beside those of things, from the loader to the model."""
# ruff: noqa: NPY002  (what is tested draws from numpy's global generator)

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.structures.bbox import HorizontalBoxes
from PIL import Image

import polarseg.datasets.transforms as room
from polarseg.datasets.transforms import LoadPanopticLabels, ShortestEdgeResize
from polarseg.registry import TRANSFORMS
from polarseg.structures.panoptic_png import write_panoptic_png

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def results(tmp_path):
    """What a data set hands over: stuff 1 above, stuff 2 below, void between, a thing over all."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[:18], ids[20:] = 70000, 260
    ids[10:30, 20:40] = 5
    write_panoptic_png(tmp_path / 'a.png', ids)
    return dict(
        ori_shape=(HEIGHT, WIDTH),
        img_shape=(HEIGHT, WIDTH),
        img_path='pictures/a.jpg',
        panoptic_path=str(tmp_path / 'a.png'),
        segments_info=[
            dict(id=5, category_id=1, isthing=True),
            dict(id=260, category_id=94, isthing=False),
            dict(id=70000, category_id=92, isthing=False),
        ],
        semantic_labels={1: 0, 92: 1, 94: 54, 95: 2},
    )


@pytest.fixture
def expected():
    labels = np.full((HEIGHT, WIDTH), 255)
    labels[:18], labels[20:] = 1, 54
    labels[10:30, 20:40] = 0
    return labels


def test_labels_are_made_from_the_panoptic_png(results, expected):
    labels = LoadPanopticLabels()(results)['gt_seg_map']
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected << 8)


def test_labels_of_things_are_joined(results, expected):
    things = np.random.default_rng(0).integers(0, 81, (HEIGHT, WIDTH), np.uint8)
    labels = LoadPanopticLabels()(results | dict(gt_seg_map=things))['gt_seg_map']
    np.testing.assert_array_equal(labels & 255, things)
    np.testing.assert_array_equal(labels >> 8, expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(img_shape=(80, 120)), 'LoadPanopticLabels goes before resizing'),
        (dict(flip=True), 'LoadPanopticLabels goes before resizing, cropping and flipping'),
        (dict(gt_seg_map=np.zeros((HEIGHT, WIDTH), np.int32)), 'uint8 labels.*this one is int32'),
        (dict(gt_seg_map=np.zeros((WIDTH, HEIGHT), np.uint8)), 'must be of one size'),
        (dict(ori_shape=(9, 9), img_shape=(9, 9)), r'a.png must have the size .*\[9, 9\]'),
        (dict(segments_info=[]), r'a.png: ids of the map that no segment has'),
    ],
)
def test_what_does_not_fit(results, change, message):
    with pytest.raises(ValueError, match=message):
        LoadPanopticLabels()(results | change)


def test_a_data_set_without_panoptic_files(results):
    del results['segments_info']
    with pytest.raises(KeyError, match=r"\['segments_info'\].*panoptic_file"):
        LoadPanopticLabels()(results)


def test_prepared_maps(results, expected, tmp_path):
    (tmp_path / 'maps').mkdir()
    cv2.imwrite(str(tmp_path / 'maps/a.png'), expected.astype(np.uint8))
    load = LoadPanopticLabels(map_dir=str(tmp_path / 'maps'))
    del results['panoptic_path'], results['segments_info']
    np.testing.assert_array_equal(load(dict(results))['gt_seg_map'] >> 8, expected)
    del results['semantic_labels']
    np.testing.assert_array_equal(load(results)['gt_seg_map'] >> 8, expected)


def test_prepared_maps_have_the_names_of_the_panoptic_pngs(results, expected, tmp_path):
    """As the tool writes them, whatever the names of the pictures."""
    (tmp_path / 'maps').mkdir()
    cv2.imwrite(str(tmp_path / 'maps/a_panoptic.png'), expected.astype(np.uint8))
    results['panoptic_path'] = str(tmp_path / 'elsewhere/a_panoptic.png')
    load = LoadPanopticLabels(map_dir=str(tmp_path / 'maps'))
    np.testing.assert_array_equal(load(results)['gt_seg_map'] >> 8, expected)


@pytest.mark.parametrize(
    ('labels', 'error', 'message'),
    [
        (None, FileNotFoundError, 'no map of stuff'),
        (b'', ValueError, 'no picture'),
        (b'nothing', ValueError, 'no picture'),
        (np.zeros((WIDTH, HEIGHT), np.uint8), ValueError, r'\[40, 60\].*got uint8.*\[60, 40\]'),
        (np.zeros((HEIGHT, WIDTH), np.uint16), ValueError, 'got uint16'),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), ValueError, r'got uint8 .*\[40, 60, 3\]'),
        (np.full((HEIGHT, WIDTH), 77, np.uint8), ValueError, 'has label 77, but'),
    ],
)
def test_bad_prepared_maps_name_their_file(results, tmp_path, labels, error, message):
    path = tmp_path / 'maps/a.png'
    path.parent.mkdir()
    if isinstance(labels, bytes):
        path.write_bytes(labels)
    elif labels is not None:
        cv2.imwrite(str(path), labels)
    with pytest.raises(error, match=message) as raised:
        LoadPanopticLabels(map_dir=str(tmp_path / 'maps'))(results)
    assert str(path) in str(raised.value)


def test_repr_shows_the_arguments():
    load = LoadPanopticLabels('maps')
    assert repr(eval(repr(load), vars(room))) == repr(load)


def joined_labels(height, width, seed=0):
    """Every kind of joined label, up to the largest one of 65535."""
    return np.random.default_rng(seed).integers(0, 65536, (height, width)).astype(np.int32)


@pytest.mark.parametrize('size', [(40, 60), (41, 97), (25, 13)])
def test_resizing_takes_the_same_pixels_as_of_a_uint8_map(size):
    """Pillow's nearest pixel of 32 bits is that of 8 bits, of which mmcv and the models know."""
    height, width = size
    labels = joined_labels(height, width)
    labels[0, 0] = 65535
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    for short_side in (16, 37, 71):
        resize = ShortestEdgeResize(scales=[short_side])
        image = np.zeros((height, width, 3), np.uint8)
        found = resize(dict(img=image, gt_seg_map=labels))['gt_seg_map']
        assert found.dtype == np.int32
        shape = found.shape[::-1]
        at = [np.array(Image.fromarray(m).resize(shape, Image.NEAREST)) for m in (rows, columns)]
        np.testing.assert_array_equal(found, labels[at[0], at[1]])
        low, high = (
            resize(dict(img=image, gt_seg_map=part.astype(np.uint8)))['gt_seg_map']
            for part in (labels & 255, labels >> 8)
        )
        np.testing.assert_array_equal(found, low + 256 * high.astype(np.int32))


def test_label_maps_that_pillow_cannot_resize():
    image, labels = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.int64)
    with pytest.raises(ValueError, match=r'gt_seg_map must be uint8 or int32 .* got int64'):
        ShortestEdgeResize(scales=[40])(dict(img=image, gt_seg_map=labels))


RESIZES = {
    'pillow': [dict(type='ShortestEdgeResize', scales=[66], max_size=1333)],
    'opencv': [dict(type='Resize', scale=(75, 66), keep_ratio=True)],
    'crop': [
        dict(type='InstanceAwareCrop', size_range=(0.5, 0.5)),
        dict(type='ShortestEdgeResize', scales=[66], max_size=1333),
    ],
}


@pytest.mark.parametrize('name', RESIZES)
@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_joined_labels_stay_with_the_picture(name, direction):
    """The picture shows both labels in patches; only their borders are blurred by the resize."""
    patches = joined_labels(4, 6, seed=2).repeat(12, axis=0).repeat(12, axis=1)
    shown = np.stack([patches & 255, patches >> 8, 0 * patches], axis=-1).astype(np.uint8)
    flip = dict(type='RandomFlip', prob=1.0, direction=direction)
    steps = Compose(
        [TRANSFORMS.build(s) for s in [*RESIZES[name], flip, dict(type='PackDetInputs')]]
    )
    np.random.seed(4)
    for _ in range(4):
        packed = steps(
            dict(
                img=shown.copy(),
                img_shape=shown.shape[:2],
                gt_seg_map=patches.copy(),
                gt_bboxes=HorizontalBoxes(np.float32([[5, 5, 40, 30]])),
                gt_bboxes_labels=np.array([0]),
                gt_ignore_flags=np.array([False]),
            )
        )
        labels = packed['data_samples'].gt_sem_seg.sem_seg
        assert labels.shape[1:] == packed['inputs'].shape[1:]
        assert np.isin(labels.numpy(), patches).all()
        found = packed['inputs'].int()
        same = (found[0] == labels[0] & 255) & (found[1] == labels[0] >> 8)
        # a patch is 16 to 40 pixels wide then; 1 or 2 on each side are blurred
        assert same.float().mean() > 0.6
        agrees = ((found[0] - (labels[0] & 255)).abs() < 90).float().mean()
        assert agrees > 0.9
