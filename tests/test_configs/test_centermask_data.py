"""The data sections of both CenterMask flavours on a small COCO file, up to a training step."""

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.dataset import pseudo_collate

from polarseg.registry import DATASETS, MODELS

ORIGINAL = 'centermask/centermask_M_v2_FPN_lite_res600_ms_bs16_4x'
CENTERMASK2 = 'centermask2/centermask_lite_V_19_slim_dw_eSE_FPN_ms_4x'


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('name', [ORIGINAL, CENTERMASK2])
def test_boxes_and_masks_of_a_training_sample(name, flip, on_small_coco):
    dataset = DATASETS.build(on_small_coco(name, 128, flip).train_dataloader.dataset)
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
def test_a_batch_of_polygons_and_run_lengths_trains(name, on_small_coco):
    cfg = on_small_coco(name, 96, flip=True)
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
def test_test_samples(name, size, on_small_coco):
    dataset = DATASETS.build(on_small_coco(name, 96, False).test_dataloader.dataset)
    assert len(dataset) == 3
    sample = dataset[0]['data_samples']
    assert sample.img_shape == size
    assert sample.ori_shape == (75, 100)
    assert sample.scale_factor == pytest.approx((size[1] / 100, size[0] / 75))
