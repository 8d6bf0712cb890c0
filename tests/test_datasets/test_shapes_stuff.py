"""Synthetic shapes on stuff: panoptic files that agree with pictures and instances."""

import dataclasses
import hashlib
import importlib.util
import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from polarseg.datasets import CocoPanopticInstanceDataset
from polarseg.datasets.shapes import (
    CATEGORIES,
    PROFILES,
    STUFF,
    ShapesConfig,
    ShapesConfigError,
    contact_sheet,
    draw_picture,
    write_dataset,
)
from polarseg.datasets.shapes.stuff import LEAST_SHARE, lay_out
from polarseg.structures.panoptic_files import PanopticFiles

# everything that shapes can do, crowds and pictures without objects among it
MIXED = dataclasses.replace(
    PROFILES['mixed'], width=(96, 128), height=(80, 112), stuff=tuple(STUFF), rate_crowd=0.3
)
COUNT = 12


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('stuff')
    write_dataset(path, MIXED, {'train': COUNT})
    return path


def test_segments_are_the_instances_and_the_stuff_between(folder):
    coco = COCO(folder / 'annotations/instances_train.json')
    files = PanopticFiles(folder / 'annotations/panoptic_train.json')
    assert len(files) == COUNT
    seen = set()
    for number, image in coco.imgs.items():
        panoptic = files.read(number)
        assert panoptic.ids.shape == (image['height'], image['width'])
        things = [segment for segment in panoptic.segments if segment.isthing]
        free = np.ones(panoptic.ids.shape, bool)
        # both in drawing order
        for segment, annotation in zip(things, coco.imgToAnns[number], strict=True):
            mask = coco.annToMask(annotation).astype(bool)
            np.testing.assert_array_equal(panoptic.ids == segment.id, mask)
            assert segment.category_id == annotation['category_id']
            assert segment.iscrowd == bool(annotation['iscrowd'])
            free &= ~mask
            seen.add('crowd' if segment.iscrowd else 'thing')
        stuff = [segment for segment in panoptic.segments if not segment.isthing]
        assert len({segment.category_id for segment in stuff}) == len(stuff) > 0
        assert all(segment.area >= MIXED.min_stuff_pixels for segment in stuff)
        void = free & ~np.isin(panoptic.ids, [segment.id for segment in stuff])
        np.testing.assert_array_equal(void, panoptic.ids == 0)
        assert void.sum() < len(STUFF) * MIXED.min_stuff_pixels
        seen |= {segment.category_id for segment in stuff} | ({'void'} if void.any() else set())
    assert {'crowd', 'thing', *(kind.id for kind in STUFF.values())} <= seen


def test_files_have_stored_areas_and_boxes_as_coco_does(folder):
    content = json.loads((folder / 'annotations/panoptic_train.json').read_text())
    instances = json.loads((folder / 'annotations/instances_train.json').read_text())
    assert content['images'] == instances['images']
    assert [(c['name'], c['isthing']) for c in content['categories']] == [
        *((name, 1) for name in CATEGORIES),
        *((name, 0) for name in STUFF),
    ]
    files = PanopticFiles(folder / 'annotations/panoptic_train.json')
    for entry in content['annotations']:
        ids = files.read(entry['image_id']).ids
        for info in entry['segments_info']:
            rows, columns = np.nonzero(ids == info['id'])
            assert info['area'] == len(rows)
            left, top = columns.min(), rows.min()
            width, height = columns.max() - left + 1, rows.max() - top + 1
            assert info['bbox'] == [left, top, width, height]


def test_the_data_set_reads_them(folder):
    dataset = CocoPanopticInstanceDataset(
        data_root=str(folder),
        ann_file='annotations/instances_train.json',
        panoptic_file='annotations/panoptic_train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=tuple(CATEGORIES), stuff_classes=tuple(STUFF)),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadThingSemantic'),
            dict(type='LoadPanopticLabels'),
        ],
    )
    assert len(dataset) == COUNT
    for results in dataset:
        things, semantic = results['gt_seg_map'] & 255, results['gt_seg_map'] >> 8
        # no instances overlap, so that things are the same in both
        np.testing.assert_array_equal(things > 0, semantic == 0)
        assert set(np.unique(semantic)) <= {*range(len(STUFF) + 1), 255}


def test_each_kind_of_stuff_can_be_told_from_the_others():
    """Mean colour and roughness of patches alone put nine in ten patches with their own kind."""
    config = dataclasses.replace(PROFILES['panoptic'], width=(96, 96), height=(96, 96))
    features, names = [], []
    for index in range(60):
        picture = draw_picture(config, 0, 'train', index)
        for segment in picture.panoptic.segments:
            mask = picture.panoptic.ids == segment.id
            if segment.isthing or mask.sum() < 300:
                continue
            pixels = picture.image[mask].astype(float)
            features.append([*pixels.mean(axis=0), *pixels.std(axis=0)])
            names.append(segment.category_id)
    features, names = np.array(features), np.array(names)
    features /= features.std(axis=0)
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (names[distances.argmin(axis=1)] == names).mean() > 0.9
    assert set(names) == {kind.id for kind in STUFF.values()}


@pytest.mark.parametrize('size', [(64, 64), (64, 200), (301, 97)])
def test_regions_are_large_and_of_different_kinds(size):
    rng = np.random.default_rng(0)
    numbers = set()
    for _ in range(40):
        ground = lay_out(tuple(STUFF), (1, 4), size, rng)
        shares = np.bincount(ground.regions.ravel()) / ground.regions.size
        assert ground.regions.shape == size
        assert len(set(ground.names)) == len(ground.names) == len(shares)
        assert shares.min() >= LEAST_SHARE
        numbers.add(len(shares))
    assert numbers == {1, 2, 3, 4}


def test_no_more_regions_than_kinds():
    ground = lay_out(('sand', 'sky'), (4, 8), (80, 80), np.random.default_rng(0))
    assert sorted(ground.names) == ['sand', 'sky']


def test_stuff_that_is_nearly_covered_is_void():
    config = dataclasses.replace(MIXED, min_stuff_pixels=4096)
    picture = draw_picture(config, 0, 'train', 1)
    stuff = [segment for segment in picture.panoptic.segments if not segment.isthing]
    assert all(segment.area >= 4096 for segment in stuff)
    assert (picture.panoptic.ids == 0).any()


def test_a_second_run_replaces_the_files_of_the_first(tmp_path):
    small = dataclasses.replace(MIXED, width=(64, 64), height=(64, 64))
    write_dataset(tmp_path, small, {'val': 3})
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(FileExistsError):
        write_dataset(tmp_path, small, {'val': 3})
    write_dataset(tmp_path, small, {'val': 3}, force=True)
    assert before == {path: path.read_bytes() for path in before}
    write_dataset(tmp_path, PROFILES['simple'], {'val': 1}, force=True)
    assert not (tmp_path / 'annotations/panoptic_val.json').exists()
    assert not list((tmp_path / 'annotations/panoptic_val').iterdir())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(stuff=('lava',)), r"unknown stuff \['lava'\]; known are \['sky'"),
        (dict(stuff=('sky', 'sky')), 'stuff names one twice'),
        (dict(stuff_regions=(0, 2)), r'stuff_regions must lie in \[1, 8\], got 0'),
        (dict(stuff_regions=(3, 2)), 'stuff_regions: maximum 2 is below minimum 3'),
        (dict(min_stuff_pixels=0), r'min_stuff_pixels must lie in \[1'),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ShapesConfigError, match=message):
        ShapesConfig(**changes)


def test_command_line_with_a_preview(repo_root, tmp_path):
    path = repo_root / 'tools/dataset_converters/make_shapes.py'
    spec = importlib.util.spec_from_file_location('make_shapes', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    options = ['--profile', 'panoptic', '--train', '2', '--val', '0', '--size', '64']
    sheet = tmp_path / 'sheet.png'
    tool.main([str(tmp_path / 'a'), *options, '--stuff', 'sky', 'sand', '--preview', str(sheet)])
    content = json.loads((tmp_path / 'a/annotations/panoptic_train.json').read_text())
    assert [c['name'] for c in content['categories'] if not c['isthing']] == ['sky', 'sand']
    assert cv2.imread(str(sheet)).shape == (4 * 64 + 4, 6 * (2 * 64 + 4), 3)


def test_the_sheet_shows_segments_beneath_the_picture(folder):
    file = folder / 'annotations/instances_train.json'
    beneath = contact_sheet(
        file, folder / 'train', 1, panoptic_file=folder / 'annotations/panoptic_train.json'
    )
    plain = contact_sheet(file, folder / 'train', 1)
    height = plain.shape[0] - 4
    np.testing.assert_array_equal(beneath[:height], plain[:height])
    assert len(np.unique(beneath[height : 2 * height].reshape(-1, 3), axis=0)) > 2


@pytest.mark.parametrize('name', ['mixed', 'simple'])
def test_settings_without_stuff_say_nothing_of_it(name):
    """Files that were written before there was stuff come out the same."""
    settings = PROFILES[name].to_dict()
    assert not [key for key in settings if 'stuff' in key]
    assert ShapesConfig(**settings) == PROFILES[name]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    assert digest[:16] == DIGESTS[name]


DIGESTS = dict(mixed='2e82bb76c51cf936', simple='8147849be228540b')
"""Of the settings as they were before stuff."""
