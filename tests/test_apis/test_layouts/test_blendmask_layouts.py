"""BlendMask's files, and FCOS by itself: names, what tells them apart, what a model lacks."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from published_names import detectron2_resnet_name, published_blendmask_name
from torch import nn

from polarseg.apis.published import (
    LayoutError,
    backbone_tensors,
    convert_state_dict,
    detect_layout,
    load_exactly,
)
from polarseg.registry import MODELS

ROOT = Path(__file__).resolve().parents[3]
HEAD = 'proposal_generator.fcos_head'
MARKS = (f'{HEAD}.cls_logits.weight', 'top_layer.weight', 'basis_module.refine.0.0.weight')
PANOPTIC = (*MARKS, 'panoptic_module.predictor.weight')


def pytest_generate_tests(metafunc):
    if 'layout_file' not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption('--golden-dir'))
    files = [
        file
        for pattern in ('layout_blendmask*.json', 'blendmask_*.json')
        for file in sorted(folder.glob(pattern))
        if 'units' not in file.stem
    ]
    if not files:
        reason = f'no lists of published tensors in {folder}'
        files = [pytest.param(None, marks=pytest.mark.skip(reason=reason), id='none')]
    metafunc.parametrize(
        'layout_file', files, ids=[getattr(file, 'stem', 'none') for file in files]
    )


def marked(tensors=(), marks=MARKS):
    """A file of the family with some more tensors."""
    return {name: torch.zeros(2) for name in marks} | dict(tensors)


def listed_tensors(file):
    """The file's tensors, each filled with a number of its own."""
    content = json.loads(file.read_text())['tensors']
    return {
        name: torch.tensor(float(number)).expand(shape)
        for number, (name, shape, _) in enumerate(content, start=1)
    }


def model_of(shapes):
    """A model that is nothing but parameters of these names and shapes."""
    model = nn.Module()
    for name, shape in shapes.items():
        *path, last = name.split('.')
        module = model
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_buffer(last, torch.empty(shape, device='meta'))
    return model


# -- every published list of tensors ---------------------------------------------------------


def test_every_tensor_gets_the_one_name_that_leads_back(layout_file):
    published = listed_tensors(layout_file)
    converted, layout = convert_state_dict(dict(model=published, iteration=7))
    panoptic = 'panoptic' in layout_file.stem
    assert layout.name == ('blendmask_panoptic' if panoptic else 'blendmask')
    assert {name.split('.')[0] for name in converted} == {
        'backbone', 'neck', 'bbox_head', 'basis_module', *(['sem_seg_head'] if panoptic else [])
    }  # fmt: skip
    given = [name for name in converted if not name.endswith('num_batches_tracked')]
    assert len(given) == len([name for name in published if 'num_batches' not in name])
    for name in given:
        source = published[published_blendmask_name(name, first_level=2 if panoptic else 3)]
        assert converted[name].shape == source.shape
        assert (converted[name] == source).all(), name


def test_counters_are_kept_or_filled(layout_file):
    published = listed_tensors(layout_file)
    converted, _ = convert_state_dict(published)
    norms = {name.rsplit('.', 1)[0] for name in converted if name.endswith('.running_var')}
    counters = {n: v for n, v in converted.items() if n.endswith('num_batches_tracked')}
    assert {name.rsplit('.', 1)[0] for name in counters} == norms
    kept = [name for name, value in counters.items() if value]
    assert len(kept) == len([name for name in published if 'num_batches' in name]) > 0


# -- parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'options',
    [
        dict(type='ResNet', depth=50, base_channels=8),
        dict(
            type='ResNet',
            depth=101,
            base_channels=8,
            dcn=dict(type='DCNv2', deform_groups=1),
            stage_with_dcn=(False, True, True, True),
            dcn_interval=3,
        ),
        dict(type='DLA', depth=34),
        dict(type='DLA', depth=60),
    ],
    ids=['resnet', 'dcni3', 'dla34', 'dla60'],
)
def test_backbone(numbered, assert_filled, options):
    network = MODELS.build(options)
    rename = detectron2_resnet_name if options['type'] == 'ResNet' else lambda name: name
    published = numbered(network, lambda name: f'backbone.bottom_up.{rename(name)}')
    converted, layout = convert_state_dict(marked(published))
    assert layout.name == 'blendmask'
    load_exactly(network, backbone_tensors(converted))
    assert_filled(network)


@pytest.mark.parametrize('name', ['ctrness', 'centerness'])
def test_both_names_of_the_centreness(name):
    bias = torch.ones(1)
    converted, _ = convert_state_dict(marked({f'{HEAD}.{name}.bias': bias}))
    assert converted['bbox_head.conv_centerness.bias'] is bias
    both = {f'{HEAD}.{name}.bias': bias for name in ('ctrness', 'centerness')}
    with pytest.raises(LayoutError, match='two tensors of the file would become'):
        convert_state_dict(marked(both))


def test_scales_and_normalisation():
    more = {f'{HEAD}.scales.1.scale': torch.tensor([3.0]), 'pixel_mean': torch.zeros(3, 1, 1)}
    converted, _ = convert_state_dict(marked(more))
    assert converted['bbox_head.scales.1.scale'].shape == ()
    assert len(converted) == len(MARKS) + 1


@pytest.mark.parametrize(
    ('published', 'shown'),
    [
        ('basis_module.seg_head.2.weight', 'basis_module.seg_head.entry2.weight'),
        ('basis_module.seg_head.7.weight', 'basis_module.seg_head.entry7.weight'),
        ('basis_module.tower.4.2.weight', 'basis_module.tower.4.2.weight'),
        ('backbone.bottom_up.res6.0.conv1.weight', 'backbone.res6.0.conv1.weight'),
        ('panoptic_module.p3.1.weight', 'sem_seg_head.p3.1.weight'),
        (f'{HEAD}.share_tower.2.weight', 'bbox_head.share_convs.2.weight'),
        (f'{HEAD}.share_tower.5.0.weight', 'bbox_head.share_convs.5.0.weight'),
        (f'{HEAD}.bbox_tower.0.offset.weight', 'bbox_head.reg_convs.0.offset.weight'),
    ],
)
def test_what_has_no_place_gets_a_name_that_no_model_has(published, shown):
    converted, _ = convert_state_dict(marked({published: torch.ones(1)}, PANOPTIC))
    assert [name for name, tensor in converted.items() if len(tensor) == 1] == [shown]


@pytest.mark.parametrize(
    'wrap',
    [
        lambda tensors: tensors,
        lambda tensors: dict(model=tensors, optimizer=dict(state={}), scheduler={}, iteration=9),
        lambda tensors: {f'module.{name}': tensor for name, tensor in tensors.items()},
        lambda tensors: dict(model={name: tensor.numpy() for name, tensor in tensors.items()}),
    ],
    ids=['bare', 'training', 'module', 'numpy'],
)
def test_wrappers(wrap):
    tensors = marked({'basis_module.tower.4.1.running_var': torch.ones(3)})
    converted, layout = convert_state_dict(wrap(tensors))
    assert layout.name == 'blendmask'
    assert converted.keys() == {
        'bbox_head.conv_cls.weight',
        'bbox_head.top_layer.weight',
        'basis_module.refine.0.conv.weight',
        'basis_module.tower.4.bn.running_var',
        'basis_module.tower.4.bn.num_batches_tracked',
    }


# -- which layout, and what a model lacks ----------------------------------------------------


def test_layouts_are_told_apart():
    dla = {f'backbone.bottom_up.{n}.weight' for n in ('base_layer.0', 'level2.root.conv')}
    assert detect_layout({*MARKS, *dla}).name == 'blendmask'
    assert detect_layout(PANOPTIC).name == 'blendmask_panoptic'
    assert detect_layout(dla).name == 'dla'
    fcos = {MARKS[0], f'{HEAD}.bbox_pred.weight'}
    assert detect_layout(fcos | dla).name == 'fcos_detectron2'
    assert detect_layout({*MARKS, *fcos}).name == 'blendmask'
    assert detect_layout({*fcos, 'roi_heads.mask_head.predictor.weight'}).name == 'centermask2'


@pytest.fixture
def lists(request):
    """The tensors of an instance file and of a panoptic one of the same network."""
    folder = Path(request.config.getoption('--golden-dir'))
    files = [folder / f'{name}.json' for name in ('blendmask_r50', 'blendmask_panoptic_r50')]
    if not all(file.is_file() for file in files):
        pytest.skip(f'no lists of published tensors in {folder}')
    return [listed_tensors(file) for file in files]


def lines_of(error):
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def test_a_panoptic_model_is_told_what_an_instance_file_lacks(lists):
    instances, panoptic = lists
    whole, _ = convert_state_dict(panoptic)
    model = model_of({name: tensor.shape for name, tensor in whole.items()})
    converted, layout = convert_state_dict(instances, model=model)
    assert layout.name == 'blendmask_panoptic'
    with pytest.raises(LayoutError) as caught:
        load_exactly(model, converted)
    assert 'nothing of these parts of the model (number of tensors): sem_seg_head (23)' in str(
        caught.value
    )
    lateral, output = 'neck.lateral_convs.0.conv', 'neck.fpn_convs.0.conv'
    missing = [f'{conv}.{part}' for conv in (lateral, output) for part in ('weight', 'bias')]
    missing += [name for name in whole if name.startswith('sem_seg_head.')]
    assert sorted(lines_of(caught)) == sorted(f'missing: {name}' for name in missing)
    # without a model the file's own marks decide
    assert convert_state_dict(instances)[1].name == 'blendmask'
    assert convert_state_dict(instances, 'blendmask', model=model)[1].name == 'blendmask'


def test_an_instance_model_is_told_what_a_panoptic_file_has_beside(lists):
    instances, panoptic = lists
    whole, _ = convert_state_dict(instances)
    model = model_of({name: tensor.shape for name, tensor in whole.items()})
    converted, layout = convert_state_dict(panoptic, model=model)
    assert layout.name == 'blendmask'
    with pytest.raises(LayoutError) as caught:
        load_exactly(model, converted)
    beside = ('backbone.fpn_lateral2', 'backbone.fpn_output2', 'panoptic_module')
    expected = [f'unexpected: {name}' for name in panoptic if name.startswith(beside)]
    assert len(expected) == 4 + 23
    assert sorted(lines_of(caught)) == sorted(expected)


# -- FCOS by itself --------------------------------------------------------------------------


def original_fcos_name(name):
    """Our name of a tensor -> that of the original FCOS, by way of detectron2's."""
    if name.startswith('backbone.'):
        stem = 'stem.' if name.startswith(('backbone.conv1.', 'backbone.bn1.')) else ''
        return name.replace('backbone.', f'backbone.body.{stem}')
    name = published_blendmask_name(name).replace(HEAD, 'rpn.head').replace('ctrness', 'centerness')
    for number in (3, 4, 5):
        name = name.replace(f'backbone.fpn_lateral{number}', f'backbone.fpn.fpn_inner{number - 1}')
        name = name.replace(f'backbone.fpn_output{number}', f'backbone.fpn.fpn_layer{number - 1}')
    return name.replace('backbone.top_block.', 'backbone.fpn.top_blocks.')


@pytest.mark.parametrize(
    ('rename', 'prefix', 'layout'),
    [
        (original_fcos_name, 'module.', 'fcos'),
        (published_blendmask_name, '', 'fcos_detectron2'),
    ],
)
def test_fcos_fills_mmdets_detector(numbered, assert_filled, rename, prefix, layout):
    config = Config.fromfile(ROOT / 'configs/baselines/fcos_r50-caffe_fpn_gn-head_1x_coco.py').model
    config.backbone.update(init_cfg=None, base_channels=8)
    config.neck.update(in_channels=[32, 64, 128, 256], out_channels=32)
    config.bbox_head.update(in_channels=32, feat_channels=32, num_classes=3)
    model = MODELS.build(config)
    published = numbered(model, lambda name: prefix + rename(name))
    if layout == 'fcos':
        for name in ('backbone.fpn.fpn_inner4.bias', 'backbone.body.layer4.0.downsample.1.weight'):
            assert prefix + name in published
        assert 'module.rpn.head.bbox_tower.10.weight' in published
    scales = {name: v.reshape(1) for name, v in published.items() if name.endswith('.scale')}
    assert len(scales) == 5
    converted, chosen = convert_state_dict(published | scales)
    assert chosen.name == layout
    load_exactly(model, converted)
    assert_filled(model)
