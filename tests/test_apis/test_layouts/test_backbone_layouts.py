"""Published backbones by themselves fill ours, whatever stands before their names."""

import pytest
import torch
from published_names import (
    published_mobilenet_name,
    published_vovnet_name,
    timm_name,
    torchvision_mobilenet_name,
)

from polarseg.apis.published import (
    LayoutError,
    convert_state_dict,
    detect_layout,
    load_exactly,
)
from polarseg.models import DLA, MobileNetV2, VoVNet

NAMES = dict(
    vovnet=published_vovnet_name,
    mobilenet=published_mobilenet_name,
    torchvision=torchvision_mobilenet_name,
    timm=timm_name,
    dla=lambda name: name,
)
DCN = dict(dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(False, True, True, True))


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.body.', 'module.backbone.bottom_up.'])
@pytest.mark.parametrize('arch', ['V-19-slim', 'V-19-slim-dw'])
def test_vovnet(numbered, assert_filled, prefix, arch):
    network = VoVNet(arch)
    published = numbered(network, lambda name: prefix + NAMES['vovnet'](name))
    converted, layout = convert_state_dict(published)
    assert layout.name == 'vovnet'
    load_exactly(network, converted)
    assert_filled(network)


@pytest.mark.parametrize('deformable', ['original', 'centermask2'])
def test_deformable_vovnet(numbered, assert_filled, deformable):
    network = VoVNet('V-19-slim', **DCN)
    published = numbered(network, lambda name: NAMES['vovnet'](name, deformable))
    offset = {'original': 'conv.offset.bias', 'centermask2': 'conv_offset.bias'}[deformable]
    assert f'stage3.OSA3_1.layers.0.OSA3_1_0/{offset}' in published
    converted, _ = convert_state_dict(published)
    load_exactly(network, converted)
    assert_filled(network)


def test_vovnet_with_several_blocks(numbered, assert_filled):
    network = VoVNet('V-99')
    published = numbered(network, NAMES['vovnet'])
    assert 'stage4.OSA4_9.layers.4.OSA4_9_4/conv.weight' in published
    converted, _ = convert_state_dict(published)
    load_exactly(network, converted)
    assert_filled(network)


@pytest.mark.parametrize(
    ('kind', 'layout'),
    [('mobilenet', 'mobilenet_v2'), ('torchvision', 'mobilenet_v2_torchvision')],
)
@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.body.'])
def test_mobilenet(numbered, assert_filled, kind, layout, prefix):
    network = MobileNetV2()
    published = numbered(network, lambda name: prefix + NAMES[kind](name))
    first, later = ('1.conv.3', '5.conv.7') if kind == 'mobilenet' else ('1.conv.1', '5.conv.3')
    assert published[f'{prefix}features.{first}.weight'].shape == (16, 32, 1, 1)
    assert published[f'{prefix}features.{later}.running_var'].shape == (32,)
    converted, chosen = convert_state_dict(published)
    assert chosen.name == layout
    load_exactly(network, converted)
    assert_filled(network)


@pytest.mark.parametrize('depth', [34, 60, 102])
@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.bottom_up.'])
def test_dla(numbered, assert_filled, prefix, depth):
    network = DLA(depth)
    published = numbered(network, lambda name: prefix + name)
    assert f'{prefix}level3.project.0.weight' in published
    converted, layout = convert_state_dict(published)
    assert layout.name == 'dla'
    load_exactly(network, converted)
    assert_filled(network)


@pytest.mark.parametrize('attention', ['attn', 'ese'])
@pytest.mark.parametrize('arch', ['V-19-slim', 'V-19-slim-dw', 'V-39'])
def test_timm(numbered, assert_filled, attention, arch):
    network = VoVNet(arch, attention_blocks='last')
    published = numbered(network, lambda name: NAMES['timm'](name, attention))
    expected = 'stem.1.conv_dw.weight' if arch.endswith('dw') else 'stem.1.conv.weight'
    assert {expected, f'stages.0.blocks.0.{attention}.fc.bias'} <= published.keys()
    published |= {'head.fc.weight': torch.ones(1000, 512), 'head.fc.bias': torch.ones(1000)}
    converted, layout = convert_state_dict(dict(state_dict=published))
    assert layout.name == ('timm_vovnet_dw' if arch.endswith('dw') else 'timm_vovnet')
    load_exactly(network, converted)
    assert_filled(network)


def test_timm_without_attention(numbered, assert_filled):
    network = VoVNet('V-39', attention=None, identity=False)
    converted, _ = convert_state_dict(numbered(network, NAMES['timm']))
    load_exactly(network, converted)
    assert_filled(network)


def test_timm_has_attention_in_the_last_block_alone(numbered):
    converted, layout = convert_state_dict(
        numbered(VoVNet('V-39', attention_blocks='last'), NAMES['timm'])
    )
    assert "attention_blocks='last'" in layout.hint
    with pytest.raises(LayoutError) as caught:
        load_exactly(VoVNet('V-39'), converted)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        f'missing: stage{stage}.0.attention.fc.{part}'
        for stage in (4, 5)
        for part in ('weight', 'bias')
    ]


@pytest.mark.parametrize(
    ('kind', 'network', 'extra'),
    [
        ('vovnet', VoVNet('V-19-slim'), ['classifier.weight', 'classifier.bias']),
        (
            'mobilenet',
            MobileNetV2(),
            ['features.18.0.weight', 'features.18.1.running_var', 'classifier.1.weight'],
        ),
        ('mobilenet', MobileNetV2(), ['conv.0.weight', 'conv.1.running_var', 'classifier.bias']),
        ('torchvision', MobileNetV2(), ['features.18.0.weight', 'classifier.1.bias']),
        ('dla', DLA(), ['fc.weight', 'fc.bias']),
    ],
)
def test_classifiers_are_left_out(numbered, kind, network, extra):
    published = numbered(network, NAMES[kind]) | {name: torch.ones(3) for name in extra}
    converted, layout = convert_state_dict(published)
    assert [name for name in published if layout.ignored(name)] == extra
    assert converted.keys() == network.state_dict().keys()
    with_prefix, _ = convert_state_dict({f'module.{n}': v for n, v in published.items()})
    assert with_prefix.keys() == converted.keys()


def test_counters_of_frozen_norms_are_filled_and_others_kept(numbered):
    network = VoVNet('V-19-slim')
    published = numbered(network, NAMES['vovnet'])
    kept = 'stage5.OSA5_1.concat.OSA5_1_concat/norm.num_batches_tracked'
    frozen = {n: v for n, v in published.items() if 'num_batches' not in n or n == kept}
    converted, _ = convert_state_dict(frozen)
    load_exactly(network, converted)
    counters = {n: v for n, v in network.state_dict().items() if 'num_batches' in n}
    assert len(counters) == 3 + 4 * 4
    ours = 'stage5.0.concat.bn.num_batches_tracked'
    assert counters.pop(ours) == published[kept].item() > 0
    assert not any(counters.values())


def test_statistics_are_not_changed(numbered):
    """They were trained with an epsilon of 1e-5, which only the original's detectors left out."""
    published = numbered(VoVNet('V-19-slim'), NAMES['vovnet'])
    name = 'stem.stem_1/norm.running_var'
    converted, _ = convert_state_dict(published)
    assert torch.equal(converted['stem.0.bn.running_var'], published[name])


@pytest.mark.parametrize(
    ('kind', 'published'),
    [
        ('vovnet', 'stage3.OSA2_1.layers.0.OSA3_1_0/conv.weight'),
        ('vovnet', 'stage3.OSA3_1.layers.0.OSA3_1_1/conv.weight'),
        ('mobilenet', 'features.2.conv.2.weight'),
        ('mobilenet', 'features.19.conv.0.weight'),
        ('mobilenet', 'features.1.conv.6.weight'),
        ('torchvision', 'features.2.conv.0.2.weight'),
        ('torchvision', 'features.2.conv.2.0.weight'),
        ('torchvision', 'features.1.conv.3.weight'),
    ],
)
def test_tensors_that_no_network_has_are_unexpected(numbered, kind, published):
    network = VoVNet('V-19-slim') if kind == 'vovnet' else MobileNetV2()
    tensors = numbered(network, NAMES[kind]) | {published: torch.ones(1)}
    layout = {'torchvision': 'mobilenet_v2_torchvision', 'mobilenet': 'mobilenet_v2'}
    converted, _ = convert_state_dict(tensors, layout.get(kind, 'vovnet'))
    with pytest.raises(LayoutError) as caught:
        load_exactly(network, converted)
    (line,) = str(caught.value).splitlines()[1:]
    assert line.strip().startswith('unexpected: ')


def test_marks_are_whole_names():
    with pytest.raises(LayoutError, match='no known layout fits'):
        detect_layout(['system.stem_1/conv.weight'])
    assert detect_layout(['body.stem.stem_1/conv.weight']).name == 'vovnet'
