"""The published configs of BlendMask have the published settings."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from config_tools import without_pretrained
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import load_state_dict

from polarseg.models import DLA
from polarseg.models.layers import ModulatedDeformConv2dPack
from polarseg.registry import MODELS, PARAM_SCHEDULERS

FOLDER = Path(__file__).resolve().parents[2] / 'configs/blendmask'
STEPS = {
    '1x': (90000, [60000, 80000]),
    '3x': (270000, [210000, 250000]),
    '4x': (360000, [300000, 340000]),
    '5x': (400000, [280000, 360000]),
}
RANGES = [64, 128, 256, 512]

# sides to choose from, longest side
SIZES = {
    'base': ([640, 672, 704, 736, 768, 800], 1333),
    '550': ([440, 462, 484, 506, 528, 550], 916),
    'rt': ([256, 288, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608], 900),
    'crop': ([640, 864], 1440),
    '550_crop': ([440, 594], 990),
}
TEST_SIZES = {'base': ([800], 1333), '550': ([550], 916), 'rt': ([512], 736)}

# config: backbone, family, training sizes, schedule
TABLE = {
    'R_50_1x': ('R_50', 'base', 'base', '1x'),
    'R_50_3x': ('R_50', 'base', 'base', '3x'),
    'R_101_3x': ('R_101', 'base', 'base', '3x'),
    'R_101_dcni3_5x': ('R_101', 'base', 'crop', '5x'),
    '550_R_50_1x': ('R_50', '550', '550', '1x'),
    '550_R_50_3x': ('R_50', '550', '550', '3x'),
    # its name says 5x
    '550_R_50_dcni3_5x': ('R_50', '550', '550_crop', '3x'),
    'RT_R_50_4x_syncbn_shtw': ('R_50', 'rt', 'rt', '4x'),
    'RT_R_50_4x_bn-head_syncbn_shtw': ('R_50', 'rt', 'rt', '4x'),
    'DLA_34_syncbn_4x': ('DLA_34', 'rt', 'rt', '4x'),
    'person/R_50_1x': ('R_50', 'base', 'base', '1x'),
}
LEVELS = {'base': 5, '550': 4, 'rt': 3}


@pytest.fixture(scope='module', params=sorted(TABLE))
def row(request):
    """Name and config of a row of the table, and what it says."""
    return request.param, Config.fromfile(FOLDER / f'{request.param}.py'), TABLE[request.param]


def steps_of(pipeline, *kinds):
    return [step for step in pipeline if step.type in kinds]


def test_all_published_ones_are_there():
    files = {
        str(path.relative_to(FOLDER).with_suffix(''))
        for path in FOLDER.rglob('*.py')
        if not {'ablations', 'panoptic'} & set(path.parts)
    }
    assert files == set(TABLE)


def test_backbone(row):
    name, cfg, (backbone, family, *_) = row
    found = cfg.model.backbone
    assert tuple(found.out_indices) == (1, 2, 3)
    if backbone == 'DLA_34':
        assert (found.type, found.depth) == ('DLA', 34)
        assert found.init_cfg.checkpoint.endswith('dla34-ba72cf86.pth')
    else:
        depth = int(backbone[2:])
        assert (found.type, found.depth, found.style) == ('ResNet', depth, 'caffe')
        assert found.init_cfg.checkpoint == f'open-mmlab://detectron2/resnet{depth}_caffe'
    if family == 'rt':
        assert found.frozen_stages == -1
        assert found.norm_cfg == dict(type='SyncBN', requires_grad=True)
        assert not found.get('norm_eval', False)
    else:
        # the published freeze value is one more: stem and first stage
        assert found.frozen_stages == 1
        assert found.norm_cfg == dict(type='BN', requires_grad=False)
        assert found.norm_eval
    deformable = 'dcni3' in name
    assert (found.get('dcn') is not None) is deformable
    if deformable:
        assert found.dcn == dict(type='DCNv2', deform_groups=1)
        assert tuple(found.stage_with_dcn) == (False, True, True, True)
        assert found.dcn_interval == 3


def test_pyramid(row):
    _, cfg, (backbone, family, *_) = row
    neck = cfg.model.neck
    widths = [128, 256, 512] if backbone == 'DLA_34' else [512, 1024, 2048]
    assert (neck.in_channels, neck.out_channels) == (widths, 256)
    assert neck.num_outs == LEVELS[family]
    assert neck.add_extra_convs == (False if family == 'rt' else 'on_output')
    assert neck.relu_before_extra_convs is (family != 'rt')
    assert neck.get('norm_cfg') is None
    assert neck.get('act_cfg') is None


def test_head(row):
    name, cfg, (_, family, *_) = row
    head = cfg.model.bbox_head
    assert (head.type, head.in_channels, head.feat_channels) == ('BlendMaskHead', 256, 256)
    shared = family == '550' or name.startswith('RT')
    assert (head.stacked_share_convs, head.stacked_convs) == ((3, 0) if shared else (0, 4))
    levels = LEVELS[family]
    assert head.strides == [8 * 2**level for level in range(levels)]
    limits = [-1, *RANGES[: levels - 1], 1e8]
    ranges = [tuple(pair) for pair in head.assigner.regress_ranges]
    assert ranges == list(pairwise(limits))
    assert (head.assigner.sampling_center, head.assigner.radius) == ('box', 1.5)
    if 'bn-head' in name:
        assert head.norm_cfg == dict(type='SyncBN')
    else:
        assert head.norm_cfg == dict(type='GN', num_groups=32)
    assert head.get('norm_per_level', False) is ('bn-head' in name)
    assert head.num_classes == (1 if 'person' in name else 80)
    assert head.top_channels == 4 * 14 * 14
    assert head.top_on_reg
    assert not head.use_scale
    assert head.loss_cls == dict(
        type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
    )
    loss = head.loss_bbox
    assert (loss.mode, loss.eps, loss.loss_weight) == ('giou', 0, 1.0)
    assert head.loss_centerness.loss_weight == 1.0


def test_bases_and_blender(row):
    name, cfg, (_, family, *_) = row
    basis = cfg.model.basis_module
    assert basis.type == 'ProtoNet'
    assert (basis.in_channels, basis.channels, tuple(basis.in_indices)) == (256, 128, (0, 1, 2))
    shallow = family == '550' or name.startswith('RT')
    assert (basis.num_convs, basis.num_bases) == (2 if shallow else 3, 4)
    assert basis.norm_cfg == dict(type='SyncBN')
    assert (basis.sem_stride, basis.loss_weight) == (8, 0.3)
    assert basis.num_classes == (1 if 'person' in name else 80)
    assert cfg.model.get('bases_from', 'neck') == 'neck'
    assert cfg.model.blender == dict(
        type='Blender',
        num_bases=4,
        attention_size=14,
        resolution=56,
        base_stride=4,
        top_interp='bilinear',
        softmax=True,
        pooler=dict(sampling_ratio=1, aligned=True),
        loss_weight=1.0,
    )


def test_selection_of_boxes(row):
    _, cfg, _ = row
    assert cfg.model.test_cfg == dict(
        nms_pre=1000,
        score_thr=0.05,
        thresh_with_ctr=True,
        sqrt_scores=True,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
        keep_ties=True,
    )


def test_input(row):
    _, cfg, (_, family, sizes, _) = row
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [103.530, 116.280, 123.675]
    assert preprocessor.std == [1, 1, 1]
    assert not preprocessor.bgr_to_rgb
    assert preprocessor.pad_size_divisor == 32
    assert (preprocessor.pad_seg, preprocessor.seg_pad_value) == (True, 0)

    (train,) = steps_of(cfg.train_dataloader.dataset.pipeline, 'ShortestEdgeResize')
    (test,) = steps_of(cfg.test_dataloader.dataset.pipeline, 'ShortestEdgeResize')
    assert (train.scales, train.max_size) == SIZES[sizes]
    assert train.get('sampling', 'choice') == ('range' if 'crop' in sizes else 'choice')
    assert (test.scales, test.max_size) == TEST_SIZES[family]
    assert train.rounding == test.rounding == 'half_up'
    assert cfg.val_dataloader == cfg.test_dataloader
    assert cfg.inclusive_boxes is False


def test_order_of_the_training_pipeline(row):
    _, cfg, (_, _, sizes, _) = row
    cropped = 'crop' in sizes
    expected = [
        'LoadImageFromFile',
        'LoadPolygonAnnotations',
        'LoadThingSemantic',
        *['InstanceAwareCrop'] * cropped,
        'ShortestEdgeResize',
        'RandomFlip',
        # only where pictures are cropped
        *['BoxesFromMasks'] * cropped,
        'BoxesToConvention',
        'PackDetInputs',
    ]
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in pipeline] == expected
    for crop in steps_of(pipeline, 'InstanceAwareCrop'):
        assert tuple(crop.size_range) == (0.9, 0.9)
        assert crop.get('crop_instance', True)
    (flip,) = steps_of(pipeline, 'RandomFlip')
    assert flip.prob == 0.5
    assert flip.get('direction', 'horizontal') == 'horizontal'


def test_data(row):
    name, cfg, _ = row
    train, test = cfg.train_dataloader, cfg.test_dataloader
    assert train.dataset.filter_cfg == dict(filter_empty_gt=True)
    assert train.batch_sampler.type == 'AspectRatioBatchSampler'
    assert train.sampler == dict(type='InfiniteSampler', shuffle=True)
    assert test.batch_size == 1
    files = [part.dataset.data_root + part.dataset.ann_file for part in (train, test)]
    pictures = [part.dataset.data_prefix.img for part in (train, test)]
    if 'person' in name:
        assert files == [f'data/pic/annotations/{part}_person.json' for part in ('train', 'val')]
        assert pictures == ['image/train/', 'image/val/']
        assert train.dataset.metainfo == test.dataset.metainfo == dict(classes=('person',))
        assert cfg.load_from.endswith('blendmask_R_50_3x.pth')
    else:
        parts = ('train2017', 'val2017')
        assert files == [f'data/coco/annotations/instances_{part}.json' for part in parts]
        assert pictures == [f'{part}/' for part in parts]
        assert cfg.load_from is None
    assert cfg.test_evaluator.ann_file == files[1]


def test_schedule(row):
    _, cfg, (*_, schedule) = row
    end, steps = STEPS[schedule]
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.01)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.0001)
    assert 'clip_grad' not in cfg.optim_wrapper
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.optim_wrapper.paramwise_cfg == dict(norm_decay_mult=0.0)
    warm_up, multi_step = cfg.param_scheduler
    assert (multi_step.milestones, multi_step.end) == (steps, end)
    assert multi_step.get('gamma', 0.1) == 0.1
    assert not multi_step.by_epoch
    assert (warm_up.type, warm_up.start_factor, warm_up.end) == ('LinearLR', 0.001, 1001)
    assert (cfg.train_cfg.type, cfg.train_cfg.max_iters) == ('IterBasedTrainLoop', end)
    assert cfg.train_cfg.val_interval == (20000 if schedule == '5x' else 10000)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    assert not cfg.default_hooks.checkpoint.by_epoch
    assert not cfg.log_processor.by_epoch


def test_warm_up_and_steps():
    cfg = Config.fromfile(FOLDER / 'R_50_1x.py')
    cfg.param_scheduler[1].update(milestones=[1100, 1200], end=1300)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(scheduler), default_args=dict(optimizer=optimizer))
        for scheduler in cfg.param_scheduler
    ]
    found = []
    for _ in range(1300):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    linear = [0.01 * (0.001 * (1 - i / 1000) + i / 1000) for i in range(1000)]
    assert found == pytest.approx(linear + [0.01] * 100 + [0.001] * 100 + [0.0001] * 100)


def build(name):
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    return cfg, MODELS.build(without_pretrained(cfg.model.to_dict()))


def test_every_third_block_is_deformable():
    _, model = build('R_101_dcni3_5x')
    found = {
        name
        for name, layer in model.named_modules()
        if isinstance(layer, ModulatedDeformConv2dPack)
    }
    blocks = {2: (0, 3), 3: range(0, 22, 3), 4: (0,)}
    expected = {
        f'backbone.layer{stage}.{block}.conv2' for stage in blocks for block in blocks[stage]
    }
    assert found == expected


def test_persons_start_from_coco():
    """All but the class predictors fits."""
    _, coco = build('R_50_3x')
    _, persons = build('person/R_50_1x')
    before = {name: tensor.clone() for name, tensor in persons.state_dict().items()}
    load_state_dict(persons, coco.state_dict(), strict=False)
    predictors = {
        f'{layer}.{parameter}'
        for layer in ('bbox_head.conv_cls', 'basis_module.seg_head.2')
        for parameter in ('weight', 'bias')
    }
    for name, tensor in persons.state_dict().items():
        expected = before[name] if name in predictors else coco.state_dict()[name]
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize('name', ['550_R_50_dcni3_5x', 'DLA_34_syncbn_4x'])
def test_optimizer_groups(name):
    """Norms learn without decay, all else, biases included, has the base rate and decay."""
    cfg, model = build(name)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        name_of[id(parameter)]: (group['lr'] / 0.01, group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
        if parameter.requires_grad
    }
    norms = {
        f'{name}.{parameter}'
        for name, layer in model.named_modules()
        if isinstance(layer, (torch.nn.GroupNorm, torch.nn.modules.batchnorm._BatchNorm))
        for parameter in ('weight', 'bias')
    }
    for parameter, factors in found.items():
        expected = (1, 0) if parameter in norms else (1, 1e-4)
        assert factors == pytest.approx(expected), parameter
    trained = norms & set(found)
    assert any(parameter.startswith('basis_module') for parameter in trained)
    # the norms of ResNets are frozen, those of DLA learn
    of_backbone = {parameter for parameter in trained if parameter.startswith('backbone')}
    assert bool(of_backbone) is isinstance(model.backbone, DLA)
    assert 'bbox_head.top_layer.bias' in found
    offsets = any('.conv_offset.bias' in parameter for parameter in found)
    assert offsets is not isinstance(model.backbone, DLA)
