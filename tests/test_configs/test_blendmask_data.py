"""The data sections of BlendMask's configs on a small COCO file, up to a training step."""

import numpy as np
import pytest
import torch
from config_tools import without_pretrained
from mmdet.structures.mask import PolygonMasks
from mmengine.dataset import pseudo_collate

from polarseg.registry import DATASETS, MODELS

PLAIN, CROPPED = 'blendmask/DLA_34_syncbn_4x', 'blendmask/R_101_dcni3_5x'


@pytest.mark.parametrize('flip', [False, True])
def test_the_label_map_follows_the_picture(flip, on_small_coco):
    cfg = on_small_coco(PLAIN, 150, flip)
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]['data_samples']
    # twice the size
    assert sample.img_shape == (150, 200)
    (labels,) = sample.gt_sem_seg.sem_seg.numpy()
    expected = np.zeros((75, 100), np.uint8)
    expected[:9, :30] = 1  # the crowd
    expected[20:70, 10:49] = 1
    expected[5:75, 60:100] = 1
    expected = expected.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(labels, expected[:, ::-1] if flip else expected)


def test_a_cropped_sample(on_small_coco):
    dataset = DATASETS.build(on_small_coco(CROPPED, 128, flip=True).train_dataloader.dataset)
    np.random.seed(0)  # noqa: NPY002
    shapes = set()
    for _ in range(5):
        packed = dataset[0]
        sample = packed['data_samples']
        height, width = sample.img_shape
        assert packed['inputs'].shape == (3, height, width)
        # a window of 90 to 100 % of each side of 75 x 100 pixels, then its short side to 128
        assert min(height, width) == 128
        assert 90 / 75 - 0.03 < width / height < 100 / 67 + 0.03
        shapes.add((height, width))
        assert sample.gt_sem_seg.sem_seg.shape == (1, height, width)
        found = sample.gt_instances
        assert isinstance(found.masks, PolygonMasks)
        for parts, box in zip(found.masks.masks, found.bboxes.numpy(), strict=True):
            points = np.concatenate(parts).reshape(-1, 2)
            ends = np.concatenate([points.min(axis=0), points.max(axis=0)])
            np.testing.assert_allclose(box, ends, rtol=1e-5, atol=1e-3)
    assert len(shapes) > 1


def test_a_batch_of_polygons_and_run_lengths_trains(on_small_coco):
    cfg = on_small_coco(PLAIN, 96, flip=True)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model.to_dict())).train()
    batch = pseudo_collate([dataset[0], dataset[1]])
    assert [len(sample.gt_instances) for sample in batch['data_samples']] == [2, 2]
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert torch.isfinite(total)
    assert losses['loss_mask'] > 0
    assert losses['loss_basis_sem'] > 0
    total.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
