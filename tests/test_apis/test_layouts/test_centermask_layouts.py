"""Both families of CenterMask's files: every tensor under the name of mmdet's parts or ours."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmdet.models.necks import FPN
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, MaskIoUHead
from published_names import published_mobilenet_name, published_vovnet_name

from polarseg.apis.published import (
    LAYOUTS,
    LayoutError,
    backbone_tensors,
    convert_state_dict,
    detect_layout,
    load_exactly,
)
from polarseg.registry import MODELS

# backbone and channels of C3, C4, C5 by the end of a list's name
BACKBONES = {
    'r50': (dict(type='ResNet', depth=50, style='caffe'), [512, 1024, 2048]),
    'r101': (dict(type='ResNet', depth=101, style='caffe'), [512, 1024, 2048]),
    'x101': (dict(type='ResNeXt', depth=101, groups=32, base_width=8), [512, 1024, 2048]),
    'mv2': (dict(type='MobileNetV2'), [32, 96, 320]),
    'v19slim': (dict(type='VoVNet', arch='V-19-slim'), [256, 384, 512]),
    'v19slimdw': (dict(type='VoVNet', arch='V-19-slim-dw'), [256, 384, 512]),
    'v39': (dict(type='VoVNet', arch='V-39'), [512, 768, 1024]),
    'v57': (dict(type='VoVNet', arch='V-57'), [512, 768, 1024]),
    'v99': (dict(type='VoVNet', arch='V-99'), [512, 768, 1024]),
}
DCN = dict(dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(False, True, True, True))
DETECTOR = {
    'centermask': ('rpn.head.cls_logits.weight', 'roi_heads.mask.predictor.mask_fcn_logits.weight'),
    'centermask2': (
        'proposal_generator.fcos_head.cls_logits.weight',
        'roi_heads.mask_head.predictor.weight',
    ),
}
NAMES = dict(vovnet=published_vovnet_name, mobilenet=published_mobilenet_name)
BODY = {'centermask': 'backbone.body.', 'centermask2': 'backbone.bottom_up.'}
both = pytest.mark.parametrize('family', list(DETECTOR))


def pytest_generate_tests(metafunc):
    if 'layout_file' not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption('--golden-dir'))
    files = [
        file
        for pattern in ('layout_centermask*.json', 'centermask2_*.json', 'centermask_orig_*.json')
        for file in sorted(folder.glob(pattern))
        if file.stem.rsplit('_', 1)[-1] in BACKBONES
    ]
    if not files:
        reason = f'no lists of published tensors in {folder}'
        files = [pytest.param(None, marks=pytest.mark.skip(reason=reason), id='none')]
    ids = [getattr(file, 'stem', 'none') for file in files]
    metafunc.parametrize('layout_file', files, ids=ids)


# -- every published list of tensors ---------------------------------------------------------


def expected_shapes(kind, lite, mask_scoring):
    """Names and shapes of a whole detector, from the parts that it consists of."""
    backbone, channels = BACKBONES[kind]
    width, depth = (128, 2) if lite else (256, 4)
    parts = {
        'backbone': MODELS.build(backbone),
        'neck': FPN(channels, width, 5, add_extra_convs='on_output'),
        'roi_head.mask_head': FCNMaskHead(depth, in_channels=width, conv_out_channels=width),
    }
    if mask_scoring:
        parts['roi_head.mask_iou_head'] = MaskIoUHead(
            num_convs=depth, in_channels=width, conv_out_channels=width
        )
    shapes = {
        f'{part}.{name}': tuple(tensor.shape)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    shapes['roi_head.mask_head.attention.conv.weight'] = (1, 2, 3, 3)
    for tower in ('cls', 'reg'):
        for layer in range(depth):
            unit = f'bbox_head.{tower}_convs.{layer}'
            shapes[f'{unit}.conv.weight'] = (width, width, 3, 3)
            shapes |= {f'{unit}.{p}': (width,) for p in ('conv.bias', 'gn.weight', 'gn.bias')}
    for predictor, count in (('cls', 80), ('reg', 4), ('centerness', 1)):
        shapes[f'bbox_head.conv_{predictor}.weight'] = (count, width, 3, 3)
        shapes[f'bbox_head.conv_{predictor}.bias'] = (count,)
    shapes |= {f'bbox_head.scales.{level}.scale': () for level in range(5)}
    return shapes


def test_published_tensors_are_a_whole_detector(layout_file):
    content = json.loads(layout_file.read_text())
    with torch.device('meta'):
        published = {name: torch.empty(shape) for name, shape, _ in content['tensors']}
        converted, layout = convert_state_dict(dict(model=published))
        lite = 'lite' in layout_file.stem
        expected = expected_shapes(
            layout_file.stem.rsplit('_', 1)[-1], lite, any('maskiou' in name for name in published)
        )
    assert layout.name == ('centermask' if '_orig_' in layout_file.stem else 'centermask2')
    assert {name: tuple(tensor.shape) for name, tensor in converted.items()} == expected
    assert len({layout.rename(name) for name in published}) == len(published)


# -- backbones -------------------------------------------------------------------------------


def resnet_name(name, family):
    """Our name of a ResNet's tensor -> the published one."""
    if family == 'centermask':
        return re.sub(r'^(conv1|bn1)\.', r'stem.\1.', name)
    name = name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')
    name = re.sub(r'\bbn(\d)\.', r'conv\1.norm.', name)
    name = re.sub(r'^conv1\.', 'stem.conv1.', name)
    return re.sub(r'^layer(\d)', lambda m: f'res{int(m[1]) + 1}', name)


def detector_file(tensors, family):
    """A backbone's tensors with those by which the family is told."""
    return {BODY[family] + name: tensor for name, tensor in tensors.items()} | {
        name: torch.zeros(81, 4, 1, 1) for name in DETECTOR[family]
    }


@both
@pytest.mark.parametrize(
    ('kind', 'config'),
    [
        ('resnet', dict(type='ResNet', depth=50, base_channels=8)),
        ('vovnet', dict(type='VoVNet', arch='V-19-slim')),
        ('vovnet', dict(type='VoVNet', arch='V-19-slim', **DCN)),
        ('mobilenet', dict(type='MobileNetV2')),
    ],
    ids=['resnet', 'vovnet', 'deformable', 'mobilenet'],
)
def test_backbone(numbered, family, kind, config):
    network = MODELS.build(config)
    deformable = ('original' if family == 'centermask' else family) if 'dcn' in config else None

    def rename(name):
        if kind == 'resnet':
            return resnet_name(name, family)
        return NAMES[kind](name, deformable) if deformable else NAMES[kind](name)

    converted, layout = convert_state_dict(detector_file(numbered(network, rename), family))
    assert layout.name == family
    load_exactly(network, backbone_tensors(converted))
    for number, (name, tensor) in enumerate(network.state_dict().items(), start=1):
        assert (tensor == number).all(), name


def test_no_layout_changes_variances():
    """That the original's frozen norm has no epsilon stands in its configs: eps=0."""
    for layout in LAYOUTS:
        assert not any('running_var' in pattern for pattern, _ in layout.changes), layout.name


# -- heads -----------------------------------------------------------------------------------


def test_background_rows_are_dropped():
    published = {n: torch.zeros(2) for n in DETECTOR['centermask']}
    weight = torch.arange(81.0).view(81, 1, 1, 1)
    predictor = 'roi_heads.mask.predictor.mask_fcn_logits'
    published |= {
        f'{predictor}.weight': weight,
        f'{predictor}.bias': weight.flatten(),
        'roi_heads.maskiou.predictor.maskiou.weight': weight.view(81, 1),
        'roi_heads.maskiou.predictor.maskiou.bias': weight.flatten(),
        'rpn.head.cls_logits.bias': torch.arange(80.0),
    }
    converted, _ = convert_state_dict(published)
    for name in ('mask_head.conv_logits', 'mask_iou_head.fc_mask_iou'):
        for part in ('weight', 'bias'):
            values = converted[f'roi_head.{name}.{part}'].flatten()
            assert values.tolist() == list(range(1, 81)), name
    assert len(converted['bbox_head.conv_cls.bias']) == 80


@both
def test_scales_become_numbers(family):
    head = 'rpn.head' if family == 'centermask' else 'proposal_generator.fcos_head'
    published = {n: torch.zeros(2) for n in DETECTOR[family]}
    for level in range(5):
        published[f'{head}.scales.{level}.scale'] = torch.tensor([1.0 + level])
    converted, _ = convert_state_dict(published)
    scales = [converted[f'bbox_head.scales.{level}.scale'] for level in range(5)]
    assert [scale.item() for scale in scales] == [1, 2, 3, 4, 5]
    assert all(scale.shape == () for scale in scales)


@both
def test_wrong_shapes_are_named(family):
    published = {n: torch.zeros(2) for n in DETECTOR[family]}
    head = 'rpn.head' if family == 'centermask' else 'proposal_generator.fcos_head'
    name = f'{head}.scales.0.scale'
    with pytest.raises(LayoutError, match=rf'{name}: expected the one scale of a level.*\[3\]'):
        convert_state_dict(published | {name: torch.ones(3)})
    if family == 'centermask':
        bias = 'roi_heads.mask.predictor.mask_fcn_logits.bias'
        with pytest.raises(LayoutError, match=rf'{bias}: expected a row for the background'):
            convert_state_dict(published | {bias: torch.ones(1)})


@both
def test_what_has_no_place_keeps_its_name(family):
    """A strict loading then names it: a ReLU's place, the panoptic branch, another family's."""
    head = 'rpn.head' if family == 'centermask' else 'proposal_generator.fcos_head'
    tower = f'{head}.cls_tower.2.weight'
    others = ('sem_seg_head.p2.0.weight', 'sem_seg_head.predictor.bias', 'pixels.mean')
    published = {n: torch.zeros(2) for n in (*DETECTOR[family], *others, tower)}
    published['backbone.fpn_lateral2.weight'] = torch.zeros(2)
    converted, _ = convert_state_dict(published)
    assert {*others, 'bbox_head.cls_convs.2.weight'} <= converted.keys()
    assert 'backbone.fpn_lateral2.weight' in converted
    assert len(converted) == len(published)


def test_normalisation_in_older_files_is_left_out():
    published = {n: torch.zeros(2) for n in DETECTOR['centermask2']}
    published |= {'pixel_mean': torch.zeros(3, 1, 1), 'pixel_std': torch.ones(3, 1, 1)}
    converted, layout = convert_state_dict(dict(model=published, iteration=7))
    assert layout.name == 'centermask2'
    assert len(converted) == 2
    assert [name for name in published if layout.ignored(name)] == ['pixel_mean', 'pixel_std']


@both
def test_detectors_are_told_before_their_backbones(numbered, family):
    network = MODELS.build(dict(type='VoVNet', arch='V-19-slim'))
    published = detector_file(numbered(network, published_vovnet_name), family)
    assert detect_layout(published).name == family
    for name in DETECTOR[family]:
        del published[name]
    assert detect_layout(published).name == 'vovnet'
    with_module = {f'module.{name}': v for name, v in detector_file({}, family).items()}
    assert convert_state_dict(dict(model=with_module))[1].name == family


def test_backbone_of_a_detector():
    tensors = {'backbone.a': torch.ones(1), 'neck.backbone.a': torch.ones(2), 'x': torch.ones(3)}
    assert {name: len(v) for name, v in backbone_tensors(tensors).items()} == {'a': 1}
    with pytest.raises(LayoutError, match=r"no tensor of a backbone, but \['x'\]"):
        backbone_tensors({'x': torch.ones(1)})
