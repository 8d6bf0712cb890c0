"""mmdet's loading of panoptic annotations without panopticapi."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from polarseg.datasets import CocoPanopticDataset
from polarseg.evaluation import CocoPanopticQualityMetric
from polarseg.registry import TRANSFORMS
from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import Category, write_panoptic
from polarseg.structures.panoptic_png import PanopticFileError, colors_to_ids

SHAPE = (40, 60)
# in the file's order, which is that of mmdet's numbers
CATEGORIES = [
    Category(3, 'cat', True),
    Category(17, 'dog', True),
    Category(92, 'sky', False),
    Category(100, 'sea', False),
]
META = dict(
    classes=('cat', 'dog', 'sky', 'sea'), thing_classes=('cat', 'dog'), stuff_classes=('sky', 'sea')
)


@pytest.fixture
def folder(tmp_path):
    """Sky above, sea below, void between; two dogs, one of them in two parts; a crowd of cats."""
    ids = np.zeros(SHAPE, np.int64)
    ids[:18], ids[20:] = 70000, 260
    ids[5:15, 10:20] = 7
    ids[25:30, 5:15] = ids[25:30, 20:30] = 12345
    ids[:5, 50:] = 9
    segments = [
        Segment(70000, 92, False),
        Segment(7, 17, True),
        Segment(260, 100, False),
        Segment(12345, 17, True),
        Segment(9, 3, True, iscrowd=True),
    ]
    write_panoptic(tmp_path / 'truth.json', [(4, 'a.png', PanopticMap(ids, segments))], CATEGORIES)
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((*SHAPE, 3), np.uint8))
    return tmp_path, ids


def load(root, meta=META):
    with DefaultScope.overwrite_default_scope('polarseg'):
        dataset = CocoPanopticDataset(
            ann_file='truth.json',
            data_root=str(root),
            data_prefix=dict(img='', seg='truth/'),
            metainfo=meta,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations')],
        )
        return dataset[0]


@pytest.fixture
def loaded(folder):
    return load(folder[0])


def change(root, edit):
    file = root / 'truth.json'
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_ids_of_colours():
    colors = np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)
    assert colors_to_ids(colors).tolist() == [[1 + 2 * 256 + 3 * 65536, 2**24 - 1]]


def test_boxes_masks_and_labels(folder, loaded):
    ids = folder[1]
    assert loaded['gt_bboxes_labels'].tolist() == [1, 1]
    assert loaded['gt_bboxes'].tensor.tolist() == [[10, 5, 20, 15], [5, 25, 30, 30]]
    for mask, number in zip(loaded['gt_masks'].to_ndarray(), (7, 12345)):
        assert (mask == (ids == number)).all()
    expected = np.full(SHAPE, 255)
    for number, label in ((70000, 2), (260, 3), (7, 1), (12345, 1), (9, 0)):
        expected[ids == number] = label
    assert (loaded['gt_seg_map'] == expected).all()


def test_what_is_loaded_as_mmdets_result_has_full_quality(folder, loaded):
    """The numbers of mmdet's data set are those that the metric reads."""
    joined = loaded['gt_seg_map'].copy()
    joined[joined == 255] = 4
    for instance, mask in enumerate(loaded['gt_masks'].to_ndarray(), start=1):
        joined[mask > 0] += 1000 * instance
    # a prediction for the crowd counts for nothing
    joined[joined == 0] = 3000
    metric = CocoPanopticQualityMetric(str(folder[0] / 'truth.json'))
    metric.dataset_meta = META
    found = PixelData(sem_seg=torch.from_numpy(joined)[None])
    metric.process({}, [dict(img_id=4, pred_panoptic_seg=found)])
    scores = metric.evaluate(1)
    assert [scores[f'coco_panoptic/{name}'] for name in ('PQ', 'PQ_th', 'PQ_st')] == [100] * 3


def test_options_are_mmdets():
    build = TRANSFORMS.build
    transform = build(dict(type='LoadPanopticAnnotations', with_seg=False, with_mask=False))
    assert (transform.with_bbox, transform.with_mask, transform.with_seg) == (True, False, False)
    assert not transform.with_keypoints


# -- what mmdet's would take without a word ------------------------------------------------------


def test_labels_follow_the_order_of_the_classes(folder, loaded):
    """Not that of the file."""
    meta = dict(
        classes=('dog', 'cat', 'sea', 'sky'),
        thing_classes=('dog', 'cat'),
        stuff_classes=('sea', 'sky'),
    )
    found = load(folder[0], meta)
    assert found['gt_bboxes_labels'].tolist() == [0, 0]
    moved = np.array([1, 0, 3, 2])
    void = loaded['gt_seg_map'] == 255
    assert (found['gt_seg_map'][~void] == moved[loaded['gt_seg_map'][~void]]).all()
    assert (found['gt_seg_map'][void] == 255).all()


def test_pngs_have_the_names_that_the_file_gives_them(folder, loaded):
    root = folder[0]
    (root / 'truth/a.png').rename(root / 'truth/a_panoptic.png')
    change(root, lambda c: c['annotations'][0].update(file_name='a_panoptic.png'))
    assert (load(root)['gt_seg_map'] == loaded['gt_seg_map']).all()


def test_two_pictures_of_one_id(folder):
    change(folder[0], lambda c: c['images'].append(dict(c['images'][0], file_name='b.png')))
    with pytest.raises(ValueError, match=r'truth\.json: two pictures have the id 4: a\.png and b'):
        load(folder[0])


def test_a_category_without_a_class(folder):
    meta = dict(classes=('cat', 'dog', 'sky'), thing_classes=('cat', 'dog'), stuff_classes=('sky',))
    with pytest.raises(ValueError, match=r'truth\.json: .* 100, or its category is none of'):
        load(folder[0], meta)


PIXELS = np.zeros((*SHAPE, 3), np.uint8)


@pytest.mark.parametrize(
    ('png', 'said'),
    [
        (PIXELS[..., 0], '3 channels of 8 bits, got uint8'),
        (PIXELS.astype(np.uint16), '3 channels of 8 bits, got uint16'),
        (PIXELS + np.uint8(1), 'ids of the map that no segment has: 65793'),
        (PIXELS[1:], r'must have the size of the picture, \[40, 60\], got \[39, 60\]'),
        (b'nothing', 'no picture, or a damaged one'),
        (b'', 'no picture, or a damaged one'),
    ],
)
def test_pngs_that_are_not_what_the_file_says(folder, png, said):
    path = folder[0] / 'truth/a.png'
    if isinstance(png, bytes):
        path.write_bytes(png)
    else:
        cv2.imwrite(str(path), png)
    with pytest.raises(PanopticFileError, match=said) as info:
        load(folder[0])
    assert str(path) in str(info.value)


def test_no_png(folder):
    (folder[0] / 'truth/a.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'truth/a\.png'):
        load(folder[0])
