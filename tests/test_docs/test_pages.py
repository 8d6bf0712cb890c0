"""What README and docs say can be followed: links lead somewhere, examples load."""

import json
import re

import cv2
import numpy as np
import pytest
from config_tools import without_pretrained

from polarseg.apis import prepare_config
from polarseg.registry import DATASETS, METRICS, MODELS
from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import Category, write_panoptic


def pages(root):
    return [root / 'README.md', *sorted((root / 'docs').glob('*.md'))]


def test_links_and_named_files_exist(repo_root):
    missing = []
    for page in pages(repo_root):
        text = page.read_text()
        for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', text):
            if not target.startswith('http') and not (page.parent / target).exists():
                missing.append(f'{page.name}: {target}')
        for path in re.findall(r'`((?:polarseg|tools|configs|demo|tests|csrc)/[\w./-]+)`', text):
            if not (repo_root / path).exists():
                missing.append(f'{page.name}: {path}')
        for path in re.findall(r'(?:python|bash|sh) ((?:\./)?(?:tools|demo)/\S+\.(?:py|sh))', text):
            if not (repo_root / path).exists():
                missing.append(f'{page.name}: {path}')
    assert not missing


def test_no_placeholder_is_left(repo_root):
    for page in pages(repo_root):
        left = re.findall(
            r'^\W*[A-Z]+_[A-Z_]+\W*$|TODO|FIXME', page.read_text(), flags=re.MULTILINE
        )
        assert not left, page


@pytest.fixture
def own_data(tmp_path):
    """The data that the README's example config names."""
    folder = tmp_path / 'data/mine'
    (folder / 'images').mkdir(parents=True)
    cv2.imwrite(str(folder / 'images/a.png'), np.zeros((60, 80, 3), np.uint8))
    content = dict(
        images=[dict(id=1, file_name='a.png', height=60, width=80)],
        categories=[dict(id=7, name='dog'), dict(id=9, name='cat')],
        annotations=[
            dict(
                id=1,
                image_id=1,
                category_id=9,
                iscrowd=0,
                bbox=[10, 10, 30, 30],
                area=900,
                segmentation=[[10, 10, 40, 10, 40, 40, 10, 40]],
            )
        ],
    )
    for name in ('train', 'val'):
        (folder / f'{name}.json').write_text(json.dumps(content))
    return tmp_path


def test_readme_config_for_own_data(repo_root, own_data, monkeypatch):
    text = (repo_root / 'README.md').read_text()
    (example,) = re.findall(r'```python\n(_base_ = .*?)```', text, flags=re.DOTALL)
    example = example.replace("'configs/", f"'{repo_root}/configs/")
    config_file = own_data / 'mine.py'
    config_file.write_text(example)
    monkeypatch.chdir(own_data)
    cfg = prepare_config(config_file)
    assert cfg.model.bbox_head.num_classes == 2
    cfg.model.backbone.init_cfg = None
    MODELS.build(cfg.model)
    train = DATASETS.build(cfg.train_dataloader.dataset)
    sample = train[0]['data_samples'].gt_instances
    assert sample.labels.tolist() == [0]
    assert len(sample.contours) == 1
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == 1
    METRICS.build(dict(cfg.val_evaluator))


@pytest.fixture
def own_panoptic_data(tmp_path):
    """The data that the example config of the panoptic page names: a person on a road under sky."""
    folder = tmp_path / 'data/mine/annotations'
    things, stuff = {1: 'person', 2: 'car'}, {7: 'grass', 8: 'road', 9: 'sky'}
    categories = [Category(number, name, True) for number, name in things.items()]
    categories += [Category(number, name, False) for number, name in stuff.items()]
    ids = np.full((60, 80), 9)
    ids[30:] = 8
    ids[20:50, 20:40] = 1
    segments = [Segment(1, 1, True), Segment(8, 8, False), Segment(9, 9, False)]
    box = [20, 20, 20, 30]
    outline = [20, 20, 40, 20, 40, 50, 20, 50]
    person = dict(id=1, image_id=1, category_id=5, iscrowd=0, bbox=box, area=600)
    instances = dict(
        images=[dict(id=1, file_name='a.png', height=60, width=80)],
        # ids of its own
        categories=[dict(id=4, name='car'), dict(id=5, name='person')],
        annotations=[dict(person, segmentation=[outline])],
    )
    for part in ('train', 'val'):
        (tmp_path / f'data/mine/{part}').mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f'data/mine/{part}/a.png'), np.zeros((60, 80, 3), np.uint8))
        folder.mkdir(exist_ok=True)
        (folder / f'instances_{part}.json').write_text(json.dumps(instances))
        panoptic = [(1, 'a.png', PanopticMap(ids, segments))]
        write_panoptic(folder / f'panoptic_{part}.json', panoptic, categories)
    return tmp_path


def test_config_for_own_panoptic_data(repo_root, own_panoptic_data, monkeypatch):
    """It loads, trains a step, and the truth gets full marks from its metrics."""
    text = (repo_root / 'docs/panoptic.md').read_text()
    (example,) = re.findall(r"```python\n(_base_ = 'configs.*?)```", text, flags=re.DOTALL)
    config_file = own_panoptic_data / 'mine.py'
    config_file.write_text(example.replace("'configs/", f"'{repo_root}/configs/"))
    monkeypatch.chdir(own_panoptic_data)
    cfg = prepare_config(config_file)
    for key in ('bbox_head', 'basis_module'):
        assert cfg.model[key].num_classes == 2
    train = DATASETS.build(cfg.train_dataloader.dataset)
    (labels,) = train[0]['data_samples'].gt_sem_seg.sem_seg.numpy()
    # person is the second thing; road and sky the first two kinds of stuff
    assert set(np.unique(labels & 255)) == {0, 2}
    assert set(np.unique(labels >> 8)) == {0, 1, 2}
    model = MODELS.build(without_pretrained(cfg.model))
    sample = train[0]
    batch = {key: [value] for key, value in sample.items()}
    _, losses = model.parse_losses(
        model.train()(**model.data_preprocessor(batch, training=True), mode='loss')
    )
    assert losses['loss_sem_seg'] > 0

    truth = DATASETS.build(cfg.val_dataloader.dataset)
    quality, instances = (METRICS.build(dict(evaluator)) for evaluator in cfg.val_evaluator)
    quality.dataset_meta = instances.dataset_meta = truth.metainfo
    to_labels = {1: 1, 8: 2, 9: 3}
    found = quality.truth.read(1).with_categories(to_labels)
    quality.process({}, [dict(img_id=1, pred_panoptic_seg=found)])
    assert quality.evaluate(1)['coco_panoptic/PQ'] == 100
