"""Labels of stuff as PNGs: the same as made while loading."""

import importlib.util
import json
import sys

import cv2
import numpy as np
import pytest

from polarseg.datasets import CocoPanopticInstanceDataset
from polarseg.structures import PanopticMap
from polarseg.structures.panoptic_files import Category, write_panoptic

CATEGORIES = [Category(9, 'grass', False), Category(2, 'cat', True), Category(4, 'sky', False)]


@pytest.fixture(scope='module')
def tool(repo_root):
    path = repo_root / 'tools/dataset_converters/panoptic_stuff.py'
    spec = importlib.util.spec_from_file_location('panoptic_stuff', path)
    module = importlib.util.module_from_spec(spec)
    # where worker processes look for it
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def files(tmp_path):
    """Three pictures with a third of each category, rolled, and a void column."""
    ids = np.repeat([[900, 70000, 3, 0]], 6, axis=0).repeat(4, axis=1).astype(np.int32)
    ids[:, -3:] = 3
    segments = [
        dict(id=number, category_id=category.id, isthing=category.isthing)
        for number, category in zip((900, 70000, 3), CATEGORIES)
    ]
    pictures = [
        (number, f'{number}.jpg', PanopticMap(np.roll(ids, number, axis=1), segments))
        for number in range(3)
    ]
    write_panoptic(tmp_path / 'panoptic.json', pictures, CATEGORIES)
    expected = np.select([ids == 900, ids == 70000, ids == 3], [2, 0, 1], 255)
    return tmp_path, [np.roll(expected, number, axis=1) for number in range(3)]


def run(tool, folder, *options):
    tool.main([str(folder / 'panoptic.json'), str(folder / 'stuff'), *options])
    return [
        cv2.imread(str(folder / f'stuff/{number}.png'), cv2.IMREAD_UNCHANGED) for number in range(3)
    ]


@pytest.mark.parametrize('workers', ['1', '2'])
def test_stuff_is_numbered_in_the_order_of_the_ids(tool, files, capsys, workers):
    folder, expected = files
    for labels, wanted in zip(run(tool, folder, '--workers', workers), expected, strict=True):
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, wanted)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [
        ['0', '25.00%', 'things'],
        ['1', '43.75%', 'sky'],
        ['2', '25.00%', 'grass'],
        ['255', '6.25%', 'unlabelled'],
    ]


def test_names_in_another_order(tool, files):
    folder, expected = files
    for labels, wanted in zip(run(tool, folder, '--stuff-classes', 'grass'), expected):
        np.testing.assert_array_equal(labels, np.select([wanted == 2, wanted == 0], [1, 0], 255))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--stuff-classes', 'sea'], 'no category of stuff is named'),
        (['--folder', 'nowhere'], 'nowhere'),
    ],
)
def test_what_does_not_fit(tool, files, capsys, options, message):
    with pytest.raises(SystemExit):
        run(tool, files[0], *options)
    assert message in capsys.readouterr().err


def test_nothing_is_overwritten(tool, files, capsys):
    folder, _ = files
    run(tool, folder)
    with pytest.raises(SystemExit):
        run(tool, folder)
    assert '0.png exists; --force replaces it' in capsys.readouterr().err
    run(tool, folder, '--force')
    source = (folder / 'panoptic/0.png').read_bytes()
    with pytest.raises(SystemExit):
        tool.main([str(folder / 'panoptic.json'), str(folder / 'panoptic'), '--force'])
    assert 'is the folder of the panoptic PNGs' in capsys.readouterr().err
    assert (folder / 'panoptic/0.png').read_bytes() == source


def test_a_broken_png_is_named(tool, files, capsys):
    folder, _ = files
    (folder / 'panoptic/1.png').write_bytes(b'nothing')
    with pytest.raises(SystemExit):
        run(tool, folder)
    assert str(folder / 'panoptic/1.png') in capsys.readouterr().err


def test_two_pictures_of_one_name(tool, files, capsys):
    folder, _ = files
    content = json.loads((folder / 'panoptic.json').read_text())
    content['annotations'][1]['file_name'] = 'other/0.png'
    (folder / 'panoptic.json').write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        run(tool, folder)
    assert 'two pictures have PNGs of the same name' in capsys.readouterr().err


def test_real_pictures_read_back(tool, shared_data, tmp_path):
    root = shared_data / 'coco_panoptic'
    tool.main(
        [
            str(root / 'annotations/panoptic.json'),
            str(tmp_path / 'stuff'),
            '--folder',
            str(root / 'panoptic'),
        ]
    )
    samples = []
    for options in ({}, dict(map_dir=str(tmp_path / 'stuff'))):
        dataset = CocoPanopticInstanceDataset(
            data_root=str(root),
            ann_file='annotations/instances.json',
            panoptic_file='annotations/panoptic.json',
            data_prefix=dict(img='images/', panoptic='panoptic/'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadThingSemantic'),
                dict(type='LoadPanopticLabels', **options),
            ],
        )
        samples.append([results['gt_seg_map'] for results in dataset])
    for made, read in zip(*samples, strict=True):
        np.testing.assert_array_equal(made, read)
