"""PIC's PNGs to COCO annotations of persons."""

import importlib.util
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from polarseg.datasets import CocoInstanceDataset

HEIGHT, WIDTH = 40, 60


@pytest.fixture(scope='module')
def tool(repo_root):
    path = repo_root / 'tools/dataset_converters/pic_persons.py'
    spec = importlib.util.spec_from_file_location('pic_persons', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save(path, labels, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        # all colours the same: only the numbers count
        image.putpalette([7] * 768)
    image.save(path)


@pytest.fixture
def pic(tmp_path):
    """Picture a: two persons (one in two parts, one with a hole) and a chair; b: no person."""
    instances = np.zeros((HEIGHT, WIDTH), np.uint16)
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    instances[4:30, 5:15] = instances[10:20, 20:26] = 300
    instances[5:35, 30:50] = 2
    instances[15:20, 35:40] = 0
    instances[36:39, 0:20] = 7
    classes[np.isin(instances, [2, 300])] = 1
    classes[5:8, 30:50] = 9  # a hat; the person is a person all the same
    classes[instances == 7] = 5
    save(tmp_path / 'instance/a.png', instances)
    save(tmp_path / 'semantic/a.png', classes)
    save(tmp_path / 'instance/b.png', (instances == 7).astype(np.uint8), palette=True)
    save(tmp_path / 'semantic/b.png', classes, palette=True)
    return tmp_path, instances


def run(tool, folder, *options):
    out = folder / 'annotations/persons.json'
    tool.main([str(folder / 'instance'), str(folder / 'semantic'), str(out), *options])
    return out


def test_persons(tool, pic, capsys):
    folder, _ = pic
    out = run(tool, folder)
    content = json.loads(out.read_text())
    assert [(i['id'], i['file_name']) for i in content['images']] == [(1, 'a.jpg'), (2, 'b.jpg')]
    assert all((i['height'], i['width']) == (HEIGHT, WIDTH) for i in content['images'])
    assert [(c['id'], c['name']) for c in content['categories']] == [(1, 'person')]
    second, first = content['annotations']
    assert [second['bbox'], first['bbox']] == [[30, 5, 20, 30], [5, 4, 21, 26]]
    assert [second['area'], first['area']] == [20 * 30 - 25, 26 * 10 + 6 * 10]
    assert [len(second['segmentation']), len(first['segmentation'])] == [1, 2]
    for number, annotation in enumerate(content['annotations'], start=1):
        assert (annotation['id'], annotation['image_id']) == (number, 1)
        assert (annotation['category_id'], annotation['iscrowd']) == (1, 0)
    # through the centres of border pixels
    corners = np.reshape(second['segmentation'][0], (-1, 2)).tolist()
    assert sorted(corners) == [[30, 5], [30, 34], [49, 5], [49, 34]]
    printed = capsys.readouterr().out
    assert 'left out 2 instances of another class' in printed
    assert '2 persons in 2 pictures' in printed


def test_masks_are_the_instances_to_within_their_border(tool, pic):
    folder, instances = pic
    coco = COCO(run(tool, folder))
    for annotation, number in zip(coco.loadAnns(coco.getAnnIds()), [2, 300]):
        expected = (instances == number).astype(np.uint8)
        if number == 2:
            expected[15:20, 35:40] = 1  # outlines fill holes
        mask = coco.annToMask(annotation)
        assert (mask <= expected).all()
        assert (mask >= cv2.erode(expected, np.ones((3, 3)))).all()


def test_the_data_set_takes_it(tool, pic):
    folder, _ = pic
    run(tool, folder)
    dataset = CocoInstanceDataset(
        data_root=str(folder),
        ann_file='annotations/persons.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('person',)),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[dict(type='LoadThingSemantic')],
    )
    assert not dataset.skipped
    (info,) = dataset
    assert len(info['instances']) == 2
    assert set(np.unique(info['gt_seg_map'])) == {0, 1}


def test_pictures_are_looked_up(tool, pic):
    folder, _ = pic
    for name in ('a.png', 'b.jpeg'):
        save(folder / 'image' / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    out = run(tool, folder, '--images', str(folder / 'image'))
    names = [picture['file_name'] for picture in json.loads(out.read_text())['images']]
    assert names == ['a.png', 'b.jpeg']


def test_persons_too_small_for_an_outline_are_counted(tool, pic, capsys):
    folder, _ = pic
    instances = np.zeros((HEIGHT, WIDTH), np.uint8)
    instances[3, 4:9], instances[7, 7] = 1, 2
    save(folder / 'instance/a.png', instances)
    save(folder / 'semantic/a.png', np.ones((HEIGHT, WIDTH), np.uint8))
    content = json.loads(run(tool, folder).read_text())
    assert content['annotations'] == []
    printed = capsys.readouterr().out
    assert 'left out 2 persons without an outline of more than 2 points' in printed


def drop_semantic(folder):
    (folder / 'semantic/b.png').unlink()


def other_size(folder):
    save(folder / 'semantic/b.png', np.zeros((WIDTH, HEIGHT), np.uint8))


def colours(folder):
    save(folder / 'instance/b.png', np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def no_picture(folder):
    (folder / 'instance/b.png').write_bytes(b'text')


def no_folder(folder):
    (folder / 'semantic').rename(folder / 'elsewhere')


def nothing(folder):
    for path in folder.glob('*/*.png'):
        path.unlink()


def written_before(folder):
    (folder / 'annotations').mkdir()
    (folder / 'annotations/persons.json').write_text('mine')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (drop_semantic, 'have one alone, the first is b'),
        (other_size, r'same size, got \[40, 60\] and \[60, 40\]'),
        (colours, r'one channel of numbers, got uint8 of \[40, 60, 3\]'),
        (no_picture, 'b.png: cannot be read'),
        (no_folder, 'there is no folder .*semantic'),
        (nothing, 'there is no PNG'),
        (written_before, '--force replaces it'),
    ],
)
def test_errors_are_sentences(tool, pic, capsys, spoil, message):
    folder, _ = pic
    spoil(folder)
    with pytest.raises(SystemExit):
        run(tool, folder)
    assert re.search(message, capsys.readouterr().err.replace('\n', ' '))


def test_a_missing_picture_is_an_error(tool, pic, capsys):
    folder, _ = pic
    save(folder / 'image/a.jpg', np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(SystemExit):
        run(tool, folder, '--images', str(folder / 'image'))
    assert 'must have one picture named b, got []' in capsys.readouterr().err


def test_force_replaces(tool, pic):
    folder, _ = pic
    written_before(folder)
    assert json.loads(run(tool, folder, '--force').read_text())['images']
