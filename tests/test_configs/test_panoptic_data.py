"""The data sections of panoptic configs on small files, up to the model's input."""

import json

import numpy as np
import pytest
from mmdet.structures.mask import PolygonMasks
from mmengine.dataset import pseudo_collate

from polarseg.apis import prepare_config
from polarseg.datasets.shapes import PROFILES, write_dataset
from polarseg.evaluation import CocoInstanceMetric, CocoPanopticQualityMetric
from polarseg.models import PanopticDataPreprocessor
from polarseg.registry import DATASETS, METRICS
from polarseg.structures import PanopticMap
from polarseg.structures.panoptic_files import Category, write_panoptic

BASE = '_base_/datasets/'
THING, AIR, SOIL = (
    Category(1, 'thing', True),
    Category(93, 'air', False),
    Category(92, 'soil', False),
)


@pytest.fixture
def small_panoptic(small_coco):
    """Air above soil, things where the instances have them, and void at the left."""
    instances = json.loads((small_coco / 'annotations/instances_val2017.json').read_text())
    pictures = []
    for image in instances['images']:
        ids = np.full((image['height'], image['width']), 7000, np.int32)
        ids[30:] = 7001
        ids[:, :3] = 0
        ids[40:60, 20:40] = 5
        segments = [
            dict(id=number, category_id=category.id, isthing=category.isthing)
            for number, category in ((7000, AIR), (7001, SOIL), (5, THING))
        ]
        pictures.append((image['id'], image['file_name'], PanopticMap(ids, segments)))
    for split in ('train', 'val'):
        file = small_coco / f'annotations/panoptic_{split}2017.json'
        write_panoptic(file, pictures, [THING, AIR, SOIL])
    return small_coco


@pytest.fixture
def load(on_small_coco, small_panoptic):
    """Function: as ``on_small_coco``, with the names of stuff."""

    def load_config(name, short_side=150, flip=False):
        cfg = on_small_coco(BASE + name, short_side, flip)
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            loader.dataset.metainfo['stuff_classes'] = ('soil', 'air')
        return cfg

    return load_config


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('name', ['coco_panoptic', 'coco_panoptic_blendmask'])
def test_both_labels_follow_the_picture(load, name, flip):
    dataset = DATASETS.build(load(name, flip=flip).train_dataloader.dataset)
    # the third picture has a crowd alone
    assert len(dataset) == 2
    sample = dataset[0]['data_samples']
    # twice the size
    assert sample.img_shape == (150, 200)
    (labels,) = sample.gt_sem_seg.sem_seg.numpy()
    semantic = np.full((75, 100), 2)
    semantic[30:] = 1
    semantic[:, :3] = 255
    semantic[40:60, 20:40] = 0
    things = np.zeros((75, 100), int)
    if 'blendmask' in name:
        things[:9, :30] = things[20:70, 10:49] = things[5:75, 60:100] = 1
    expected = (things + 256 * semantic).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(labels, expected[:, ::-1] if flip else expected)


def test_cropped_samples_up_to_the_model(load):
    cfg = load('coco_panoptic_blendmask_crop', 128, flip=True)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    np.random.seed(0)  # noqa: NPY002
    shapes = set()
    for _ in range(4):
        batch = pseudo_collate([dataset[0], dataset[1]])
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            assert min(sample.img_shape) == 128
            assert sample.gt_sem_seg.sem_seg.shape[1:] == image.shape[1:] == sample.img_shape
            assert isinstance(sample.gt_instances.masks.masks, (list, np.ndarray))
            shapes.add(sample.img_shape)
        assert isinstance(batch['data_samples'][0].gt_instances.masks, PolygonMasks)
        packed = PanopticDataPreprocessor(pad_size_divisor=32)(batch, training=True)
        for sample in packed['data_samples']:
            height, width = sample.img_shape
            found = sample.gt_sem_seg
            assert set(found.sem_seg.unique().tolist()) == {0, 1}
            assert set(found.semantic_seg.unique().tolist()) == {0, 1, 2, 255}
            assert found.semantic_seg.shape[1:] == packed['inputs'].shape[2:]
            assert found.semantic_seg[0, height:].eq(255).all()
            assert found.semantic_seg[0, :, width:].eq(255).all()
    assert len(shapes) > 2


def test_coco_evaluators_and_test_pictures(load):
    cfg = load('coco_panoptic_blendmask')
    quality, instances = map(METRICS.build, cfg.test_evaluator)
    assert isinstance(quality, CocoPanopticQualityMetric)
    assert isinstance(instances, CocoInstanceMetric)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert dataset.metainfo['stuff_classes'] == ('soil', 'air')
    assert len(dataset) == 3
    for index in range(3):
        sample = dataset[index]['data_samples']
        assert 'gt_sem_seg' not in sample
        assert quality.truth.read(sample.img_id).ids.shape == sample.ori_shape


def test_synthetic_shapes(repo_root, tmp_path):
    write_dataset(tmp_path, PROFILES['panoptic'], {'train': 3, 'val': 2})
    cfg = prepare_config(
        repo_root / f'configs/{BASE}shapes_panoptic_blendmask.py',
        cfg_options=dict(data_root=f'{tmp_path}/'),
    )
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 3
    for index in range(3):
        sample = dataset[index]['data_samples']
        (labels,) = sample.gt_sem_seg.sem_seg.numpy()
        assert labels.shape == (128, 128)
        assert set(np.unique(labels & 255)) == {0, *(sample.gt_instances.labels + 1).tolist()}
        assert set(np.unique(labels >> 8)) - {255} <= set(range(6))
    assert len(DATASETS.build(cfg.test_dataloader.dataset)) == 2
    quality, _ = map(METRICS.build, cfg.test_evaluator)
    names = [*dataset.metainfo['classes'], *dataset.metainfo['stuff_classes']]
    assert sorted(names) == sorted(category.name for category in quality.truth.categories)
