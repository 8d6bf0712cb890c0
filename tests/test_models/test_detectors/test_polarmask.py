"""The whole detector: training, prediction, batches, and what comes after it."""

import json

import numpy as np
import pytest
import torch

from polarseg.evaluation import CocoInstanceMetric
from polarseg.structures import PolygonInstances
from polarseg.visualization import InstanceVisualizer

LOW = dict(score_thr=1e-3, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20)


def train_losses(model, batch):
    batch = model.data_preprocessor(batch, training=True)
    return model.loss(batch['inputs'], batch['data_samples'])


@pytest.mark.parametrize(
    'options',
    [dict(), dict(with_bbox=False), dict(num_rays=18, ray_mode='binned'), dict(use_dcn=True)],
    ids=str,
)
def test_loss_and_backward(build_detector, make_batch, ground_truth, options):
    model = build_detector(**options).train()
    losses = train_losses(model, make_batch(ground_truth))
    total, log = model.parse_losses(losses)
    assert total.isfinite()
    assert set(losses) <= set(log)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('empty', [(0,), (0, 1)], ids=['one empty', 'all empty'])
def test_pictures_without_instances(build_detector, make_batch, ground_truth, empty):
    for number in empty:
        ground_truth[number] = ground_truth[number][:0]
    model = build_detector().train()
    losses = train_losses(model, make_batch(ground_truth))
    assert all(value.isfinite() for value in losses.values())
    if len(empty) == 2:
        assert [losses[f'loss_{name}'].item() for name in ('bbox', 'mask', 'centerness')] == [0] * 3
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_train_step_lowers_the_loss(build_detector, make_batch, ground_truth):
    from mmengine.optim import OptimWrapper

    model = build_detector().train()
    wrapper = OptimWrapper(torch.optim.Adam(model.parameters(), lr=2e-3))
    log = [model.train_step(make_batch(ground_truth), wrapper) for _ in range(6)]
    assert log[-1]['loss'] < 0.8 * log[0]['loss']


def test_the_three_modes(build_detector, make_batch, ground_truth):
    model = build_detector(test_cfg=LOW).eval()
    batch = model.data_preprocessor(make_batch(ground_truth))
    raw = model(**batch, mode='tensor')
    assert [len(levels) for levels in raw] == [3] * 4
    assert set(model(**batch, mode='loss')) >= {'loss_cls', 'loss_mask'}
    with torch.no_grad():
        samples = model(**batch, mode='predict')
    for sample in samples:
        assert isinstance(sample.pred_instances.masks, PolygonInstances)
        assert len(sample.pred_instances) == 20


@pytest.mark.parametrize('options', [dict(), dict(mask_nms=True), dict(use_dcn=True)], ids=str)
def test_a_batch_gives_each_picture_what_it_gets_alone(
    build_detector, make_batch, ground_truth, options
):
    """Sizes differ; padding to the same multiple is part of the model."""
    model = build_detector(pad_size_divisor=128, test_cfg=LOW, **options).eval()
    batch = make_batch(ground_truth, sizes=[(100, 128), (128, 90)])
    with torch.no_grad():
        together = model.test_step(dict(batch))
        alone = [
            model.test_step(dict(inputs=[picture], data_samples=[sample]))[0]
            for picture, sample in zip(batch['inputs'], batch['data_samples'])
        ]
    for mine, own in zip(together, alone):
        assert len(mine.pred_instances) > 0
        for key in ('scores', 'bboxes', 'labels'):
            torch.testing.assert_close(
                mine.pred_instances[key], own.pred_instances[key], rtol=1e-4, atol=1e-4
            )
        torch.testing.assert_close(
            mine.pred_instances.masks.vertices,
            own.pred_instances.masks.vertices,
            rtol=1e-4,
            atol=1e-4,
        )


def test_predictions_are_in_the_pixels_of_the_original(build_detector, make_batch, ground_truth):
    model = build_detector(test_cfg=LOW).eval()
    batch = make_batch(ground_truth[:1])
    batch['data_samples'][0].set_metainfo(
        dict(ori_shape=(64, 256), scale_factor=(0.5, 2.0), img_shape=(128, 128))
    )
    batch = model.data_preprocessor(batch)
    with torch.no_grad():
        scaled = model.predict(**names(batch), rescale=True)[0].pred_instances
        raw = model.predict(**names(batch), rescale=False)[0].pred_instances
    scale = torch.tensor([0.5, 2.0])
    assert len(raw) > 0
    torch.testing.assert_close(scaled.bboxes, raw.bboxes / scale.repeat(2))
    torch.testing.assert_close(scaled.masks.vertices, raw.masks.vertices / scale)
    assert (scaled.masks.height, scaled.masks.width) == (64, 256)
    assert (raw.masks.height, raw.masks.width) == (128, 128)


def names(batch):
    return dict(batch_inputs=batch['inputs'], batch_data_samples=batch['data_samples'])


def test_ground_truth_of_another_pipeline(build_detector, make_batch, ground_truth):
    del ground_truth[1].contours
    with pytest.raises(AttributeError, match=r'contours.*TracePolarContours'):
        train_losses(build_detector().train(), make_batch(ground_truth))


def test_bfloat16_training_step(build_detector, make_batch, ground_truth):

    model = build_detector().train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = train_losses(model, make_batch(ground_truth))
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_no_detection_passes_evaluation_and_drawing(
    build_detector, make_batch, ground_truth, tmp_path
):
    model = build_detector(test_cfg=dict(LOW, score_thr=0.999)).eval()
    batch = make_batch(ground_truth)
    with torch.no_grad():
        samples = model.test_step(batch)
    assert [len(sample.pred_instances) for sample in samples] == [0, 0]

    classes = ('a', 'b', 'c')
    content = dict(
        images=[dict(id=i, width=128, height=128, file_name=f'{i}.png') for i in range(2)],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(classes)],
        annotations=[
            dict(id=1, image_id=0, category_id=1, bbox=[2, 2, 20, 20], area=400, iscrowd=0,
                 segmentation=[[2, 2, 22, 2, 22, 22, 2, 22]])
        ],
    )  # fmt: skip
    (tmp_path / 'file.json').write_text(json.dumps(content))
    metric = CocoInstanceMetric(str(tmp_path / 'file.json'), metric=['bbox', 'segm'], max_dets=300)
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, [sample.to_dict() for sample in samples])
    assert not any(metric.evaluate(size=2).values())

    visualizer = InstanceVisualizer(name='nothing found')
    picture = np.full((128, 128, 3), 77, np.uint8)
    visualizer.dataset_meta = dict(classes=classes)
    visualizer.add_datasample(
        'none', picture, samples[0], draw_gt=False, out_file=str(tmp_path / 'drawn.png')
    )
    assert (visualizer.get_image() == 77).all()


@pytest.mark.gpu
def test_training_on_the_device(build_detector, make_batch, ground_truth):
    model = build_detector(test_cfg=LOW).cuda().train()
    losses = train_losses(model, make_batch(ground_truth))
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    with torch.no_grad(), torch.autocast('cuda', dtype=torch.float16):
        samples = model.eval().test_step(make_batch(ground_truth))
    assert all(sample.pred_instances.bboxes.isfinite().all() for sample in samples)
