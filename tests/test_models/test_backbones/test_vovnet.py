"""Sizes, parameters and switches of VoVNet."""

import subprocess
import sys

import pytest
import torch
from mmdet.models.layers import SELayer
from torch import nn

from polarseg.models.backbones import OSABlock
from polarseg.models.layers import ModulatedDeformConv2dPack
from polarseg.registry import MODELS

# arch: millions of parameters without and with a classifier of 1000, channels of stages 2 to 5
ARCHS = {
    'V-19-slim-dw': (1.38, 1.90, (112, 256, 384, 512)),
    'V-19-dw': (5.52, 6.54, (256, 512, 768, 1024)),
    'V-19-slim': (2.65, 3.17, (112, 256, 384, 512)),
    'V-19': (10.18, 11.21, (256, 512, 768, 1024)),
    'V-39': (25.18, 26.21, (256, 512, 768, 1024)),
    'V-57': (41.45, 42.48, (256, 512, 768, 1024)),
    'V-99': (69.52, 70.55, (256, 512, 768, 1024)),
}
ALL = (0, 1, 2, 3)
DCN = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
STAGES = (False, True, True, True)
BN = dict(type='BN')
every_arch = pytest.mark.parametrize('arch', list(ARCHS))


def build(arch='V-19-slim', **options):
    return MODELS.build(dict(type='VoVNet', arch=arch) | options)


def on_meta(arch='V-19-slim', **options):
    with torch.device('meta'):
        return build(arch, **options)


def sizes(outputs):
    return [tuple(output.shape[1:]) for output in outputs]


def randomised(network, seed=0):
    """Other statistics and gates than those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith('running_var'):
            tensor.copy_(1 + torch.rand(tensor.shape, generator=generator))
        elif name.endswith(('bias', 'running_mean')):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network


@pytest.fixture
def picture():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


# -- the table of networks -------------------------------------------------------------------


@every_arch
def test_number_of_parameters(arch):
    network = on_meta(arch)
    count = sum(parameter.numel() for parameter in network.parameters())
    body, whole, channels = ARCHS[arch]
    assert round(count / 1e6, 2) == body
    assert round((count + (channels[-1] + 1) * 1000) / 1e6, 2) == whole


@every_arch
def test_channels_and_strides(arch):
    channels = ARCHS[arch][2]
    outputs = on_meta(arch, out_indices=ALL)(torch.empty(2, 3, 64, 96, device='meta'))
    assert sizes(outputs) == [(c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32))]


@every_arch
def test_blocks(arch):
    blocks = {'V-39': (1, 1, 2, 2), 'V-57': (1, 1, 4, 3), 'V-99': (1, 3, 9, 3)}
    network = on_meta(arch)
    stages = [network.stage2, network.stage3, network.stage4, network.stage5]
    assert tuple(len(stage) for stage in stages) == blocks.get(arch, (1, 1, 1, 1))
    depthwise = arch.endswith('dw')
    for block in (block for stage in stages for block in stage):
        assert len(block.layers) == (3 if 'V-19' in arch else 5)
        assert hasattr(block.layers[0], 'depthwise_conv') == depthwise
    # depthwise layers need their width at once; stage 2 of the slim one has it
    reduced = [stage[0].reduction is not None for stage in stages]
    assert reduced == [depthwise and 'slim' not in arch, depthwise, depthwise, depthwise]
    for stage in stages:
        assert [block.identity for block in stage] == [False] + [True] * (len(stage) - 1)


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((70, 99), [(18, 25), (9, 12), (4, 6), (2, 3)]),
        ((61, 65), [(16, 17), (8, 8), (4, 4), (2, 2)]),
        ((32, 32), [(8, 8), (4, 4), (2, 2), (1, 1)]),
    ],
)
def test_sizes_that_are_no_multiples(size, expected):
    outputs = on_meta(out_indices=ALL).train()(torch.empty(1, 3, *size, device='meta'))
    assert [tuple(output.shape[-2:]) for output in outputs] == expected


def test_pools_reach_over_the_border(picture):
    network = build()
    x = torch.arange(36.0).view(1, 1, 6, 6)
    # no padding, but a last window that begins inside
    assert network.pool(x).flatten().tolist() == [14, 16, 17, 26, 28, 29, 32, 34, 35]


@pytest.mark.parametrize('chosen', [(0,), (1, 3), (3,), (2, 0)])
def test_out_indices(picture, chosen):
    network = build(out_indices=chosen)
    expected = [(112, 16, 16), (256, 8, 8), (384, 4, 4), (512, 2, 2)]
    outputs = network(picture)
    assert sizes(outputs) == [expected[stage] for stage in sorted(chosen)]
    assert hasattr(network, f'stage{max(chosen) + 2}')
    assert not hasattr(network, f'stage{max(chosen) + 3}')
    sum(output.sum() for output in outputs).backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


def test_a_batch_gives_what_each_picture_gives(picture):
    network = build().eval()
    with torch.no_grad():
        both = network(picture)
        for number in range(2):
            alone = network(picture[number : number + 1])
            for expected, found in zip(alone, both):
                torch.testing.assert_close(found[number], expected[0])
    assert sizes(network(picture[:0])) == [(256, 8, 8), (384, 4, 4), (512, 2, 2)]


# -- freezing and norms ----------------------------------------------------------------------


def frozen_parts(network):
    parts = dict(network.named_children())
    return {
        name
        for name, part in parts.items()
        if [*part.parameters()] and not any(p.requires_grad for p in part.parameters())
    }


@pytest.mark.parametrize(
    ('frozen_stages', 'expected'),
    [
        (-1, set()),
        (0, {'stem'}),
        (2, {'stem', 'stage2', 'stage3'}),
        (4, {'stem', 'stage2', 'stage3', 'stage4', 'stage5'}),
    ],
)
def test_frozen_stages_stay_frozen(picture, frozen_stages, expected):
    network = build(frozen_stages=frozen_stages, norm_cfg=BN, norm_eval=False)
    assert frozen_parts(network) == expected  # before train(), when the optimiser is built
    network.train()
    assert frozen_parts(network) == expected
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    outputs = network(picture)
    if frozen_stages < 4:
        sum(output.square().mean() for output in outputs).backward()
        torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1).step()
    changed = {
        name.split('.')[0]
        for name, tensor in network.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {'stem', 'stage2', 'stage3', 'stage4', 'stage5'} - expected


@pytest.mark.parametrize('norm_eval', [True, False])
def test_norm_eval(picture, norm_eval):
    network = build(norm_cfg=BN, norm_eval=norm_eval).train()
    norm = network.stage3[0].concat.bn
    before = norm.running_mean.clone()
    network(picture)
    assert torch.equal(norm.running_mean, before) == norm_eval
    assert norm.training != norm_eval
    assert network.training
    assert network.stage3.training
    assert not network.eval().stage3[0].training


def test_norms_are_frozen_by_default_and_convolutions_train():
    network = build().train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 3 + 4 * 4
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert not any(norm.training for norm in norms)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert all(p.requires_grad for conv in convolutions for p in conv.parameters())


def test_other_norms(picture):
    network = build(norm_cfg=dict(type='GN', num_groups=16), frozen_stages=1).train()
    assert isinstance(network.stage4[0].layers[0].gn, nn.GroupNorm)
    sum(output.sum() for output in network(picture)).backward()
    assert network.stage4[0].layers[0].gn.weight.grad.any()


# -- attention and identity ------------------------------------------------------------------


def test_kinds_of_attention(picture):
    networks = {kind: randomised(build(attention=kind)) for kind in ('eSE', 'SE', None)}
    ese, se, none = networks['eSE'], networks['SE'], networks[None]
    assert sizes(ese(picture)) == sizes(se(picture)) == sizes(none(picture))
    assert none.stage5[0].attention is None
    assert isinstance(se.stage5[0].attention, SELayer)
    extra = [
        {n: tuple(v.shape) for n, v in net.state_dict().items() if n.startswith('stage5.0.att')}
        for net in (ese, se, none)
    ]
    assert extra[0] == {
        'stage5.0.attention.fc.weight': (512, 512, 1, 1),
        'stage5.0.attention.fc.bias': (512,),
    }
    assert sorted(extra[1].values()) == [(128,), (128, 512, 1, 1), (512,), (512, 128, 1, 1)]
    assert extra[2] == {}
    common = none.state_dict()
    ese.load_state_dict(common, strict=False)
    assert not torch.allclose(ese(picture)[-1], none(picture)[-1])


@pytest.mark.parametrize('kind', ['eSE', 'SE'])
def test_attention_is_a_gate_of_the_mean(kind):
    attention = OSABlock(8, 4, 8, 1, attention=kind).attention
    x = torch.randn(2, 8, 5, 7)
    means = x.mean(dim=(2, 3))
    if kind == 'eSE':
        weight, bias = attention.fc.weight.view(8, 8), attention.fc.bias
        gate = means @ weight.T + bias
    else:
        first, second = attention.conv1.conv, attention.conv2.conv
        hidden = (means @ first.weight.view(2, 8).T + first.bias).relu()
        gate = hidden @ second.weight.view(8, 2).T + second.bias
    gate = nn.functional.relu6(gate + 3) / 6
    torch.testing.assert_close(attention(x), x * gate[:, :, None, None])


def test_attention_in_the_last_block_of_a_stage_alone():
    network = on_meta('V-57', attention_blocks='last')
    with_attention = {
        name.rsplit('.attention', 1)[0] for name in network.state_dict() if '.attention.' in name
    }
    assert with_attention == {'stage2.0', 'stage3.0', 'stage4.3', 'stage5.2'}


def test_identity(picture):
    networks = [randomised(build('V-39', identity=identity)) for identity in (True, False)]
    networks[1].load_state_dict(networks[0].state_dict())
    with torch.no_grad():
        outputs = [network(picture) for network in networks]
    # stage 3 has one block, which never adds its input
    torch.testing.assert_close(outputs[0][0], outputs[1][0])
    assert not torch.allclose(outputs[0][1], outputs[1][1])
    block, without = (network.stage4[1] for network in networks)
    x = torch.randn(1, 768, 6, 5)
    torch.testing.assert_close(block(x), without(x) + x)


def test_v1_is_neither():
    network = on_meta('V-39', attention=None, identity=False)
    blocks = [module for module in network.modules() if isinstance(module, OSABlock)]
    assert len(blocks) == 6
    assert not any(block.identity or block.attention is not None for block in blocks)


def test_depthwise_units_have_nothing_between_their_convolutions():
    unit = on_meta('V-19-slim-dw').stem[1]
    assert not unit.depthwise_conv.with_norm
    assert not unit.depthwise_conv.with_activation
    assert unit.depthwise_conv.conv.bias is None
    assert unit.depthwise_conv.conv.groups == 64
    assert unit.pointwise_conv.conv.bias is None
    assert unit.pointwise_conv.with_norm


# -- deformable stages -----------------------------------------------------------------------


def deformable(network):
    return {
        name
        for name, module in network.named_modules()
        if isinstance(module, ModulatedDeformConv2dPack)
    }


@pytest.mark.parametrize('flags', [STAGES, (True, False, False, False), (False,) * 4])
def test_all_layers_of_the_flagged_stages_are_deformable(flags):
    network = on_meta('V-39', dcn=DCN, stage_with_dcn=flags)
    blocks = (1, 1, 2, 2)
    assert deformable(network) == {
        f'stage{stage + 2}.{block}.layers.{layer}.conv'
        for stage in range(4)
        if flags[stage]
        for block in range(blocks[stage])
        for layer in range(5)
    }


def test_deformable_layer():
    layer = on_meta(dcn=DCN, stage_with_dcn=STAGES).stage4[0].layers[1].conv
    shapes = {name: tuple(value.shape) for name, value in layer.named_parameters()}
    assert shapes == {
        'weight': (96, 96, 3, 3),
        'conv_offset.weight': (27, 96, 3, 3),
        'conv_offset.bias': (27,),
    }


def test_deformable_starts_at_half_the_weight_without_offsets(picture):
    plain, network = build(), build(dcn=DCN, stage_with_dcn=STAGES)
    network.init_weights()
    layers = [module for module in network.modules() if hasattr(module, 'conv_offset')]
    assert len(layers) == 9
    assert not any(p.any() for layer in layers for p in layer.conv_offset.parameters())
    state = {n: v for n, v in network.state_dict().items() if 'conv_offset' not in n}
    for name in deformable(network):
        state[f'{name}.weight'] = state[f'{name}.weight'] / 2  # the modulation is sigmoid(0)
    plain.load_state_dict(state)
    for expected, found in zip(plain.eval()(picture), network.eval()(picture)):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_deformable_stages_train(picture):
    network = build(dcn=DCN, stage_with_dcn=STAGES).train()
    sum(output.square().sum() for output in network(picture)).backward()
    assert all(
        p.grad is not None and p.grad.any()
        for name, p in network.named_parameters()
        if 'conv_offset' in name
    )


@pytest.mark.parametrize('arch', ['V-19-dw', 'V-19-slim-dw'])
def test_depthwise_layers_are_not_deformable(arch):
    with pytest.raises(ValueError, match=f'{arch} has depthwise layers, which cannot be deform'):
        on_meta(arch, dcn=DCN, stage_with_dcn=STAGES)
    assert not deformable(on_meta(arch, dcn=DCN))
    with pytest.raises(ValueError, match='depthwise layers cannot be deformable'):
        OSABlock(8, 8, 8, 1, depthwise=True, dcn=DCN)


# -- checkpointing, initialisation -----------------------------------------------------------


@pytest.mark.parametrize('frozen_stages', [-1, 1])
def test_checkpointing_gives_the_same_gradients(picture, frozen_stages):
    gradients = []
    plain = randomised(build(frozen_stages=frozen_stages)).train()
    for with_cp in (False, True):
        network = build(with_cp=with_cp, frozen_stages=frozen_stages).train()
        network.load_state_dict(plain.state_dict())
        outputs = network(picture)
        sum(output.square().mean() for output in outputs).backward()
        gradients.append({n: p.grad for n, p in network.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected)


def test_checkpointing_computes_blocks_twice(picture, monkeypatch):
    calls = []
    aggregate = OSABlock._aggregate
    monkeypatch.setattr(
        OSABlock, '_aggregate', lambda self, x: calls.append(0) or aggregate(self, x)
    )
    network = build(with_cp=True).train()
    with torch.no_grad():
        network(picture)
    assert len(calls) == 4
    network(picture)[-1].sum().backward()
    assert len(calls) == 12


@pytest.mark.parametrize('dcn', [DCN, None])
def test_kaiming_initialisation(dcn):
    network = build(dcn=dcn, stage_with_dcn=STAGES)
    nn.init.zeros_(network.stage3[0].concat.conv.weight)
    nn.init.ones_(network.stage3[0].attention.fc.bias)
    network.init_weights()
    block = network.stage3[0]
    for layer, fan_out in ((block.concat, 256), (block.layers[1], 80 * 9)):
        assert layer.conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert not block.attention.fc.bias.any()


def test_pretrained_weights_and_their_offsets_are_kept(tmp_path):
    source = build(dcn=DCN, stage_with_dcn=STAGES)
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    file = tmp_path / 'backbone.pth'
    torch.save(dict(state_dict=source.state_dict()), file)
    init_cfg = dict(type='Pretrained', checkpoint=str(file))
    network = build(dcn=DCN, stage_with_dcn=STAGES, init_cfg=init_cfg)
    network.init_weights()
    for name, expected in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], expected), name


# -- use and errors --------------------------------------------------------------------------


def test_in_a_config_of_mmdets_scope():
    """mmdet's registry imports polarseg for the prefix; a fresh process knows nothing of it."""
    code = (
        'from mmdet.registry import MODELS\n'
        'from mmdet.utils import register_all_modules\n'
        'register_all_modules()\n'
        "model = MODELS.build(dict(type='RetinaNet', backbone=dict(type='polarseg.VoVNet', "
        "arch='V-19-slim', dcn=dict(type='polarseg.DCNv2', deform_groups=1), "
        'stage_with_dcn=(False, False, False, True)), '
        "neck=dict(type='FPN', in_channels=[256, 384, 512], out_channels=16, num_outs=3), "
        "bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16, "
        "anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], strides=[8, 16, 32], "
        'octave_base_scale=4, scales_per_octave=1))))\n'
        'import torch\n'
        'model.init_weights()\n'
        'print(len(model(torch.zeros(1, 3, 64, 64))[0]), type(model.backbone).__module__)\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '3 polarseg.models.backbones.vovnet'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='V-27'), r"arch must be one of \['V-19-slim-dw'.*'V-99'\], got 'V-27'"),
        (dict(attention='CBAM'), r"attention must be one of \['eSE', 'SE', None\], got 'CBAM'"),
        (dict(attention_blocks='first'), "attention_blocks must be one of .*got 'first'"),
        (dict(frozen_stages=5), 'frozen_stages must be one of .*got 5'),
        (dict(out_indices=()), r'out_indices must be of 0, 1, 2 and 3, got \(\)'),
        (dict(out_indices=(2, 5)), r'out_indices must be of 0, 1, 2 and 3, got \(2, 5\)'),
        (dict(stage_with_dcn=(True,)), r'stage_with_dcn must have four flags, got \(True,\)'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        on_meta(**options)


def test_identity_needs_equal_widths():
    with pytest.raises(ValueError, match='as many input as output channels, got 8 and 16'):
        OSABlock(8, 4, 16, 1, identity=True)
