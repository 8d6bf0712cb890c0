"""Thing-semantic label maps: painted from annotations, read from files, carried along."""
# ruff: noqa: NPY002  (what is tested draws from numpy's global generator)

import json

import cv2
import numpy as np
import pytest
from mmdet.models import DetDataPreprocessor
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import polarseg.datasets.transforms as room
from polarseg.datasets import CocoInstanceDataset
from polarseg.datasets.transforms import LoadThingSemantic

HEIGHT, WIDTH = 40, 60


def box_polygon(x1, y1, x2, y2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def instance(label, mask, crowd=0):
    return dict(bbox=[0, 0, 9, 9], bbox_label=label, ignore_flag=crowd, mask=mask)


def results_of(*instances, skipped=()):
    return dict(
        instances=list(instances),
        skipped_masks=list(skipped),
        ori_shape=(HEIGHT, WIDTH),
        img_shape=(HEIGHT, WIDTH),
        img_path='pictures/street 4.jpg',
        img_id=17,
    )


def run_lengths(x1, y1, x2, y2, compressed):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1:y2, x1:x2] = 1
    if compressed:
        rle = coco_mask.encode(np.asfortranarray(mask))
        return dict(size=[HEIGHT, WIDTH], counts=rle['counts'].decode())
    flat = np.concatenate([[0], mask.ravel(order='F'), [2]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return dict(size=[HEIGHT, WIDTH], counts=np.diff([0, *edges]).tolist())


def labels_of(results, **options):
    return LoadThingSemantic(**options)(results)['gt_seg_map']


def test_later_annotations_cover_earlier_ones():
    small, large = box_polygon(10, 10, 20, 20), box_polygon(5, 5, 30, 30)
    labels = labels_of(results_of(instance(3, small), instance(7, large)))
    assert labels.dtype == np.uint8
    assert labels.shape == (HEIGHT, WIDTH)
    expected = np.zeros((HEIGHT, WIDTH))
    expected[5:30, 5:30] = 8
    np.testing.assert_array_equal(labels, expected)
    labels = labels_of(results_of(instance(7, large), instance(3, small)))
    expected[10:20, 10:20] = 4
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize('compressed', [True, False])
def test_run_lengths_crowds_and_several_parts(compressed):
    crowd = instance(0, run_lengths(8, 0, 50, 12, compressed), crowd=1)
    parts = instance(5, box_polygon(0, 0, 10, 10) + box_polygon(40, 5, 60, 40) + [[1, 2, 3, 4]])
    labels = labels_of(results_of(parts, crowd))
    expected = np.zeros((HEIGHT, WIDTH))
    expected[:10, :10] = expected[5:, 40:] = 6
    expected[:12, 8:50] = 1
    np.testing.assert_array_equal(labels, expected)


def test_left_out_annotations_are_painted_at_their_position():
    places = [(0, 0, 30, 30), (10, 10, 40, 40), (20, 20, 50, 40), (25, 0, 35, 40)]
    entries = [instance(label, box_polygon(*place)) for label, place in enumerate(places)]
    expected = labels_of(results_of(*entries))
    for left_out in ([0], [1, 2], [0, 3], [0, 1, 2, 3], []):
        skipped = [entries[i] | dict(position=i) for i in left_out]
        kept = [entry for i, entry in enumerate(entries) if i not in left_out]
        np.testing.assert_array_equal(labels_of(results_of(*kept, skipped=skipped)), expected)


def test_a_picture_without_annotations_is_background():
    assert not labels_of(results_of()).any()
    results = dict(instances=[], height=3, width=5)
    assert labels_of(results).shape == (3, 5)


def test_what_has_no_mask_is_counted(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'polarseg.datasets.skip_log.print_log', lambda text, **_: lines.append(text)
    )
    load = LoadThingSemantic()
    masks = [None, [], [[1, 2, 3, 4]], dict(size=[4, 4], counts=[16])]
    results = results_of(*(instance(0, mask) for mask in masks))
    assert not load(results)['gt_seg_map'].any()
    assert sum(load.skips.counts.values()) == len(masks)
    assert any('annotation 2 of image 17' in line for line in lines)


def test_labels_of_more_than_255_classes():
    results = results_of(instance(254, box_polygon(0, 0, 5, 5)))
    assert labels_of(results)[0, 0] == 255
    with pytest.raises(ValueError, match='class 255 would get label 256'):
        labels_of(results_of(instance(255, box_polygon(0, 0, 5, 5))))
    # LVIS v0.5 has 1230 categories with ids from 1 on
    shared = [number // 5 for number in range(1, 1231)]
    results = results_of(instance(1229, box_polygon(0, 0, 5, 5)))
    assert labels_of(results, labels=shared)[0, 0] == 1230 // 5
    with pytest.raises(ValueError, match='class 2 has no label; there are 2 labels'):
        labels_of(results_of(instance(2, box_polygon(0, 0, 5, 5))), labels=[4, 5])
    with pytest.raises(ValueError, match=r'labels must lie in \[0, 255\], got 256'):
        LoadThingSemantic(labels=[1, 256])


@pytest.mark.parametrize(
    'change', [dict(img_shape=(80, 120)), dict(flip=True), dict(gt_seg_map=np.zeros((40, 60)))]
)
def test_its_place_in_the_pipeline(change):
    with pytest.raises(ValueError, match='LoadThingSemantic'):
        LoadThingSemantic()(results_of() | change)


def test_prepared_maps(tmp_path):
    labels = np.random.default_rng(0).integers(0, 81, (HEIGHT, WIDTH)).astype(np.uint8)
    np.savez_compressed(tmp_path / 'street 4.npz', mask=labels)
    results = results_of(instance(3, box_polygon(10, 10, 20, 20)))
    np.testing.assert_array_equal(labels_of(results, map_dir=str(tmp_path)), labels)


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez_compressed(path, **content)


@pytest.mark.parametrize(
    ('content', 'error', 'message'),
    [
        (None, FileNotFoundError, 'no thing-semantic map'),
        (b'', ValueError, "no npz file with the key 'mask'"),
        (b'no zip', ValueError, "no npz file with the key 'mask'"),
        (dict(labels=np.zeros((40, 60), np.uint8)), ValueError, "the key 'mask'"),
        (dict(mask=np.array([None])), ValueError, "the key 'mask'"),
        (dict(mask=np.zeros((60, 40), np.uint8)), ValueError, r'\[40, 60\].*got.*\[60, 40\]'),
        (dict(mask=np.zeros((40, 60), np.int64)), ValueError, 'uint8.*got int64'),
    ],
)
def test_bad_prepared_maps_name_their_file(tmp_path, content, error, message):
    write(tmp_path / 'street 4.npz', content)
    with pytest.raises(error, match=message) as raised:
        labels_of(results_of(), map_dir=str(tmp_path))
    assert str(tmp_path / 'street 4.npz') in str(raised.value)


def test_a_cut_off_file_names_itself(tmp_path):
    path = tmp_path / 'street 4.npz'
    np.savez_compressed(path, mask=np.random.default_rng(0).integers(0, 9, (40, 60), np.uint8))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(ValueError, match='is no npz file'):
        labels_of(results_of(), map_dir=str(tmp_path))


def test_repr_shows_the_arguments():
    load = LoadThingSemantic('maps', [1, 1, 2], dict(backend='local'))
    assert repr(eval(repr(load), vars(room))) == repr(load)


def painted_by_hand(coco, image_id, category_ids):
    """The rule in its own words, on pycocotools alone."""
    picture = coco.imgs[image_id]
    labels = np.zeros((picture['height'], picture['width']), np.uint8)
    for annotation in coco.dataset['annotations']:
        if annotation['image_id'] == image_id and annotation['category_id'] in category_ids:
            label = category_ids.index(annotation['category_id']) + 1
            labels[coco.annToMask(annotation) == 1] = label
    return labels


PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadThingSemantic'),
    dict(type='LoadPolygonAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


@pytest.mark.parametrize('persons_only', [False, True])
def test_real_pictures(shared_data, persons_only):
    folder = shared_data / 'coco_panoptic'
    coco = COCO(folder / 'annotations/instances.json')
    options = dict(metainfo=dict(classes=('person',))) if persons_only else {}
    dataset = CocoInstanceDataset(
        data_root=str(folder),
        ann_file='annotations/instances.json',
        data_prefix=dict(img='images/'),
        pipeline=PIPELINE,
        **options,
    )
    assert len(dataset) == 2
    ids = [1] if persons_only else sorted(coco.getCatIds())
    for sample in dataset:
        sample = sample['data_samples']
        expected = painted_by_hand(coco, sample.img_id, ids)
        np.testing.assert_array_equal(sample.gt_sem_seg.sem_seg[0].numpy(), expected)
        assert expected.any()


def test_real_outlines(shared_data, tmp_path):
    content = json.loads((shared_data / 'lvis_polygons_50.json').read_text())
    for picture in content['images']:
        picture['file_name'] = f'{picture["id"]}.png'
    (tmp_path / 'lvis.json').write_text(json.dumps(content))
    names = tuple(category['name'] for category in content['categories'])
    dataset = CocoInstanceDataset(
        data_root=str(tmp_path),
        ann_file='lvis.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=names),
        min_annotation_area=400,  # leaves many out, which are painted all the same
        pipeline=[dict(type='LoadThingSemantic')],
    )
    assert sum(map(len, dataset.skipped.values())) > 50
    coco = COCO(tmp_path / 'lvis.json')
    for info in dataset:
        expected = painted_by_hand(coco, info['img_id'], [c['id'] for c in content['categories']])
        np.testing.assert_array_equal(info['gt_seg_map'], expected)


@pytest.fixture
def picture_set(tmp_path):
    """One picture whose pixels say what the label map says, with three overlapping things."""
    boxes = [(4, 6, 30, 20), (20, 10, 55, 35), (0, 30, 25, 39)]
    annotations = [
        dict(
            id=number,
            image_id=1,
            category_id=number,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            area=(x2 - x1) * (y2 - y1),
            iscrowd=0,
            segmentation=box_polygon(x1, y1, x2, y2),
        )
        for number, (x1, y1, x2, y2) in enumerate(boxes, start=1)
    ]
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        pixels[y1:y2, x1:x2] = 60 * number
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    content = dict(
        images=[dict(id=1, file_name='a.png', height=HEIGHT, width=WIDTH)],
        categories=[dict(id=n, name=f'thing {n}') for n in (1, 2, 3)],
        annotations=annotations,
    )
    (tmp_path / 'file.json').write_text(json.dumps(content))
    return tmp_path


def build(folder, steps):
    return CocoInstanceDataset(
        data_root=str(folder),
        ann_file='file.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('thing 1', 'thing 2', 'thing 3')),
        pipeline=[*PIPELINE[:3], *steps, PIPELINE[-1]],
    )


@pytest.mark.parametrize('crop', [False, True])
def test_the_map_stays_with_the_picture(picture_set, crop):
    steps = [
        dict(type='ShortestEdgeResize', scales=[80], max_size=1333),
        dict(type='RandomFlip', prob=0.5),
    ]
    crops = [dict(type='InstanceAwareCrop', size_range=(0.6, 0.6))] if crop else []
    dataset = build(picture_set, [*crops, *steps])
    np.random.seed(1)
    flips = set()
    for _ in range(12):
        sample = dataset[0]
        labels = sample['data_samples'].gt_sem_seg.sem_seg
        flips.add(sample['data_samples'].flip)
        assert labels.shape[1:] == sample['inputs'].shape[1:]
        # away from edges, which bilinear resizing blurs, pixels are 60 times the label
        differs = (sample['inputs'][0].int() - 60 * labels[0].int()).abs() > 0
        assert differs.float().mean() < 0.12
        assert labels.any()
        things = sample['data_samples'].gt_instances.labels + 1
        assert set(labels.unique().tolist()) <= {0, *things.tolist()}
    assert flips == {True, False}


def test_a_batch_is_padded_with_background(picture_set):
    dataset = build(picture_set, [dict(type='ShortestEdgeResize', scales=[40, 70])])
    np.random.seed(3)
    samples = [dataset[0] for _ in range(4)]
    sizes = [tuple(sample['inputs'].shape[1:]) for sample in samples]
    assert len(set(sizes)) == 2
    batch = dict(
        inputs=[sample['inputs'] for sample in samples],
        data_samples=[sample['data_samples'] for sample in samples],
    )
    before = [sample.gt_sem_seg.sem_seg.clone() for sample in batch['data_samples']]
    preprocessor = DetDataPreprocessor(pad_size_divisor=32, pad_seg=True, seg_pad_value=0)
    batch = preprocessor(batch, training=True)
    for sample, labels, (height, width) in zip(batch['data_samples'], before, sizes):
        padded = sample.gt_sem_seg.sem_seg
        assert padded.shape[1:] == batch['inputs'].shape[2:]
        assert padded[:, :height, :width].equal(labels)
        assert not padded[:, height:].any()
        assert not padded[:, :, width:].any()
