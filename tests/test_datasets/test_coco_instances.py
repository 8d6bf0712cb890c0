"""CocoInstanceDataset: what it takes, what it leaves out and says so, what it refuses."""

import json
import logging

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask

from polarseg.datasets import CocoInstanceDataset
from polarseg.registry import DATASETS

HEIGHT, WIDTH = 48, 64
CLASSES = ('cat', 'dog', 'owl')
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='TracePolarContours'),
    dict(type='PackPolarInputs'),
]


def box_polygon(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def annotation(number, box=(8, 8, 20, 12), **changes):
    """A sound annotation of category 'dog', with what a test changes; None removes a key."""
    content = dict(
        id=number,
        image_id=1,
        category_id=20,
        bbox=list(box),
        area=box[2] * box[3],
        iscrowd=0,
        segmentation=box_polygon(*box),
    )
    content.update(changes)
    return {key: value for key, value in content.items() if value is not None}


def compressed(height=HEIGHT, width=WIDTH):
    mask = np.zeros((height, width), np.uint8, order='F')
    mask[8:20, 8:28] = 1
    rle = coco_mask.encode(mask)
    return dict(size=[height, width], counts=rle['counts'].decode())


@pytest.fixture
def log():
    """Warnings of mmengine's current logger."""
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record)

    logger, handler = MMLogger.get_current_instance(), Keep(level=logging.WARNING)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@pytest.fixture
def build(tmp_path):
    """Write a COCO file of one or more pictures and open it."""

    def build(annotations, pictures=None, categories=None, **options):
        if categories is None:
            categories = [dict(id=10 * (i + 1), name=name) for i, name in enumerate(CLASSES)]
        if pictures is None:
            pictures = [dict(id=1, file_name='picture 1.png', height=HEIGHT, width=WIDTH)]
        for picture in pictures:
            pixels = np.full((picture.get('height', 8), picture.get('width', 8), 3), 90, np.uint8)
            cv2.imwrite(str(tmp_path / picture['file_name']), pixels)
        content = dict(images=pictures, categories=categories, annotations=annotations)
        (tmp_path / 'file.json').write_text(json.dumps(content))
        settings = dict(
            type='CocoInstanceDataset',
            data_root=str(tmp_path),
            ann_file='file.json',
            data_prefix=dict(img=''),
            metainfo=dict(classes=CLASSES),
            pipeline=PIPELINE,
        )
        return DATASETS.build(settings | options)

    return build


def labels_of(dataset, index=0):
    return [instance['bbox_label'] for instance in dataset.get_data_info(index)['instances']]


def test_sound_annotations(build, log):
    dataset = build([annotation(5), annotation(6, (0, 0, 10, 40), category_id=30)])
    instances = dataset.get_data_info(0)['instances']
    assert [instance['bbox'] for instance in instances] == [[8, 8, 28, 20], [0, 0, 10, 40]]
    assert labels_of(dataset) == [1, 2]
    assert not dataset.skipped
    assert not log
    sample = dataset[0]
    assert tuple(sample['inputs'].shape) == (3, HEIGHT, WIDTH)
    assert len(sample['data_samples'].gt_instances.contours) == 2


# name: (what is wrong with the annotation, part of the reason)
UNUSABLE = {
    'two points': (dict(segmentation=[[8, 8, 28, 20]]), 'no polygon of at least 3 points'),
    'odd coordinates': (dict(segmentation=[[8, 8, 28, 20, 8, 20, 1]]), 'no polygon of at least 3'),
    'zero width': (dict(bbox=[8, 8, 0, 12]), 'box without area'),
    'negative height': (dict(bbox=[8, 8, 20, -3]), 'box without area'),
    'half a pixel': (dict(bbox=[8, 8, 0.5, 12]), 'box without area'),
    'no box': (dict(bbox=None), 'no box of four finite numbers'),
    'three numbers': (dict(bbox=[8, 8, 20]), 'no box of four finite numbers'),
    'box of text': (dict(bbox=['8', '8', '20', '12']), 'no box of four finite numbers'),
    'box with nan': (dict(bbox=[float('nan'), 8, 20, 12]), 'no box of four finite numbers'),
    'other category': (dict(category_id=77), 'category not in the classes'),
    'no category': (dict(category_id=77), 'category not in the classes'),
    'no segmentation': (dict(segmentation=None), 'no segmentation'),
    'empty segmentation': (dict(segmentation=[]), 'no segmentation'),
    'flat polygon': (dict(segmentation=[8, 8, 28, 8, 28, 20]), 'neither a list of polygons nor'),
    'text': (dict(segmentation='8 8 28 8 28 20'), 'neither a list of polygons nor RLE'),
    'nan in polygon': (
        dict(segmentation=[[8, 8, float('nan'), 8, 28, 20]]),
        'coordinate that is no finite number',
    ),
    'text in polygon': (dict(segmentation=[[8, 8, '28', 8, 28, 20]]), 'no finite number'),
    'RLE without counts': (dict(segmentation=dict(size=[HEIGHT, WIDTH])), 'RLE without counts'),
    'RLE without size': (dict(segmentation=dict(counts=[8, 4])), 'RLE without counts or size'),
    'RLE of other size': (dict(segmentation=compressed(WIDTH, HEIGHT)), 'RLE of another size'),
    'RLE too short': (
        dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[100, 5])),
        'does not cover its picture',
    ),
    'RLE too long': (
        dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[100, HEIGHT * WIDTH])),
        'does not cover its picture',
    ),
    'compressed too short': (
        dict(segmentation=dict(size=[HEIGHT, WIDTH], counts='04')),
        'does not cover its picture',
    ),
    'compressed nonsense': (
        dict(segmentation=dict(size=[HEIGHT, WIDTH], counts='{no rle}')),
        'malformed RLE',
    ),
    'negative run': (
        dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[-4, HEIGHT * WIDTH + 4])),
        'malformed RLE',
    ),
    'right of the picture': (dict(bbox=[WIDTH, 8, 20, 12]), 'box outside the picture'),
    'above the picture': (dict(bbox=[8, -30, 20, 12]), 'box outside the picture'),
    'ignore': (dict(ignore=1), 'flagged ignore'),
    'area of zero': (dict(area=0), 'area is zero or negative'),
    'negative area': (dict(area=-4), 'area is zero or negative'),
}


@pytest.mark.parametrize('name', UNUSABLE)
def test_unusable_annotations_are_left_out_and_named(build, log, tmp_path, name):
    changes, reason = UNUSABLE[name]
    first = annotation(101, (2, 2, 12, 12), category_id=10)
    last = annotation(103, (30, 20, 14, 10), category_id=30)
    bad = annotation(4711, **changes)
    if name == 'no category':
        del bad['category_id']
        with pytest.raises(ValueError, match=r"file\.json.*'category_id'"):
            build([first, bad, last])
        return
    dataset = build([first, bad, last])

    assert list(map(list, dataset.skipped.values())) == [[4711]]
    assert reason in next(iter(dataset.skipped))
    lines = [record.getMessage() for record in log]
    assert len(lines) == 1
    for part in (str(tmp_path / 'file.json'), 'skipped 1 annotation', reason, '4711'):
        assert part in lines[0]

    sample = dataset[0]['data_samples'].gt_instances
    assert sample.labels.tolist() == [0, 2]
    assert sample.bboxes.tensor.tolist() == [[2, 2, 14, 14], [30, 20, 44, 30]]
    spans = [contour.min(axis=0).tolist() for contour in sample.contours.numpy()]
    assert spans == [[2, 2], [30, 20]]


def test_many_of_a_kind_are_one_line_with_their_number(build, log):
    sound = annotation(1)
    bad = [annotation(50 + i, bbox=[0, 0, 0, 0]) for i in range(8)]
    dataset = build([*bad, sound, annotation(90, segmentation=None)])
    assert sorted(map(len, dataset.skipped.values())) == [1, 8]
    lines = [record.getMessage() for record in log]
    assert len(lines) == 2
    assert 'skipped 8 annotation(s)' in lines[0]
    assert '(ids 50, 51, 52, 53, 54, ...)' in lines[0]


def test_a_short_polygon_beside_a_sound_one_does_not_matter(build, log):
    parts = [[1, 1, 5, 5], *box_polygon(8, 8, 20, 12)]
    dataset = build([annotation(1, segmentation=parts)])
    assert not dataset.skipped
    contour = dataset[0]['data_samples'].gt_instances.contours.numpy()[0]
    assert contour.min(axis=0).tolist() == [8, 8]


def test_boxes_alone_suffice_without_require_masks(build):
    dataset = build([annotation(1, segmentation=None)], require_masks=False, pipeline=[])
    assert labels_of(dataset) == [1]
    assert not dataset.skipped


@pytest.mark.parametrize('rle', [compressed(), dict(size=[HEIGHT, WIDTH], counts=None)], ids=str)
def test_sound_rle(build, rle):
    if rle['counts'] is None:
        area = np.zeros((HEIGHT, WIDTH), np.uint8)
        area[8:20, 8:28] = 1
        flat = area.T.reshape(-1)
        changes = np.flatnonzero(np.diff(flat)) + 1
        rle['counts'] = np.diff([0, *changes, flat.size]).tolist()
    dataset = build([annotation(1, segmentation=rle)])
    contour = dataset[0]['data_samples'].gt_instances.contours.numpy()[0]
    assert contour.min(axis=0).tolist() == [8, 8]
    assert contour.max(axis=0).tolist() == [27, 19]


# -- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize('classes', [('owl', 'cat', 'dog'), ('dog', 'owl', 'cat'), ('dog',)])
def test_labels_follow_the_order_of_the_classes(build, classes):
    ids = dict(cat=10, dog=20, owl=30)
    entries = [annotation(i, category_id=number) for i, number in enumerate(ids.values())]
    dataset = build(entries, metainfo=dict(classes=classes))
    expected = [classes.index(name) for name in ids if name in classes]
    assert labels_of(dataset) == expected
    assert dataset.cat_ids == [ids[name] for name in classes]
    assert len(dataset.skipped.get('category not in the classes', [])) == 3 - len(expected)


def test_a_class_that_the_file_lacks(build, tmp_path):
    with pytest.raises(ValueError) as caught:
        build([annotation(1)], metainfo=dict(classes=('cat', 'wolf')))
    for part in (str(tmp_path / 'file.json'), 'wolf', 'cat', 'dog', 'owl', 'metainfo'):
        assert part in str(caught.value)


def test_two_pictures_of_one_id(build):
    """Of which pycocotools keeps the last, with the annotations of both."""
    size = dict(height=HEIGHT, width=WIDTH)
    pictures = [dict(id=1, file_name=f'{name}.png', **size) for name in 'ab']
    with pytest.raises(ValueError, match=r'file\.json: two pictures have the id 1: a\.png and b'):
        build([annotation(5)], pictures)


def test_a_category_name_twice(build):
    categories = [dict(id=1, name='cat'), dict(id=2, name='cat')]
    with pytest.raises(ValueError, match=r'file\.json.*more than one category'):
        build(
            [annotation(1, category_id=1)], categories=categories, metainfo=dict(classes=('cat',))
        )


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [', 'file.json'),
        ('[]', 'file.json'),
        ('{}', 'file.json.*no category is named'),
        ('{"images": [{"id": 1, "file_name": "a.png"}], "categories": '
         '[{"id": 1, "name": "cat"}], "annotations": []}', 'file.json: picture 1 lacks'),
        ('{"images": [{"id": 1}], "categories": [{"id": 1, "name": "cat"}], '
         '"annotations": [{"id": 1, "image_id": 1}]}', "file.json: an entry lacks.*'category_id'"),
    ],
    ids=['truncated', 'no COCO file', 'empty', 'picture without size', 'no category'],
)  # fmt: skip
def test_files_that_are_not_coco(tmp_path, text, message):
    (tmp_path / 'file.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        CocoInstanceDataset(
            ann_file=str(tmp_path / 'file.json'), metainfo=dict(classes=('cat',)), pipeline=[]
        )


def test_annotations_of_pictures_that_are_not_listed(build, log):
    dataset = build([annotation(1), annotation(2, image_id=99)])
    assert labels_of(dataset) == [1]
    lines = [record.getMessage() for record in log]
    assert len(lines) == 1
    assert '1 picture(s) that the file does not list' in lines[0]
    assert '99' in lines[0]


# -- options --------------------------------------------------------------------------------------


def test_inclusive_boxes(build):
    dataset = build([annotation(1, (8, 9, 20, 12))], inclusive_boxes=True)
    assert dataset.get_data_info(0)['instances'][0]['bbox'] == [8, 9, 27, 20]


def test_min_annotation_area(build):
    entries = [annotation(number, area=area) for number, area in enumerate([14, 15, 15.5, 16])]
    dataset = build(entries, min_annotation_area=15)
    assert dict(dataset.skipped) == {'area of at most 15': [0, 1]}


def test_min_annotation_side_needs_both_sides_small(build):
    sizes = [(9, 9), (9, 10), (10, 9), (10, 10), (9.5, 9.9)]
    entries = [annotation(i, (2, 2, *size), area=100) for i, size in enumerate(sizes)]
    dataset = build(entries, min_annotation_side=10)
    assert dict(dataset.skipped) == {'both sides below 10 pixels': [0, 4]}


def test_a_crowd_before_a_normal_annotation_moves_nothing(build):
    crowd = annotation(1, (40, 4, 20, 30), iscrowd=1, category_id=10, segmentation=compressed())
    normal = annotation(2, (8, 8, 20, 12), category_id=30)
    second_crowd = annotation(3, (0, 0, 30, 30), iscrowd=1)
    other = annotation(4, (30, 24, 12, 20), category_id=20)
    sample = build([crowd, normal, second_crowd, other])[0]['data_samples']
    positives = sample.gt_instances
    assert positives.labels.tolist() == [2, 1]
    assert positives.bboxes.tensor.tolist() == [[8, 8, 28, 20], [30, 24, 42, 44]]
    corners = [contour.min(axis=0).tolist() for contour in positives.contours.numpy()]
    assert corners == [[8, 8], [30, 24]]
    # the mask of pixels is one narrower than the box: centre of pixels 8..27, 8..19, truncated
    assert positives.centers.tolist() == [[17, 13], [35, 33]]
    assert sample.ignored_instances.labels.tolist() == [0, 1]


# -- empty pictures -------------------------------------------------------------------------------


@pytest.fixture
def pictures():
    sizes = {1: (48, 64), 2: (48, 64), 3: (48, 64), 4: (20, 64), 5: (48, 64)}
    return [
        dict(id=number, file_name=f'{number}.png', height=height, width=width)
        for number, (height, width) in sizes.items()
    ]


@pytest.fixture
def entries():
    """1 sound, 2 empty, 3 nothing usable, 4 small, 5 a crowd alone."""
    return [
        annotation(1),
        annotation(3, image_id=3, bbox=[0, 0, 0, 0]),
        annotation(4, (0, 0, 10, 10), image_id=4),
        annotation(5, image_id=5, iscrowd=1),
    ]


@pytest.mark.parametrize(
    ('options', 'kept'),
    [
        (dict(), [1, 2, 3, 4, 5]),
        (dict(filter_cfg=dict(filter_empty_gt=False)), [1, 2, 3, 4, 5]),
        (dict(filter_cfg=dict(filter_empty_gt=False, min_size=32)), [1, 2, 3, 5]),
        (dict(filter_cfg=dict(filter_empty_gt=True)), [1, 4]),
        (dict(filter_cfg=dict(filter_empty_gt=True, min_size=32)), [1]),
        (dict(filter_cfg=dict(filter_empty_gt=True, min_size=32), test_mode=True), [1, 2, 3, 4, 5]),
    ],
    ids=str,
)
def test_filter_cfg(build, pictures, entries, options, kept):
    dataset = build(entries, pictures, **options)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == kept


def test_an_empty_picture_passes_the_pipeline(build, pictures, entries):
    dataset = build(entries, pictures)
    for index in (1, 2, 4):
        instances = dataset[index]['data_samples'].gt_instances
        assert len(instances.bboxes) == len(instances.labels) == len(instances.contours) == 0
        assert instances.centers.shape == (0, 2)


@pytest.mark.parametrize(
    'options', [dict(filter_cfg=dict(filter_empty_gt=True)), dict(filter_cfg=dict(min_size=500))]
)
def test_nothing_left(build, tmp_path, options):
    with pytest.raises(ValueError) as caught:
        build([annotation(1, bbox=[0, 0, 0, 0])], **options)
    for part in (str(tmp_path / 'file.json'), '1 pictures', 'cat', str(options['filter_cfg'])):
        assert part in str(caught.value)


# -- pictures that cannot be read -----------------------------------------------------------------


@pytest.mark.parametrize('damage', ['missing', 'empty', 'no picture', 'header', 'half'])
def test_unreadable_picture_is_named(build, tmp_path, damage):
    dataset = build([annotation(1)])
    file = tmp_path / 'picture 1.png'
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cv2.imwrite(str(file), noise)
    content = file.read_bytes()
    file.unlink()
    if damage != 'missing':
        lengths = {'empty': 0, 'header': 30, 'half': len(content) // 2}
        file.write_bytes(b'hello' if damage == 'no picture' else content[: lengths[damage]])
    with pytest.raises(RuntimeError, match='image id 1') as caught:
        dataset[0]
    assert str(file) in str(caught.value)


def test_an_error_in_the_pipeline_names_the_picture(build, tmp_path):
    pipeline = [*PIPELINE[:2], dict(type='TracePolarContours', dense=False)]
    dataset = build([annotation(1)], pipeline=pipeline)
    with pytest.raises(RuntimeError, match=r'image id 1.*TypeError.*poly2mask=False') as caught:
        dataset[0]
    assert str(tmp_path / 'picture 1.png') in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_picture_of_another_size_than_stated_is_an_error(build, tmp_path):
    dataset = build([annotation(1)])
    cv2.imwrite(str(tmp_path / 'picture 1.png'), np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    message = rf'picture 1.png \(image id 1\).*{HEIGHT} x {WIDTH} pixels.*says {WIDTH} x {HEIGHT}'
    with pytest.raises(RuntimeError, match=message):
        dataset[0]


def test_a_coordinate_far_out_is_left_out(build, log):
    far = annotation(1, segmentation=[[0, 0, 1e10, 0, 1e10, 1e10]])
    dataset = build([far, annotation(2)])
    assert list(dataset.skipped.values()) == [[1]]
    assert '1000000' in next(iter(dataset.skipped))


def test_what_is_mended_is_used_and_named(build, log):
    sound, sliver = box_polygon(8, 8, 20, 12)[0], [1, 1, 5, 5]
    entries = [annotation(1, area=None), annotation(2, segmentation=[sliver, sound])]
    dataset = build(entries)
    assert not dataset.skipped
    assert sorted(dataset.mended.values()) == [[1], [2]]
    assert len(dataset.get_data_info(0)['instances']) == 2
    assert sum('mended 1 annotation' in record.getMessage() for record in log) == 2
