"""Instances joined with panoptic files, on real pictures and on files that do not fit."""

import json

import cv2
import numpy as np
import pytest

from polarseg.datasets import CocoPanopticInstanceDataset
from polarseg.datasets.transforms import LoadPanopticLabels
from polarseg.structures import PanopticMap
from polarseg.structures.panoptic_files import Category, write_panoptic

HEIGHT, WIDTH = 40, 60
# the ids of COCO's stuff in the order of the published semantic labels
COCO_STUFF = [
    *(92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147),
    *(148, 149, 151, 154, 155, 156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181, 184),
    *range(185, 201),
]


def segments(*entries):
    return [dict(id=i, category_id=c, isthing=c < 10, iscrowd=crowd) for i, c, crowd in entries]


@pytest.fixture
def folder(tmp_path):
    """Pictures 3 and 5, with a dog, a crowd of dogs, a cat, sky and snow, and void in between."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[:20], ids[22:] = 70000, 12
    ids[5:30, 10:20], ids[30:, 30:] = 300, 301
    first = PanopticMap(ids, segments((70000, 20, 0), (12, 40, 0), (300, 1, 0), (301, 1, 1)))
    second = PanopticMap(np.full((HEIGHT, WIDTH), 8), segments((8, 2, 0)))
    categories = [
        Category(20, 'sky', False),
        Category(40, 'snow', False),
        Category(1, 'dog', True),
        Category(2, 'cat', True),
    ]
    pictures = [(5, 'b.png', second), (3, 'a.png', first)]
    write_panoptic(tmp_path / 'panoptic.json', pictures, categories)
    (tmp_path / 'images').mkdir()
    boxes = {3: (10, 5, 10, 25), 5: (0, 0, WIDTH, HEIGHT)}
    annotations = []
    for number, (x, y, width, height) in boxes.items():
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        annotations.append(
            dict(
                id=number,
                image_id=number,
                category_id=11 if number == 3 else 12,
                iscrowd=0,
                bbox=[x, y, width, height],
                area=width * height,
                segmentation=[corners],
            )
        )
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'images/{name}.png'), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    content = dict(
        images=[
            dict(id=number, file_name=f'{name}.png', height=HEIGHT, width=WIDTH)
            for number, name in ((3, 'a'), (5, 'b'))
        ],
        # other ids than in the panoptic file: names join them
        categories=[dict(id=11, name='dog'), dict(id=12, name='cat')],
        annotations=annotations,
    )
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    return tmp_path


STEPS = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticLabels')]


def build(folder, **options):
    options = (
        dict(
            data_root=str(folder),
            ann_file='instances.json',
            panoptic_file='panoptic.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes=('dog', 'cat'), stuff_classes=('snow', 'sky')),
            pipeline=STEPS,
        )
        | options
    )
    return CocoPanopticInstanceDataset(**options)


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_pictures_are_joined_by_their_ids(folder):
    dataset = build(folder)
    assert [dataset.get_data_info(i)['img_id'] for i in range(2)] == [3, 5]
    first = dataset[0]
    assert first['segments_info'] == [
        dict(id=70000, category_id=20, isthing=False),
        dict(id=12, category_id=40, isthing=False),
        dict(id=300, category_id=1, isthing=True),
        dict(id=301, category_id=1, isthing=True),
    ]
    assert first['panoptic_path'] == str(folder / 'panoptic/a.png')
    assert [len(dataset.get_data_info(i)['instances']) for i in range(2)] == [1, 1]
    expected = np.full((HEIGHT, WIDTH), 255)
    expected[:20], expected[22:] = 2, 1
    expected[5:30, 10:20] = expected[30:, 30:] = 0
    np.testing.assert_array_equal(first['gt_seg_map'] >> 8, expected)
    assert not (dataset[1]['gt_seg_map'] >> 8).any()


def test_stuff_that_is_not_learned_is_unlabelled(folder):
    dataset = build(folder, metainfo=dict(classes=('dog',), stuff_classes=('sky',)))
    labels = dataset[0]['gt_seg_map'] >> 8
    assert set(np.unique(labels).tolist()) == {0, 1, 255}
    assert (labels[35, :30] == 255).all()


def test_pngs_in_another_folder(folder):
    (folder / 'panoptic').rename(folder / 'elsewhere')
    dataset = build(folder, data_prefix=dict(img='images/', panoptic='elsewhere/'))
    assert dataset[0]['panoptic_path'] == str(folder / 'elsewhere/a.png')


def test_names_alone(folder):
    dataset = build(folder, panoptic_file=None, test_mode=True, pipeline=STEPS[:1])
    assert dataset.metainfo['stuff_classes'] == ('snow', 'sky')
    assert 'panoptic_path' not in dataset[0]
    with pytest.raises(RuntimeError, match='a CocoPanopticInstanceDataset with panoptic_file'):
        build(folder, panoptic_file=None)[0]


def test_pictures_that_the_panoptic_file_lacks(folder, monkeypatch):
    change(folder / 'panoptic.json', lambda content: content['annotations'].pop(0))
    message = r'panoptic.json lacks 1 of the 2 pictures of .*instances.json \(first image id 5\)'
    with pytest.raises(ValueError, match=message):
        build(folder)
    lines = []
    monkeypatch.setattr(
        'polarseg.datasets.coco_panoptic.print_log', lambda text, **_: lines.append(text)
    )
    dataset = build(folder, missing_panoptic='skip')
    assert len(dataset) == 1
    assert dataset.without_panoptic == [5]
    assert len(lines) == 1
    assert 'lacks 1 of the 2 pictures' in lines[0]
    with pytest.raises(ValueError, match=r"must be one of \('error', 'skip'\), got 'warn'"):
        build(folder, missing_panoptic='warn')


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda c: c.pop('categories'), "no list named 'categories'"),
        (lambda c: c['annotations'][1].pop('segments_info'), r'annotations\[1\] has no segments'),
        (
            lambda c: c['annotations'][1]['segments_info'][2].pop('id'),
            r'image 3: a segment needs id, got',
        ),
        (
            lambda c: c['annotations'][1]['segments_info'][0].update(category_id=77),
            r'image 3: segment 70000 has category_id 77, which is not among the 4',
        ),
        (lambda c: c['categories'][0].update(name='clouds'), r"no category of stuff .*\['sky'\]"),
        (lambda c: c['categories'][2].update(isthing=0), r"no category of thing .*\['dog'\]"),
    ],
)
def test_bad_panoptic_files_are_named(folder, edit, message):
    change(folder / 'panoptic.json', edit)
    with pytest.raises(ValueError, match=message) as raised:
        build(folder)
    assert str(raised.value).count(str(folder / 'panoptic.json')) == 1


def test_missing_files_are_named(folder):
    (folder / 'panoptic/a.png').unlink()
    dataset = build(folder)
    with pytest.raises(RuntimeError, match=r'images/a.png \(image id 3\).*panoptic/a.png'):
        dataset[0]
    with pytest.raises(FileNotFoundError, match=r'nothing.json'):
        build(folder, panoptic_file='nothing.json')


def test_a_segment_that_the_file_lacks(folder):
    change(
        folder / 'panoptic.json', lambda content: content['annotations'][1]['segments_info'].pop(0)
    )
    with pytest.raises(RuntimeError, match=r'panoptic/a.png: ids .*70000'):
        build(folder)[0]


def test_a_png_of_another_size(folder):
    cv2.imwrite(str(folder / 'panoptic/a.png'), np.zeros((HEIGHT, HEIGHT, 3), np.uint8))
    with pytest.raises(RuntimeError, match=r'the size of the picture, \[40, 60\], got \[40, 40\]'):
        build(folder)[0]


def test_real_pictures(shared_data):
    root = shared_data / 'coco_panoptic'
    dataset = CocoPanopticInstanceDataset(
        data_root=str(root),
        ann_file='annotations/instances.json',
        panoptic_file='annotations/panoptic.json',
        data_prefix=dict(img='images/', panoptic='panoptic/'),
    )
    names = dataset.metainfo['stuff_classes']
    content = json.loads((root / 'annotations/panoptic.json').read_text())
    ids = {category['name']: category['id'] for category in content['categories']}
    assert [ids[name] for name in names] == COCO_STUFF
    assert len(dataset.metainfo['classes']) == 80
    for index, entry in enumerate(sorted(content['annotations'], key=lambda e: e['image_id'])):
        results = LoadPanopticLabels()(dataset.get_data_info(index))
        # by the rule in its own words, from the PNG
        pixels = cv2.imread(str(root / 'panoptic' / entry['file_name'])).astype(int)
        numbers = pixels[..., 2] + 256 * pixels[..., 1] + 65536 * pixels[..., 0]
        expected = np.full(numbers.shape, 255)
        for info in entry['segments_info']:
            number = info['category_id']
            label = COCO_STUFF.index(number) + 1 if number in COCO_STUFF else 0
            expected[numbers == info['id']] = label
        np.testing.assert_array_equal(results['gt_seg_map'], expected << 8)
        assert len(np.unique(expected)) > 4
