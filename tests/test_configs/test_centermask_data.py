"""The data sections of both CenterMask flavours on a small COCO file, up to a training step."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.dataset import pseudo_collate
from pycocotools import mask as coco_mask

from polarseg.apis import prepare_config
from polarseg.registry import DATASETS, MODELS

ORIGINAL = 'centermask/centermask_M_v2_FPN_lite_res600_ms_bs16_4x'
CENTERMASK2 = 'centermask2/centermask_lite_V_19_slim_dw_eSE_FPN_ms_4x'
SIZES = {1: (75, 100), 2: (100, 60), 3: (80, 80)}  # height, width


def annotation(number, image, box, segmentation, crowd=0):
    _, _, width, height = box
    return dict(
        id=number,
        image_id=image,
        category_id=1,
        iscrowd=crowd,
        bbox=box,
        area=width * height,
        segmentation=segmentation,
    )


def run_lengths(height, width, rows, columns):
    mask = np.zeros((height, width), np.uint8, order='F')
    mask[slice(*rows), slice(*columns)] = 1
    return dict(size=[height, width], counts=coco_mask.encode(mask)['counts'].decode())


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Polygons in whole numbers with a crowd; run lengths beside a polygon; a crowd alone."""
    root = tmp_path_factory.mktemp('coco')
    rng = np.random.default_rng(0)
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        for number, (height, width) in SIZES.items():
            picture = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            cv2.imwrite(str(root / split / f'{number}.png'), picture)
    rectangle = [[10, 20, 49, 20, 49, 70, 10, 70]]
    annotations = [
        annotation(1, 1, [10, 20, 39, 50], rectangle),
        annotation(2, 1, [0, 0, 30, 9], run_lengths(75, 100, (0, 9), (0, 30)), crowd=1),
        annotation(3, 1, [60, 5, 40, 70], [[60, 5, 100, 5, 100, 75, 60, 75]]),
        annotation(4, 2, [10, 20, 39, 50], rectangle),
        annotation(5, 2, [5, 80, 50, 15], run_lengths(100, 60, (80, 95), (5, 55))),
        annotation(6, 3, [0, 0, 40, 40], run_lengths(80, 80, (0, 40), (0, 40)), crowd=1),
    ]
    content = dict(
        images=[
            dict(id=number, file_name=f'{number}.png', height=height, width=width)
            for number, (height, width) in SIZES.items()
        ],
        categories=[dict(id=1, name='thing')],
        annotations=annotations,
    )
    (root / 'annotations').mkdir()
    for split in ('train', 'val'):
        (root / f'annotations/instances_{split}2017.json').write_text(json.dumps(content))
    return root


def load(name, repo_root, folder, short_side, flip):
    cfg = prepare_config(
        repo_root / f'configs/{name}.py', cfg_options=dict(data_root=str(folder) + '/')
    )
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.metainfo = dict(classes=('thing',))
        for step in loader.dataset.pipeline:
            if step.type == 'ShortestEdgeResize':
                # a length that none of the pictures has, so that pixels are rounded
                step.update(scales=[short_side], max_size=1000, sampling='choice')
            if step.type == 'RandomFlip':
                step.prob = 1.0 if flip else 0.0
    return cfg


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('name', [ORIGINAL, CENTERMASK2])
def test_boxes_and_masks_of_a_training_sample(name, flip, repo_root, folder):
    dataset = DATASETS.build(load(name, repo_root, folder, 128, flip).train_dataloader.dataset)
    assert len(dataset) == 2, 'a picture with nothing but crowds is not trained on'
    sample = dataset[0]['data_samples']
    height, width = sample.img_shape
    # 128 * 100 / 75 = 170.67
    edge, expected_width = (1, 170) if name == ORIGINAL else (0, 171)
    assert (height, width) == (128, expected_width)
    scale = np.array([width / 100, height / 75] * 2)
    boxes = np.array([[10, 20, 49 - edge, 70 - edge], [60, 5, 100 - edge, 75 - edge]]) * scale
    if flip:
        boxes[:, [0, 2]] = width - edge - boxes[:, [2, 0]]
    found = sample.gt_instances
    np.testing.assert_allclose(found.bboxes.numpy(), boxes, rtol=1e-5, atol=1e-4)
    assert isinstance(found.masks, PolygonMasks)
    assert len(sample.ignored_instances) == 1
    for (part,), (x1, y1, x2, y2) in zip(found.masks.masks, boxes, strict=True):
        # polygons are continuous in both flavours: their ends are one old pixel beyond the last one
        ends = part.reshape(-1, 2).min(axis=0), part.reshape(-1, 2).max(axis=0)
        grown = edge * scale[:2]
        low = np.array([x1 - (grown[0] - edge if flip else 0), y1])
        high = np.array([x2 + (edge if flip else grown[0]), y2 + grown[1]])
        np.testing.assert_allclose(ends, [low, high], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('name', [ORIGINAL, CENTERMASK2])
def test_a_batch_of_polygons_and_run_lengths_trains(name, repo_root, folder):
    cfg = load(name, repo_root, folder, 96, flip=True)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    torch.manual_seed(0)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()
    batch = pseudo_collate([dataset[0], dataset[1]])
    kinds = [type(sample.gt_instances.masks) for sample in batch['data_samples']]
    assert kinds == [PolygonMasks, BitmapMasks]
    assert [len(sample.gt_instances) for sample in batch['data_samples']] == [2, 2]
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert torch.isfinite(total)
    assert losses['loss_mask'] > 0
    total.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@pytest.mark.parametrize(('name', 'size'), [(ORIGINAL, (96, 128)), (CENTERMASK2, (96, 128))])
def test_test_samples(name, size, repo_root, folder):
    dataset = DATASETS.build(load(name, repo_root, folder, 96, False).test_dataloader.dataset)
    assert len(dataset) == len(SIZES)
    sample = dataset[0]['data_samples']
    assert sample.img_shape == size
    assert sample.ori_shape == SIZES[1]
    assert sample.scale_factor == pytest.approx((size[1] / 100, size[0] / 75))
