import dataclasses
import importlib.util
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from polarseg.datasets.shapes import (
    CATEGORIES,
    PHENOMENA,
    PROFILES,
    ShapesConfig,
    ShapesConfigError,
    contact_sheet,
    draw_picture,
    missing_phenomena,
    parse_size,
    write_dataset,
)
from polarseg.datasets.shapes.outlines import random_outline, rasterise
from polarseg.datasets.shapes.schedule import picture_traits

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'dataset_converters' / 'make_shapes.py'
SMALL = dataclasses.replace(PROFILES['mixed'], width=(96, 128), height=(64, 112))


@pytest.fixture(scope='module')
def default_set(tmp_path_factory):
    """The mixed profile at default numbers and sizes."""
    folder = tmp_path_factory.mktemp('shapes')
    splits = {'train': 120, 'val': 40}
    return folder, write_dataset(folder, PROFILES['mixed'], splits, profile='mixed')


@pytest.fixture(scope='module')
def tool_main():
    spec = importlib.util.spec_from_file_location('make_shapes', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def _files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def _content(folder, split):
    return json.loads((folder / 'annotations' / f'instances_{split}.json').read_text())


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_annotation_decodes_to_its_area_and_box(default_set, split):
    folder, _ = default_set
    coco = COCO(folder / 'annotations' / f'instances_{split}.json')
    least = PROFILES['mixed'].min_pixels
    for image_id, image in coco.imgs.items():
        picture = cv2.imread(str(folder / split / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3)
        taken = np.zeros(picture.shape[:2], dtype=int)
        for annotation in coco.loadAnns(coco.getAnnIds(image_id)):
            mask = coco.annToMask(annotation)
            taken += mask
            assert mask.sum() == annotation['area'] >= least
            box = mask_utils.toBbox(coco.annToRLE(annotation)).tolist()
            assert box == annotation['bbox']
        assert taken.max() <= 1  # Visible masks share no pixel, crowds included.


def test_default_setting_shows_every_phenomenon_in_both_splits(default_set):
    folder, tallies = default_set
    for split, tally in tallies.items():
        assert set(tally) == set(PHENOMENA)
        assert all(tally.values()), tally
        assert missing_phenomena(PROFILES['mixed'], tally) == []
        content = _content(folder, split)
        assert content['info']['phenomena'] == tally
        assert content['info']['seed'] == 0
        assert ShapesConfig(**content['info']['config']) == PROFILES['mixed']
        kinds = Counter(a['iscrowd'] for a in content['annotations'])
        assert kinds == {0: tally['objects'], 1: tally['crowd']}
        forms = Counter(type(a['segmentation']) for a in content['annotations'])
        assert forms == {list: tally['polygon'], dict: tally['rle']}
        used = {a['category_id'] for a in content['annotations']}
        assert used == {c['id'] for c in content['categories']}
        annotated = {a['image_id'] for a in content['annotations']}
        assert len(content['images']) - len(annotated) == tally['empty']


@pytest.mark.parametrize('seed', range(1, 5))
def test_phenomena_occur_whatever_the_seed(seed):
    tally = Counter()
    for index in range(40):
        tally.update(draw_picture(SMALL, seed, 'val', index).tally)
    assert missing_phenomena(SMALL, tally) == []


def test_crowds_are_run_lengths_and_cover_many_parts(default_set):
    content = _content(default_set[0], 'val')
    crowds = [a for a in content['annotations'] if a['iscrowd']]
    assert crowds
    for crowd in crowds:
        mask = mask_utils.decode(crowd['segmentation'])
        assert cv2.connectedComponents(mask, connectivity=4)[0] - 1 >= 15


def test_command_line_and_library_give_the_same_bytes(tool_main, tmp_path, capsys):
    counts = ['--train', '6', '--val', '3', '--size', '96x80', '--seed', '5']
    sheet = tmp_path / 'sheet.png'
    tool_main([str(tmp_path / 'a'), *counts, '--rate-crowd', '0.5', '--preview', str(sheet)])
    assert 'objects, crowds not counted' in capsys.readouterr().out
    config = dataclasses.replace(PROFILES['mixed'], width=(96, 96), height=(80, 80), rate_crowd=0.5)
    splits = {'train': 6, 'val': 3}
    write_dataset(tmp_path / 'b', config, splits, seed=5, profile='mixed')
    assert _files(tmp_path / 'a') == _files(tmp_path / 'b')
    assert cv2.imread(str(sheet)).shape == (164, 6 * 196, 3)


def test_more_pictures_leave_the_first_ones_alone(tmp_path):
    write_dataset(tmp_path / 'few', SMALL, {'train': 5})
    write_dataset(tmp_path / 'many', SMALL, {'val': 2, 'train': 9})
    few, many = _content(tmp_path / 'few', 'train'), _content(tmp_path / 'many', 'train')
    assert many['images'][:5] == few['images']
    assert many['annotations'][: len(few['annotations'])] == few['annotations']
    for path, data in _files(tmp_path / 'few' / 'train').items():
        assert (tmp_path / 'many' / 'train' / path).read_bytes() == data


def test_seed_and_split_change_the_pictures():
    first = draw_picture(PROFILES['simple'], 0, 'train', 0).image
    assert not np.array_equal(first, draw_picture(PROFILES['simple'], 1, 'train', 0).image)
    assert not np.array_equal(first, draw_picture(PROFILES['simple'], 0, 'val', 0).image)


@pytest.mark.parametrize('rate', [0.05, 0.07, 0.3, 0.9, 1.0])
def test_rates_are_met_to_within_one(rate):
    config = dataclasses.replace(PROFILES['mixed'], rate_empty=0.0, rate_hole=rate)
    for seed in range(5):
        holes = sum('hole' in picture_traits(config, seed, 'train', i) for i in range(200))
        assert abs(holes - 200 * rate) <= 1


def test_all_pictures_empty_on_demand():
    config = dataclasses.replace(SMALL, rate_empty=1.0)
    for index in range(4):
        picture = draw_picture(config, 0, 'val', index)
        assert picture.annotations == []
        assert picture.tally == {'pictures': 1, 'empty': 1}
        assert picture.image.std() > 0


def test_sizes_stay_in_range_and_vary():
    shapes = [draw_picture(SMALL, 0, 'train', i).image.shape for i in range(12)]
    assert all(64 <= h <= 112 and 96 <= w <= 128 for h, w, _ in shapes)
    assert len(set(shapes)) > 6


def test_simple_profile_is_mostly_whole_star_convex_objects():
    config = PROFILES['simple']
    tally = Counter()
    for index in range(40):
        tally.update(draw_picture(config, 0, 'train', index).tally)
    assert tally['objects'] >= 60
    hard = tally['non_star'] + tally['multi_part'] + tally['with_hole'] + tally['tiny']
    assert hard <= 0.05 * tally['objects']
    assert tally['empty'] == tally['crowd'] == tally['filling'] == 0


@pytest.mark.parametrize('name', CATEGORIES)
def test_outline_has_the_wanted_extent(name):
    rng = np.random.default_rng(3)
    for size in (10.0, 40.0, 90.0):
        stamp = rasterise(random_outline(name, size, rng), (50.3, 20.6))
        rows, columns = np.nonzero(stamp.mask)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert size - 2 <= extent <= size + 2
        window, inner = stamp.crop(30, 60)
        assert inner.shape == np.zeros((30, 60))[window].shape
        assert 0 < inner.sum() <= stamp.area


def test_object_outside_the_picture_is_cropped_to_nothing():
    stamp = rasterise(random_outline('ellipse', 10.0, np.random.default_rng(0)), (-40.0, 200.0))
    assert stamp.crop(64, 64)[1].size == 0


def test_colour_tells_nothing_about_the_category(default_set):
    folder, _ = default_set
    coco = COCO(folder / 'annotations' / 'instances_train.json')
    means = {name: [] for name in CATEGORIES}
    for annotation in coco.anns.values():
        image = coco.imgs[annotation['image_id']]
        picture = cv2.imread(str(folder / 'train' / image['file_name']))
        name = coco.cats[annotation['category_id']]['name']
        means[name].append(picture[coco.annToMask(annotation) > 0].mean(axis=0))
    everything = np.concatenate([np.array(values) for values in means.values()])
    for values in map(np.array, means.values()):
        # Mean colours of a category scatter about the common mean by their standard error.
        error = everything.std(axis=0) / np.sqrt(len(values))
        assert (np.abs(values.mean(axis=0) - everything.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'width': (0, 192)}, r'width must lie in \[64'),
        ({'height': (192, 100)}, 'height: maximum 100 is below minimum 192'),
        ({'object_size': (0.5, 0.2)}, 'object_size: maximum 0.2 is below'),
        ({'object_size': (-0.5, 0.2)}, 'object_size must lie in'),
        ({'width': 192}, 'width must be a pair'),
        ({'width': (64.5, 70)}, 'width must be a whole number'),
        ({'min_objects': 5, 'max_objects': 2}, r'max_objects \(2\) is below min_objects \(5\)'),
        ({'max_objects': 0}, 'max_objects must lie in'),
        ({'rate_crowd': 1.5}, 'rate_crowd must lie in'),
        ({'rate_crowd': 1e-9}, 'rate_crowd must be 0 or at least'),
        ({'rate_empty': float('nan')}, 'rate_empty must be a finite number'),
        ({'noise': True}, 'noise must be a finite number'),
        ({'categories': ('disk',)}, r"unknown categories \['disk'\]"),
        ({'categories': ()}, 'at least one'),
        ({'categories': ('star', 'star')}, 'one twice'),
        ({'categories': ('ellipse', 'star', 'ring')}, 'rate_non_star = 0.2 cannot be met'),
        ({'min_objects': 1, 'max_objects': 1}, 'rate_split > 0 needs'),
    ],
)
def test_bad_settings_are_named(changes, text):
    with pytest.raises(ShapesConfigError, match=text):
        dataclasses.replace(PROFILES['mixed'], **changes)


def test_parse_size():
    assert parse_size('192') == ((192, 192), (192, 192))
    assert parse_size('256x160') == ((256, 256), (160, 160))
    assert parse_size('128-256') == ((128, 256), (128, 256))
    for text in ('-5', '12x', 'x', '1.5', '', '10x20x30'):
        with pytest.raises(ShapesConfigError, match='size must be'):
            parse_size(text)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--size', '-5'], 'ShapesConfigError: size must be'),
        (['--size', '256-128'], 'maximum 128 is below minimum 256'),
        (['--train', '-1'], 'number of train pictures must not be negative, got -1'),
        (['--seed', '-1'], 'seed must not be negative, got -1'),
        (['--rate-tiny', '2'], 'rate_tiny must lie in'),
        (['--max-objects', '0'], 'max_objects must lie in'),
        (['--categories', 'disk'], "unknown categories ['disk']"),
    ],
)
def test_command_line_refuses_bad_values(tool_main, tmp_path, capsys, options, text):
    with pytest.raises(SystemExit) as stop:
        tool_main([str(tmp_path / 'out'), *options])
    assert stop.value.code == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_library_refuses_bad_arguments(tmp_path):
    with pytest.raises(ShapesConfigError, match='image_format'):
        write_dataset(tmp_path, SMALL, {'train': 1}, image_format='bmp')
    with pytest.raises(ShapesConfigError, match='name of a split'):
        write_dataset(tmp_path, SMALL, {'../up': 1})
    with pytest.raises(ShapesConfigError, match='must not be negative'):
        draw_picture(SMALL, 0, 'train', -1)


def test_earlier_files_are_kept_unless_forced(tmp_path):
    write_dataset(tmp_path, SMALL, {'train': 3})
    (tmp_path / 'train' / 'mine.png').write_bytes(b'kept')
    before = _files(tmp_path)
    with pytest.raises(FileExistsError, match=r'instances_train\.json exists'):
        write_dataset(tmp_path, SMALL, {'train': 2}, seed=1)
    assert _files(tmp_path) == before
    write_dataset(tmp_path, SMALL, {'train': 2}, seed=1, image_format='jpg', force=True)
    names = sorted(p.name for p in (tmp_path / 'train').iterdir())
    assert names == ['000000.jpg', '000001.jpg', 'mine.png']


def test_jpeg_pictures_are_near_the_png_ones(tmp_path):
    write_dataset(tmp_path, PROFILES['simple'], {'train': 1}, image_format='jpg')
    content = _content(tmp_path, 'train')
    stored = cv2.imread(str(tmp_path / 'train' / content['images'][0]['file_name']))
    exact = draw_picture(PROFILES['simple'], 0, 'train', 0).image
    assert np.abs(stored.astype(int) - exact).mean() < 6


def test_contact_sheet_refuses_missing_pictures(tmp_path):
    write_dataset(tmp_path, SMALL, {'train': 1, 'val': 0})
    with pytest.raises(ValueError, match='names no picture'):
        contact_sheet(tmp_path / 'annotations' / 'instances_val.json', tmp_path / 'val')
    (tmp_path / 'train' / '000000.png').unlink()
    with pytest.raises(ValueError, match='cannot read picture'):
        contact_sheet(tmp_path / 'annotations' / 'instances_train.json', tmp_path / 'train')


def test_every_setting_is_on_the_page_about_shapes():
    page = (ROOT / 'docs' / 'shapes.md').read_text(encoding='utf-8')
    for field in dataclasses.fields(ShapesConfig):
        assert f'`--{field.name.replace("_", "-")}' in page
        assert field.metadata['help']
    for name in (*CATEGORIES, *PROFILES, *PHENOMENA):
        assert f'`{name}`' in page
