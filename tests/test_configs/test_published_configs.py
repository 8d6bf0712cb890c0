"""The 18 published PolarMask configs have the published settings."""

from pathlib import Path

import pytest
from mmengine.config import Config

FOLDER = Path(__file__).resolve().parents[2] / 'configs/polarmask'
X101 = (64, 101, 'pytorch')
R50, R101 = (1, 50, 'caffe'), (1, 101, 'caffe')
SIZE_768, SIZE_800, SIZE_MULTI = [(1280, 768)], [(1333, 800)], [(1333, 640), (1333, 800)]

# config: backbone, training size, pictures per GPU, lr, warm-up (iters, ratio), steps, epochs, dcn
TABLE = {
    '4gpu/polar_768_1x_r50': (R50, SIZE_768, 4, 0.01, (500, 1 / 3), [8, 11], 12, False),
    '4gpu/polar_768_1x_r101': (R101, SIZE_768, 4, 0.01, (500, 1 / 3), [8, 11], 12, False),
    '4gpu/polar_768_1x_x101': (X101, SIZE_768, 2, 0.01, (500, 1 / 3), [8, 11], 12, False),
}
for dcn, suffix in ((False, ''), (True, '_dcn2')):
    for backbone, name in ((R50, 'r50'), (R101, 'r101')):
        TABLE[f'32gpu/polar_768_1x_{name}{suffix}'] = (
            backbone,
            SIZE_768,
            4,
            0.08,
            (2000, 1 / 24),
            [10, 13],
            14,
            dcn,
        )
    TABLE[f'32gpu/polar_768_1x_x101{suffix}'] = (
        X101,
        SIZE_768,
        2,
        0.04,
        (2000, 1 / 12),
        [10, 13],
        14,
        dcn,
    )
    for backbone, name in ((R50, 'r50'), (R101, 'r101'), (X101, 'x101')):
        TABLE[f'32gpu/polar_640_800_2x_{name}{suffix}'] = (
            backbone,
            SIZE_MULTI,
            1,
            0.02,
            (2000, 1 / 6),
            [18, 24],
            26,
            dcn,
        )
TABLE |= {
    '32gpu/polar_768_1x_r50_FastLoader': TABLE['32gpu/polar_768_1x_r50'],
    '32gpu/polar_800_1x_r50': (R50, SIZE_800, 4, 0.08, (2000, 1 / 24), [10, 13], 14, False),
    '32gpu/polar_640_800_6x_r101_dcn2': (
        (R101, SIZE_MULTI, 1, 0.02, (2000, 1 / 6), [50, 68], 74, True)
    ),
}


def step_of(pipeline, *kinds):
    (step,) = (step for step in pipeline if step['type'] in kinds)
    return step


def test_all_18_are_there():
    files = {
        str(path.relative_to(FOLDER).with_suffix(''))
        for folder in ('4gpu', '32gpu')
        for path in (FOLDER / folder).glob('*.py')
    }
    assert files == set(TABLE)
    assert len(files) == 18


@pytest.mark.parametrize('name', sorted(TABLE))
def test_settings(name):
    (groups, depth, style), sizes, batch, rate, warm_up, steps, epochs, dcn = TABLE[name]
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    backbone = cfg.model.backbone
    assert (backbone.get('groups', 1), backbone.depth, backbone.style) == (groups, depth, style)
    assert backbone.frozen_stages == 1
    assert backbone.norm_eval
    assert not backbone.norm_cfg.requires_grad

    resize = step_of(cfg.train_dataloader.dataset.pipeline, 'Resize', 'RandomResize')
    scale = resize.scale if isinstance(resize.scale[0], (list, tuple)) else [resize.scale]
    assert [tuple(size) for size in scale] == sizes
    assert not resize.keep_ratio
    test_resize = step_of(cfg.test_dataloader.dataset.pipeline, 'Resize')
    assert tuple(test_resize.scale) == sizes[-1]
    assert not test_resize.keep_ratio

    assert cfg.train_dataloader.batch_size == batch
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', rate)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.0001)
    assert cfg.optim_wrapper.paramwise_cfg.bias_lr_mult == 2.0
    assert cfg.optim_wrapper.paramwise_cfg.bias_decay_mult == 0.0
    assert cfg.optim_wrapper.clip_grad.max_norm == 35
    linear, multi_step = cfg.param_scheduler
    assert (linear.end, linear.start_factor) == (warm_up[0], pytest.approx(warm_up[1]))
    assert (multi_step.milestones, multi_step.end) == (steps, epochs)
    assert cfg.train_cfg.max_epochs == epochs

    assert cfg.model.bbox_head.get('use_dcn', False) is dcn
    assert (backbone.get('dcn') is not None) is dcn
    if dcn:
        kind = 'DCNv2' if '6x' in name else 'DCN'
        assert backbone.dcn.type == kind
        assert tuple(backbone.stage_with_dcn) == (False, True, True, True)
    if groups == 64:
        assert backbone.type == 'ResNeXt'
        assert backbone.base_width == 4
        assert cfg.model.data_preprocessor.bgr_to_rgb
    tracing = step_of(cfg.train_dataloader.dataset.pipeline, 'TracePolarContours')
    assert tracing.get('thin_above') == (360 if 'FastLoader' in name else None)
    assert cfg.inclusive_boxes
    assert cfg.model.bbox_head.num_classes == 80
