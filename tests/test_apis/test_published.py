"""Published checkpoints become ours: every tensor under its name, the rays in their order."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from polarseg.apis.published import (
    LAYOUTS,
    Layout,
    LayoutError,
    convert_state_dict,
    detect_layout,
    load_exactly,
    unwrap_state_dict,
)
from polarseg.registry import MODELS
from polarseg.structures import decode_rays

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# by name where the list of tensors itself names another one of the same network
CONFIG_OF_LAYOUT = {
    'polarmask_r50': '4gpu/polar_768_1x_r50.py',
    'layout_polarmask_x101': '4gpu/polar_768_1x_x101.py',
    'layout_polarmask_r50_dcn': '32gpu/polar_768_1x_r50_dcn2.py',
}


def pytest_generate_tests(metafunc):
    if 'layout_file' not in metafunc.fixturenames:
        return
    folder = Path(metafunc.config.getoption('--golden-dir'))
    files = [*sorted(folder.glob('layout_polarmask*.json')), *folder.glob('polarmask_r50.json')]
    if not files:
        reason = f'no lists of published tensors in {folder}'
        files = [pytest.param(None, marks=pytest.mark.skip(reason=reason), id='none')]
    ids = [getattr(file, 'stem', 'none') for file in files]
    metafunc.parametrize('layout_file', files, ids=ids)


def published_name(name, deformable_towers=False, legacy=False):
    """The other way round: what a tensor of ours is called in a published file."""
    name = name.replace('.conv2.conv_offset.', '.conv2_offset.')
    if deformable_towers:
        tower = re.fullmatch(r'(bbox_head\.(?:cls|reg|mask)_convs)\.(\d+)\.(conv|gn)\.(.+)', name)
        if tower:
            entry = 3 * int(tower[2]) + ('conv', 'gn').index(tower[3])
            rest = tower[4].replace('conv_offset', 'conv_offset_mask')
            name = f'{tower[1]}.{entry}.{rest}'
    return name.replace('bbox_head.polar_', 'bbox_head.fcos_') if legacy else name


def has_deformable_towers(model):
    return 'bbox_head.cls_convs.0.conv.conv_offset.weight' in model.state_dict()


def build(config):
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)


def tiny_config(deformable=False):
    """R-50 of an eighth of the width, three classes."""
    config = Config.fromfile(CONFIGS / '_base_/models/polarmask_r50_fpn.py')
    config.merge_from_dict(
        {
            'model.backbone.base_channels': 8,
            'model.neck': dict(in_channels=[32, 64, 128, 256], out_channels=16),
            'model.bbox_head': dict(
                num_classes=3,
                in_channels=16,
                feat_channels=16,
                norm_cfg=dict(type='GN', num_groups=4),
            ),
        }
    )
    if deformable:
        dcn = Config.fromfile(CONFIGS / '_base_/models/polar_dcn.py').polar_dcn
        config.merge_from_dict({'model': dcn})
    return config


def randomised(model, seed=0):
    """A model none of whose tensors equals another, zero offsets and unit scales included."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        else:
            tensor.fill_(int(torch.randint(1, 10000, (), generator=generator)))
    return model


def to_legacy_rays(tensor):
    """current[j] = legacy[(j + 9) % 36], read from right to left."""
    legacy = torch.empty_like(tensor)
    for j in range(36):
        legacy[(j + 9) % 36] = tensor[j]
    return legacy


def to_published(model, legacy=False, roll=None):
    """The model's tensors as a file of that layout has them."""
    towers = has_deformable_towers(model)
    published = {}
    for name, tensor in model.state_dict().items():
        if name.startswith('bbox_head.polar_mask.') and (legacy if roll is None else roll):
            tensor = to_legacy_rays(tensor)
        published[published_name(name, towers, legacy)] = tensor.clone()
    return published


@pytest.fixture(scope='module')
def plain():
    return randomised(build(tiny_config()))


@pytest.fixture(scope='module')
def deformable():
    return randomised(build(tiny_config(deformable=True)))


def assert_same(converted, model):
    own = model.state_dict()
    assert converted.keys() == own.keys()
    different = [name for name in own if not torch.equal(own[name], converted[name])]
    assert not different


# -- every published list of tensors ---------------------------------------------------------


@pytest.fixture
def listed(layout_file):
    """(content, config) of a published list of tensors."""
    content = json.loads(layout_file.read_text())
    name = CONFIG_OF_LAYOUT.get(layout_file.stem)
    if name is None:
        found = re.search(r'configs/polarmask/(\S+\.py)', content['source'])
        assert found, f'{layout_file.name} names no config in its source {content["source"]!r}'
        name = found[1]
    return content, Config.fromfile(CONFIGS / 'polarmask' / name)


def test_published_tensors_fill_the_config_exactly(listed):
    content, config = listed
    # numbered, so that a tensor under the wrong name of the same shape is seen
    numbered = {
        name: torch.tensor(float(number) if dtype.startswith('float') else number).expand(shape)
        for number, (name, shape, dtype) in enumerate(content['tensors'], start=1)
    }
    converted, layout = convert_state_dict(dict(state_dict=numbered, meta={}))
    assert layout.name == 'polarmask'
    model = build(config)
    load_exactly(model, converted)
    own = model.state_dict()
    towers = has_deformable_towers(model)
    names = {name: published_name(name, towers) for name in own}
    assert sorted(names.values()) == sorted(numbered)
    for name, published in names.items():
        assert (own[name] == numbered[published].flatten()[0]).all(), (name, published)


# -- our own tensors there and back ----------------------------------------------------------


def test_current_layout(plain):
    published = to_published(plain)
    assert 'bbox_head.cls_convs.3.gn.weight' in published
    converted, layout = convert_state_dict(published)
    assert layout.name == 'polarmask'
    assert_same(converted, plain)


def test_deformable_layout(deformable):
    published = to_published(deformable)
    names = [name for name in published if name.startswith('bbox_head.mask_convs.')]
    entries = {int(name.split('.')[2]) for name in names}
    assert entries == {0, 3, 6, 9, 1, 4, 7, 10}
    assert 'bbox_head.mask_convs.9.conv_offset_mask.weight' in published
    assert 'backbone.layer3.2.conv2_offset.bias' in published
    assert not any('conv_offset.' in name for name in published)
    converted, layout = convert_state_dict(published)
    assert layout.name == 'polarmask'
    assert_same(converted, deformable)
    fresh = build(tiny_config(deformable=True))
    load_exactly(fresh, converted)
    assert_same(deformable.state_dict(), fresh)


@pytest.mark.parametrize('kind', ['plain', 'deformable'])
def test_legacy_layout(kind, request):
    model = request.getfixturevalue(kind)
    published = to_published(model, legacy=True)
    assert {'bbox_head.fcos_mask.weight', 'bbox_head.fcos_centerness.bias'} <= published.keys()
    converted, layout = convert_state_dict(published)
    assert layout.name == 'polarmask-legacy'
    assert_same(converted, model)
    weight, bias = (converted[f'bbox_head.polar_mask.{part}'] for part in ('weight', 'bias'))
    for j in range(36):
        assert torch.equal(weight[j], published['bbox_head.fcos_mask.weight'][(j + 9) % 36])
        assert torch.equal(bias[j], published['bbox_head.fcos_mask.bias'][(j + 9) % 36])


def test_rolled_rays_draw_the_legacy_polygon():
    generator = torch.Generator().manual_seed(0)
    legacy = torch.rand(5, 36, generator=generator) * 50 + 1
    points = torch.rand(5, 2, generator=generator) * 100
    angles = torch.arange(36) / 36 * 2 * math.pi
    drawn = torch.stack(
        [points[:, :1] - legacy * angles.cos(), points[:, 1:] + legacy * angles.sin()], dim=-1
    )
    published = {'bbox_head.fcos_mask.bias': legacy.T, 'bbox_head.fcos_mask.weight': legacy.T}
    converted, _ = convert_state_dict(published)
    ours = decode_rays(points, converted['bbox_head.polar_mask.bias'].T)
    # the same corners; ours start at the ray that points down
    torch.testing.assert_close(ours, drawn.roll(-9, dims=1), rtol=0, atol=1e-4)
    unrolled = decode_rays(points, legacy)
    assert (unrolled - drawn.roll(-9, dims=1)).abs().max() > 1


def test_layout_by_hand_leaves_the_rays(plain):
    published = to_published(plain, legacy=True, roll=False)
    converted, layout = convert_state_dict(published, 'polarmask-legacy-names')
    assert layout.name == 'polarmask-legacy-names'
    assert_same(converted, plain)
    rolled, _ = convert_state_dict(published)
    assert not torch.equal(rolled['bbox_head.polar_mask.weight'], plain.bbox_head.polar_mask.weight)


def test_layouts_are_told_apart_and_carry_a_licence_note():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert detect_layout(['x', 'bbox_head.polar_mask.weight']).name == 'polarmask'
    assert detect_layout(['bbox_head.fcos_mask.weight']).name == 'polarmask-legacy'
    assert all(layout.licence for layout in LAYOUTS)
    detectors = [layout for layout in LAYOUTS if not layout.backbone_only]
    assert all('non-commercial' in layout.licence for layout in detectors)


# -- wrappers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'wrap',
    [
        lambda tensors: tensors,
        lambda tensors: dict(state_dict=tensors),
        lambda tensors: dict(model=tensors, iteration=7),
        lambda tensors: dict(
            state_dict=tensors,
            meta=dict(epoch=12, CLASSES=('a',)),
            optimizer=dict(state={0: dict(momentum_buffer=torch.ones(2))}, param_groups=[]),
        ),
        lambda tensors: dict(state_dict=dict(model=tensors)),
        lambda tensors: {f'module.{name}': tensor for name, tensor in tensors.items()},
        lambda tensors: dict(model={f'module.{name}': t for name, t in tensors.items()}),
        lambda tensors: dict(tensors, epoch=12, lr=0.01),
    ],
    ids=['bare', 'state_dict', 'model', 'training', 'nested', 'module', 'model_module', 'numbers'],
)
def test_wrappers_are_taken_off(plain, wrap):
    converted, _ = convert_state_dict(wrap(to_published(plain)))
    assert_same(converted, plain)


def test_module_prefix_stays_where_not_every_tensor_has_it():
    tensors = {'module.a': torch.ones(1), 'b': torch.ones(1)}
    assert unwrap_state_dict(tensors).keys() == tensors.keys()


# -- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize('checkpoint', [{}, {'meta': {}, 'epoch': 3}, {'state_dict': {}, 1: 'x'}])
def test_no_tensors(checkpoint):
    with pytest.raises(LayoutError, match='holds no tensors'):
        convert_state_dict(checkpoint)


@pytest.mark.parametrize('wrap', [lambda arrays: arrays, lambda arrays: dict(model=arrays)])
def test_arrays_count_as_tensors(plain, wrap):
    arrays = {f'module.{name}': value.numpy() for name, value in to_published(plain).items()}
    arrays['module.backbone.bn1.weight'] = arrays['module.backbone.bn1.weight'].astype('>f4')
    arrays['module.note'] = np.array('what is no number is left out')
    converted, _ = convert_state_dict(wrap(arrays))
    assert_same(converted, plain)
    # they are the converter's own
    converted['backbone.conv1.weight'].zero_()
    assert arrays['module.backbone.conv1.weight'].any()


def test_no_layout_fits(plain):
    others = {'head.weight': torch.ones(2), 'bbox_head.fcos_cls.weight': torch.ones(2)}
    with pytest.raises(LayoutError, match=r'no known layout fits.*polar_mask.*2 tensors.*fcos_cls'):
        convert_state_dict(others)


def test_unknown_layout_name(plain):
    with pytest.raises(LayoutError, match=r"'nonsense'.*'polarmask-legacy'"):
        convert_state_dict(to_published(plain), 'nonsense')


def test_layout_of_another_file_by_hand(plain):
    # nothing to rename and nothing to roll: the strict loading must notice the fcos_* names
    converted, _ = convert_state_dict(to_published(plain, legacy=True), 'polarmask')
    with pytest.raises(LayoutError, match=r'missing: bbox_head\.polar_mask\.weight'):
        load_exactly(plain, converted)


def test_every_tensor_that_does_not_fit_is_named(plain):
    model = build(tiny_config())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    converted, _ = convert_state_dict(to_published(plain))
    del converted['neck.lateral_convs.1.conv.bias'], converted['backbone.bn1.running_var']
    converted['bbox_head.extra'] = converted['backbone.more'] = torch.ones(3)
    converted['bbox_head.polar_cls.bias'] = torch.ones(80)
    converted['backbone.conv1.weight'] = torch.ones(8, 3, 3, 3)
    with pytest.raises(LayoutError) as caught:
        load_exactly(model, converted)
    lines = str(caught.value).splitlines()[1:]
    assert sorted(line.strip() for line in lines) == [
        'missing: backbone.bn1.running_var',
        'missing: neck.lateral_convs.1.conv.bias',
        'shape of backbone.conv1.weight: [8, 3, 3, 3] in the file, [8, 3, 7, 7] in the model',
        'shape of bbox_head.polar_cls.bias: [80] in the file, [3] in the model',
        'unexpected: backbone.more',
        'unexpected: bbox_head.extra',
    ]
    assert_same(before, model)  # nothing was loaded half


def test_parts_without_any_tensor_are_counted(plain):
    converted, _ = convert_state_dict(to_published(plain))
    neck = [name for name in converted if name.startswith('neck.')]
    only = {name: tensor for name, tensor in converted.items() if name not in neck}
    with pytest.raises(LayoutError) as caught:
        load_exactly(plain, only)
    first, *lines = str(caught.value).splitlines()
    assert first == (
        'the file does not fit the model. It has nothing of these parts of the model (number of '
        f'tensors): neck ({len(neck)}); one by one:'
    )
    assert [line.strip() for line in lines] == [f'missing: {name}' for name in neck]


def test_two_tensors_of_one_name(deformable):
    published = to_published(deformable)
    weight = published['backbone.layer2.0.conv2_offset.weight']
    published['backbone.layer2.0.conv2.conv_offset.weight'] = weight
    with pytest.raises(LayoutError, match=r"two .*'backbone\.layer2\.0\.conv2\.conv_offset"):
        convert_state_dict(published)
    both = dict(to_published(deformable, legacy=True))
    both['bbox_head.polar_cls.bias'] = both['bbox_head.fcos_cls.bias']
    with pytest.raises(LayoutError, match=r"two .*'bbox_head\.polar_cls\.bias'"):
        convert_state_dict(both)


def test_tensor_at_the_place_of_a_relu_is_unexpected(deformable):
    published = to_published(deformable)
    published['bbox_head.cls_convs.2.weight'] = torch.ones(16)
    converted, _ = convert_state_dict(published)
    with pytest.raises(LayoutError, match=r'unexpected: bbox_head\.cls_convs\.2\.weight$'):
        load_exactly(deformable, converted)


@pytest.mark.parametrize('shape', [(18, 4, 3, 3), ()], ids=['18_rays', 'number'])
def test_rays_that_have_no_quarter(shape):
    with pytest.raises(LayoutError, match=r'bbox_head\.fcos_mask\.weight: .*quarter'):
        convert_state_dict({'bbox_head.fcos_mask.weight': torch.ones(shape)})


def test_renames_are_applied_one_after_the_other():
    layout = Layout('x', ('a',), renames=((r'^a', 'b'), (r'b$', 'c')))
    assert layout.rename('a') == 'c'
    assert layout.rename('ab') == 'bc'
