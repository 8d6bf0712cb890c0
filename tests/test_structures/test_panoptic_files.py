"""The COCO panoptic format: round trips, real files, and what is wrong with a file is named."""

import json

import cv2
import numpy as np
import pytest

from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import (
    Category,
    PanopticFileError,
    PanopticFiles,
    write_panoptic,
)
from polarseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png

CATEGORIES = [Category(3, 'cat', True), Category(92, 'wall', False)]
LAST = 256**3 - 1


def some_map(shape=(6, 9), crowd=True):
    ids = np.zeros(shape, np.int64)
    ids[:3] = 256
    ids[3:5, :4] = LAST
    segments = [Segment(256, 92, isthing=False), Segment(LAST, 3, True, iscrowd=crowd)]
    return PanopticMap(ids, segments)


def entries(panoptic):
    return [segment.to_dict() for segment in panoptic.segments]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'out.json'
    write_panoptic(path, [(5, 'b/0005.jpg', some_map()), (6, '6.jpg', some_map())], CATEGORIES)
    return path


def change(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_ids_are_colours(tmp_path):
    ids = np.array([[0, 1, 255], [256, 65536, LAST], [3937500, 70000, 65535]])
    path = tmp_path / 'a.png'
    write_panoptic_png(path, ids)
    assert (read_panoptic_png(path) == ids).all()
    red, green, blue = cv2.imread(str(path))[..., ::-1].astype(int).transpose(2, 0, 1)
    assert (red + 256 * green + 65536 * blue == ids).all()
    for wrong in (ids + 1, ids - 1):
        with pytest.raises(ValueError, match=r'a\.png: ids must be in 0 \.\. 16777215'):
            write_panoptic_png(path, wrong)


def test_round_trip(file):
    files = PanopticFiles(file)
    assert len(files) == 2
    assert files.categories == CATEGORIES
    for number in (5, 6):
        read = files.read(number)
        assert (read.ids == some_map().ids).all()
        assert entries(read) == entries(some_map())
    assert files.annotation(5)['segments_info'] == [
        dict(id=256, category_id=92, area=27, bbox=[0, 0, 9, 3], iscrowd=0),
        dict(id=LAST, category_id=3, area=8, bbox=[0, 3, 4, 2], iscrowd=1),
    ]
    images = json.loads(file.read_text())['images']
    assert images[0] == dict(id=5, file_name='b/0005.jpg', height=6, width=9)
    assert (file.parent / 'out/0005.png').is_file()


def test_scores_survive(tmp_path):
    ids = np.ones((2, 2), int)
    scored = PanopticMap(ids, [Segment(1, 3, isthing=True, score=0.75)])
    write_panoptic(tmp_path / 'a.json', [('x', 'x.jpg', scored)], CATEGORIES, tmp_path / 'pngs')
    files = PanopticFiles(tmp_path / 'a.json', tmp_path / 'pngs')
    assert files.read('x').segments[0].score == 0.75


def test_two_photographs_of_one_name(tmp_path):
    pictures = [(1, 'a/1.jpg', some_map()), (2, 'b/1.png', some_map())]
    with pytest.raises(PanopticFileError, match=r'out\.json: .* name, 1\.png: images 1 and 2'):
        write_panoptic(tmp_path / 'out.json', pictures, CATEGORIES)
    pictures[1] = (1, 'b/2.png', some_map())
    with pytest.raises(PanopticFileError, match=r'out\.json: image 1 is given twice'):
        write_panoptic(tmp_path / 'out.json', pictures, CATEGORIES)


def test_real_files_agree_with_what_is_counted(shared_data, tmp_path):
    folder = shared_data / 'coco_panoptic'
    files = PanopticFiles(folder / 'annotations/panoptic.json', folder / 'panoptic')
    maps = {}
    for number, entry in files.annotations.items():
        maps[number] = files.read(number)
        boxes = maps[number].boxes().tolist()
        for segment, box, info in zip(maps[number].segments, boxes, entry['segments_info']):
            assert (segment.area, box) == (info['area'], info['bbox'])
            assert segment.iscrowd == bool(info['iscrowd'])
    assert [len(panoptic.segments) for panoptic in maps.values()] == [18, 32]
    assert sum(s.iscrowd for panoptic in maps.values() for s in panoptic.segments) == 3

    pictures = [(n, f'{n}.jpg', panoptic) for n, panoptic in maps.items()]
    write_panoptic(tmp_path / 'again.json', pictures, files.categories)
    again = PanopticFiles(tmp_path / 'again.json')
    assert again.categories == files.categories
    for number, entry in files.annotations.items():
        written = again.annotation(number)['segments_info']
        assert written == [
            {key: info[key] for key in written[0]} for info in entry['segments_info']
        ]


def test_predictions_without_categories(file):
    change(file, lambda content: content.pop('categories'))
    with pytest.raises(PanopticFileError, match=r"out\.json: .* no list named 'categories'"):
        PanopticFiles(file)
    assert entries(PanopticFiles(file, categories=CATEGORIES).read(5)) == entries(some_map())


def test_some_of_the_pictures(file):
    part = PanopticFiles(file).subset([6])
    assert list(part.annotations) == [6]
    assert part.read(6).ids.shape == (6, 9)
    with pytest.raises(PanopticFileError, match=r'out\.json: no annotation of image 5'):
        part.subset([5])


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (lambda c: c.pop('annotations'), "no list named 'annotations'"),
        (lambda c: c['annotations'].insert(0, 3), r'annotations\[0\] is no object'),
        (lambda c: c['annotations'][1].pop('file_name'), r'annotations\[1\] has no file_name'),
        (
            lambda c: c['annotations'][1].update(segments_info={}),
            r'\[1\]: segments_info is no list',
        ),
        (lambda c: c['annotations'][1].update(image_id=5), r'\[1\]: image 5 has an entry already'),
        (lambda c: c['categories'][1].pop('isthing'), r'categories\[1\] has no isthing'),
        (lambda c: c['categories'][1].update(id=3), r'ids that occur twice: \[3\]'),
        # other types than Python's dictionaries, paths and sorting take
        (lambda c: c['annotations'][1].update(image_id=[1]), r'\[1\]: image_id must be int or str'),
        (lambda c: c['annotations'][0].update(file_name=5), r'\[0\]: file_name must be str, got 5'),
        (lambda c: c['categories'][0].update(id=[3]), r'categories\[0\]: id must be int'),
        (
            lambda c: c['categories'][0].update(id=True),
            r'\[0\]: id must be int, got True',
        ),
        (lambda c: c['categories'][0].update(name=['road']), r'categories\[0\]: name must be str'),
        (lambda c: c['categories'][0].update(isthing='0'), r'\[0\]: isthing must be .* got .0.$'),
    ],
)
def test_a_wrong_file_is_named(file, edit, said):
    change(file, edit)
    with pytest.raises(PanopticFileError, match=said) as info:
        PanopticFiles(file)
    assert str(info.value).startswith(f'{file}: ')


@pytest.mark.parametrize('flag', [0, 1, False, True])
def test_flags(file, flag):
    change(file, lambda content: content['categories'][0].update(isthing=flag))
    assert PanopticFiles(file).categories[0].isthing is bool(flag)


def test_names_without_folders(file):
    change(file, lambda content: content['annotations'][0].update(file_name='x/y.png'))
    assert PanopticFiles(file).png_names() == {5: 'y.png', 6: '6.png'}
    change(file, lambda content: content['annotations'][1].update(file_name='y.png'))
    with pytest.raises(PanopticFileError, match=r'of the same name, y\.png: images 5 and 6'):
        PanopticFiles(file).png_names()


@pytest.mark.parametrize('text', ['{"annotations": [', '[]', '\x00'])
def test_no_json_object(file, text):
    file.write_text(text)
    with pytest.raises(PanopticFileError, match=r'out\.json: '):
        PanopticFiles(file)


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (lambda infos: infos.pop(), f'ids of the map that no segment has: {LAST}$'),
        (lambda infos: infos.append(infos[0]), 'segments have ids that occur more than once: 256$'),
        (lambda infos: infos[0].update(category_id=4), 'segment 256 has category_id 4'),
        (lambda infos: infos[0].pop('category_id'), 'segment 256 has category_id None'),
        (lambda infos: infos[0].pop('id'), 'a segment needs id'),
        (lambda infos: infos[0].update(category_id=[3]), r'segment 256 has category_id \[3\]'),
        # Python takes this for true
        (
            lambda infos: infos[0].update(iscrowd='0'),
            "segment 256: iscrowd must be 0, .* got '0'",
        ),
        (lambda infos: infos[0].update(iscrowd=2), 'segment 256: iscrowd must be 0, 1, .* got 2'),
    ],
)
def test_segments_that_do_not_fit_are_named(file, edit, said):
    change(file, lambda content: edit(content['annotations'][0]['segments_info']))
    files = PanopticFiles(file)
    with pytest.raises(PanopticFileError, match=rf'out\.json.*: image 5: {said}'):
        files.read(5)
    assert files.read(6).ids.shape == (6, 9)


def test_missing_files(file):
    files = PanopticFiles(file)
    (file.parent / 'out/6.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'6\.png'):
        files.read(6)
    with pytest.raises(PanopticFileError, match=r'out\.json: no annotation of image 7'):
        files.read(7)
    with pytest.raises(FileNotFoundError, match=r'none\.json'):
        PanopticFiles(file.parent / 'none.json')


@pytest.mark.parametrize('pixels', [np.zeros((6, 9), np.uint8), np.zeros((6, 9, 3), np.uint16)])
def test_pngs_of_another_kind(tmp_path, pixels):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), pixels)
    with pytest.raises(PanopticFileError, match=r'a\.png: a panoptic PNG has 3 channels of 8 bits'):
        read_panoptic_png(path)


@pytest.mark.parametrize('content', [b'', b'no picture'])
def test_damaged_pngs(tmp_path, content):
    path = tmp_path / 'a.png'
    path.write_bytes(content)
    with pytest.raises(PanopticFileError, match=r'a\.png: no picture'):
        read_panoptic_png(path)
