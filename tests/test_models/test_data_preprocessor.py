"""Joined label maps on their way to the model: padded, then taken apart."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from polarseg.models import PanopticDataPreprocessor
from polarseg.registry import MODELS
from polarseg.structures import join_labels

SIZES = [(40, 70), (64, 33)]


def labels_of(height, width, seed):
    numbers = torch.Generator().manual_seed(seed)
    things = torch.randint(0, 81, (height, width), generator=numbers)
    semantic = torch.randint(0, 55, (height, width), generator=numbers)
    semantic[semantic == 54] = 255
    return things, semantic


@pytest.fixture
def batch():
    inputs, samples = [], []
    for seed, (height, width) in enumerate(SIZES):
        things, semantic = labels_of(height, width, seed)
        joined = torch.from_numpy(join_labels(things.numpy(), semantic.numpy()))
        sample = DetDataSample(metainfo=dict(img_shape=(height, width)))
        sample.gt_sem_seg = PixelData(sem_seg=joined[None])
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4))
        inputs.append(torch.full((3, height, width), 9, dtype=torch.uint8))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def build(**options):
    config = dict(type='PanopticDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3, **options)
    return MODELS.build(config)


def test_both_maps_are_padded_to_the_batch(batch):
    preprocessor = build(pad_size_divisor=32)
    assert isinstance(preprocessor, PanopticDataPreprocessor)
    packed = preprocessor(batch, training=True)
    assert packed['inputs'].shape == (2, 3, 64, 96)
    assert packed['inputs'][0, :, :40, :70].eq(4).all()
    for seed, (sample, (height, width)) in enumerate(zip(packed['data_samples'], SIZES)):
        found = sample.gt_sem_seg
        assert set(found.keys()) == {'sem_seg', 'semantic_seg'}
        for labels, expected, padding in zip(
            (found.sem_seg, found.semantic_seg), labels_of(height, width, seed), (0, 255)
        ):
            assert labels.shape == (1, 64, 96)
            assert not labels.is_floating_point()
            assert labels[0, :height, :width].equal(expected.to(labels.dtype))
            outside = torch.ones(64, 96, dtype=torch.bool)
            outside[:height, :width] = False
            assert labels[0, outside].eq(padding).all()


def test_pictures_of_one_size_need_no_padding(batch):
    batch = {key: values[:1] for key, values in batch.items()}
    (sample,) = build()(batch, training=True)['data_samples']
    things, semantic = labels_of(*SIZES[0], 0)
    assert sample.gt_sem_seg.sem_seg[0].equal(things.to(torch.int32))
    assert sample.gt_sem_seg.semantic_seg[0].equal(semantic.to(torch.int32))


def test_pictures_without_label_maps(batch):
    for sample in batch['data_samples']:
        del sample.gt_sem_seg
    packed = build(pad_size_divisor=32)(batch, training=False)
    assert packed['inputs'].shape == (2, 3, 64, 96)
    assert not any('gt_sem_seg' in sample for sample in packed['data_samples'])


def test_padding_is_not_left_to_the_caller():
    with pytest.raises(TypeError, match='seg_pad_value'):
        PanopticDataPreprocessor(seg_pad_value=0)
