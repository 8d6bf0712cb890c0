"""The published configs of both CenterMask flavours have the published settings."""

from pathlib import Path

import pytest
import torch
from config_tools import without_pretrained
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from polarseg.registry import MODELS, PARAM_SCHEDULERS

FOLDER = Path(__file__).resolve().parents[2] / 'configs'
STEPS = {
    '1x': (90000, [60000, 80000]),
    '2x': (180000, [120000, 160000]),
    '3x': (270000, [210000, 250000]),
    '4x': (360000, [300000, 340000]),
}
RESNETS, VOVNETS = ('R_50', 'R_101', 'X_101'), ('V_39_eSE', 'V_57_eSE', 'V_99_eSE')
BIG, RANGE, LITE_RANGE = ([800], 1333), ([640, 800], 1333), ([580, 600], 1000)
CHOICE, LITE_CHOICE = ([640, 672, 704, 736, 768, 800], 1333), ([580, 600], 1000)

# original flavour; config: backbone, training size, schedule, pictures in all, mask scoring
ORIGINAL = {f'{name}_FPN_1x': (name, BIG, '1x', 16, True) for name in (*RESNETS, 'M_v2')}
for _name in (*RESNETS, *VOVNETS):
    ORIGINAL[f'{_name}_FPN_ms_2x'] = (_name, RANGE, '2x', 16, True)
    ORIGINAL[f'{_name}_FPN_ms_3x'] = (_name, RANGE, '3x', 16, True)
for _name in ('V_19_eSE', 'M_v2'):
    ORIGINAL[f'{_name}_FPN_ms_3x'] = (_name, RANGE, '3x', 16, False)
for _name in VOVNETS:
    ORIGINAL[f'{_name}_dconv_FPN_1x'] = (_name, BIG, '1x', 16, True)
for _name in ('R_50', 'V_19_eSE', 'V_39_eSE', 'M_v2'):
    _scoring = _name != 'M_v2'
    ORIGINAL[f'{_name}_FPN_lite_res600_ms_bs16_4x'] = (_name, LITE_RANGE, '4x', 16, _scoring)
for _name in ('R_50', 'M_v2'):
    _scoring = _name != 'M_v2'
    ORIGINAL[f'{_name}_FPN_lite_res600_ms_bs32_1x'] = (_name, LITE_RANGE, '1x', 32, _scoring)
ORIGINAL = {f'centermask/centermask_{name}': row for name, row in ORIGINAL.items()}

CENTERMASK2 = {}
for _name in (*RESNETS, *VOVNETS):
    CENTERMASK2[f'{_name}_FPN_ms_3x'] = (_name, CHOICE, '3x', 16, True)
for _name in VOVNETS:
    CENTERMASK2[f'{_name}_dcn_FPN_ms_3x'] = (_name, CHOICE, '3x', 16, True)
for _name in ('Mv2', 'V_19_eSE', 'V_19_slim_eSE', 'V_19_slim_dw_eSE', 'V_39_eSE'):
    CENTERMASK2[f'lite_{_name}_FPN_ms_4x'] = (_name, LITE_CHOICE, '4x', 16, True)
CENTERMASK2 = {f'centermask2/centermask_{name}': row for name, row in CENTERMASK2.items()}
TABLE = ORIGINAL | CENTERMASK2

# type, what tells it from others of its type, widths of C3 to C5
BACKBONES = {
    'R_50': ('ResNet', dict(depth=50, style='caffe'), [512, 1024, 2048]),
    'R_101': ('ResNet', dict(depth=101, style='caffe'), [512, 1024, 2048]),
    'X_101': (
        'ResNeXt',
        dict(depth=101, style='pytorch', groups=32, base_width=8),
        [512, 1024, 2048],
    ),
    'M_v2': ('MobileNetV2', dict(), [32, 96, 320]),
    'Mv2': ('MobileNetV2', dict(), [32, 96, 320]),
    'V_19_eSE': ('VoVNet', dict(arch='V-19'), [512, 768, 1024]),
    'V_19_slim_eSE': ('VoVNet', dict(arch='V-19-slim'), [256, 384, 512]),
    'V_19_slim_dw_eSE': ('VoVNet', dict(arch='V-19-slim-dw'), [256, 384, 512]),
    'V_39_eSE': ('VoVNet', dict(arch='V-39'), [512, 768, 1024]),
    'V_57_eSE': ('VoVNet', dict(arch='V-57'), [512, 768, 1024]),
    'V_99_eSE': ('VoVNet', dict(arch='V-99'), [512, 768, 1024]),
}


@pytest.fixture(scope='module', params=sorted(TABLE))
def row(request):
    """Name and config of a row of the table, and what it says."""
    return request.param, Config.fromfile(FOLDER / f'{request.param}.py'), TABLE[request.param]


def is_original(name):
    return name.startswith('centermask/')


def is_lite(name):
    return 'lite' in name


def resize_of(dataloader):
    (step,) = (s for s in dataloader.dataset.pipeline if s.type == 'ShortestEdgeResize')
    return step


def test_all_published_ones_are_there():
    files = {
        str(path.relative_to(FOLDER).with_suffix(''))
        for folder in ('centermask', 'centermask2')
        for path in (FOLDER / folder).glob('centermask_*.py')
    }
    assert files == set(TABLE)
    assert (len(ORIGINAL), len(CENTERMASK2)) == (27, 14)


def test_backbone_and_pyramid(row):
    name, cfg, (backbone, *_) = row
    kind, arguments, widths = BACKBONES[backbone]
    found = cfg.model.backbone
    assert found.type == kind
    assert {key: found[key] for key in arguments} == arguments
    assert tuple(found.out_indices) == (1, 2, 3)
    # the published freeze value is one more: stem and first stage of ResNets, nothing of others
    assert found.frozen_stages == (1 if kind.startswith('ResNe') else -1)
    assert found.norm_eval
    epsilon = 0 if is_original(name) else 1e-5
    assert found.norm_cfg == dict(type='BN', requires_grad=False, eps=epsilon)
    deformable = 'dcn' in name or 'dconv' in name
    assert (found.get('dcn') is not None) is deformable
    if deformable:
        assert found.dcn == dict(type='DCNv2', deform_groups=1)
        assert tuple(found.stage_with_dcn) == (False, True, True, True)

    neck = cfg.model.neck
    assert neck.in_channels == widths
    assert neck.out_channels == (128 if is_lite(name) else 256)
    assert (neck.add_extra_convs, neck.num_outs) == ('on_output', 5)
    assert neck.relu_before_extra_convs


def test_input(row):
    name, cfg, (backbone, sizes, *_) = row
    preprocessor = cfg.model.data_preprocessor
    if is_original(name):
        assert preprocessor.mean == [102.9801, 115.9465, 122.7717]
    else:
        assert preprocessor.mean == [103.530, 116.280, 123.675]
    divided = backbone == 'X_101' and not is_original(name)
    assert preprocessor.std == ([57.375, 57.120, 58.395] if divided else [1, 1, 1])
    assert not preprocessor.bgr_to_rgb
    assert preprocessor.pad_size_divisor == 32

    train, test = resize_of(cfg.train_dataloader), resize_of(cfg.test_dataloader)
    assert (train.scales, train.max_size) == sizes
    sampled = is_original(name) and len(sizes[0]) > 1
    assert train.get('sampling', 'choice') == ('range' if sampled else 'choice')
    assert (test.scales, test.max_size) == (([600], 1000) if is_lite(name) else ([800], 1333))
    rounding = 'truncate' if is_original(name) else 'half_up'
    assert train.rounding == test.rounding == rounding
    assert cfg.val_dataloader == cfg.test_dataloader
    assert cfg.inclusive_boxes is is_original(name)


def test_heads(row):
    name, cfg, (*_, scoring) = row
    original, lite = is_original(name), is_lite(name)
    width, convs = (128, 2) if lite else (256, 4)
    head = cfg.model.bbox_head
    assert (head.in_channels, head.feat_channels, head.stacked_convs) == (width, width, convs)
    assert head.num_classes == 80
    assert head.norm_on_bbox is not original
    assert head.clip_boxes is original
    assert head.sync_avg_factor is not original
    assert head.cls_normalizer == ('fg_and_images' if original else 'fg')
    assert (head.assigner.sampling_center, head.assigner.radius) == ('box', 1.5)
    assert (head.loss_bbox.mode, head.loss_bbox.eps) == ('giou', 1e-7 if original else 0)
    assert head.norm_cfg == dict(type='GN', num_groups=32)

    roi = cfg.model.roi_head
    assert roi.mask_roi_extractor.out_channels == width
    assert roi.mask_roi_extractor.featmap_strides == [8, 16, 32]
    assert roi.mask_roi_extractor.level_rule == 'area_ratio'
    layer = roi.mask_roi_extractor.roi_layer
    assert (layer.sampling_ratio, layer.aligned) == ((2, False) if original else (0, True))
    assert (roi.mask_iou_head is not None) is scoring
    for part in (roi.mask_head, roi.mask_iou_head) if scoring else (roi.mask_head,):
        assert (part.in_channels, part.conv_out_channels) == (width, width)
        assert (part.num_convs, part.num_classes) == (convs, 80)
        assert part.weight_init == ('original' if original else 'centermask2')
    assert roi.mask_head.with_attention
    assert roi.area_rule == ('first_part' if original else 'all_parts')
    assert roi.paste_rule == ('integer_box' if original else 'half_pixel')


def test_selection_of_boxes(row):
    name, cfg, _ = row
    for part, most in ((cfg.model.train_cfg.proposals, 100), (cfg.model.test_cfg, 50)):
        assert part.score_thr == (0.03 if is_original(name) else 0.05)
        assert part.get('sqrt_scores', False) is not is_original(name)
        assert (part.nms_pre, part.max_per_img) == (1000, most)
        assert part.nms == dict(type='nms', iou_threshold=0.6)
    assigner, sampler = cfg.model.train_cfg.roi.assigner, cfg.model.train_cfg.roi.sampler
    assert (assigner.pos_iou_thr, assigner.neg_iou_thr) == (0.5, 0.5)
    assert not assigner.match_low_quality
    if is_original(name):
        assert sampler == dict(type='PseudoSampler')
    else:
        assert sampler == dict(type='RandomSampler', num=512, pos_fraction=0.25)


def test_schedule(row):
    name, cfg, (_, _, schedule, batch, _) = row
    end, steps = STEPS[schedule]
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.01)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.0001)
    assert 'clip_grad' not in cfg.optim_wrapper
    warm_up, multi_step = cfg.param_scheduler
    assert (multi_step.milestones, multi_step.end) == (steps, end)
    assert not multi_step.by_epoch
    if name.endswith('X_101_FPN_ms_2x'):
        expected = ('ConstantLR', 0.2, 1000)
    elif is_original(name):
        expected = ('ConstantLR', pytest.approx(1 / 3), 500)
    else:
        expected = ('LinearLR', 0.001, 1000)
    factor = warm_up.get('factor', warm_up.get('start_factor'))
    assert (warm_up.type, factor, warm_up.end - 1) == expected
    assert (cfg.train_cfg.type, cfg.train_cfg.max_iters) == ('IterBasedTrainLoop', end)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.train_dataloader.batch_sampler.type == 'AspectRatioBatchSampler'
    assert not cfg.default_hooks.checkpoint.by_epoch
    assert not cfg.log_processor.by_epoch


def rates(cfg, count):
    """Learning rates of the first iterations."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(scheduler), default_args=dict(optimizer=optimizer))
        for scheduler in cfg.param_scheduler
    ]
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


def test_constant_warm_up_and_steps_of_the_original():
    cfg = Config.fromfile(FOLDER / 'centermask/centermask_R_50_FPN_1x.py')
    cfg.param_scheduler[1].update(milestones=[600, 800], end=900)
    expected = [0.01 / 3] * 500 + [0.01] * 100 + [0.001] * 200 + [0.0001] * 100
    assert rates(cfg, 900) == pytest.approx(expected)


def test_linear_warm_up_and_steps_of_centermask2():
    cfg = Config.fromfile(FOLDER / 'centermask2/centermask_R_50_FPN_ms_3x.py')
    cfg.param_scheduler[1].update(milestones=[1100, 1200], end=1300)
    linear = [0.01 * (0.001 * (1 - i / 1000) + i / 1000) for i in range(1000)]
    expected = linear + [0.01] * 100 + [0.001] * 100 + [0.0001] * 100
    assert rates(cfg, 1300) == pytest.approx(expected)


@pytest.mark.parametrize(
    'name',
    ['centermask/centermask_V_39_eSE_dconv_FPN_1x', 'centermask2/centermask_lite_Mv2_FPN_ms_4x'],
)
def test_optimizer_groups(name):
    """Factors of the learning rate and weight decay, in the groups that are really built."""
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    model = MODELS.build(without_pretrained(cfg.model.to_dict()))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        name_of[id(parameter)]: (group['lr'] / 0.01, group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
        if parameter.requires_grad
    }
    for parameter, factors in found.items():
        if is_original(name):
            expected = (2, 0) if parameter.endswith('.bias') else (1, 1e-4)
        else:
            expected = (1, 0) if '.gn.' in parameter else (1, 1e-4)
        assert factors == pytest.approx(expected), parameter
    kinds = {parameter.rsplit('.', 2)[-2] for parameter in found}
    assert {'conv', 'gn', 'conv_logits', 'conv_cls'} <= kinds
    assert ('conv_offset' in kinds) is is_original(name)
    assert not any('.bn.' in parameter for parameter in found)
