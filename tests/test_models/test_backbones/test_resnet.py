"""Which blocks are deformable, and that nothing else differs from mmdet's networks."""

import mmdet.models
import pytest
import torch
from mmengine.registry import init_default_scope

from polarseg.models import ResNet, ResNeXt
from polarseg.models.layers import DeformConv2dPack, ModulatedDeformConv2dPack
from polarseg.registry import MODELS

STAGES = (False, True, True, True)


def build(kind='ResNet', depth=50, **options):
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
    options = dict(dcn=dcn, stage_with_dcn=STAGES) | options
    with torch.device('meta'):
        return MODELS.build(dict(type=kind, depth=depth, base_channels=8, **options))


def deformable_blocks(network):
    """Their numbers in each of the four stages."""
    return [
        [i for i, block in enumerate(stage) if hasattr(block.conv2, 'conv_offset')]
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4)
    ]


@pytest.mark.parametrize(
    ('depth', 'interval', 'expected'),
    [
        (50, 1, [[], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2]]),
        (50, 2, [[], [0, 2], [0, 2, 4], [0, 2]]),
        (50, 3, [[], [0, 3], [0, 3], [0]]),
        (101, 3, [[], [0, 3], [0, 3, 6, 9, 12, 15, 18, 21], [0]]),
        (50, 100, [[], [0], [0], [0]]),
    ],
)
@pytest.mark.parametrize('kind', ['ResNet', 'ResNeXt'])
def test_every_nth_block_of_a_stage_is_deformable(kind, depth, interval, expected):
    network = build(kind, depth, dcn_interval=interval)
    assert deformable_blocks(network) == expected
    names = {name.rsplit('.', 1)[0] for name in network.state_dict() if 'conv_offset' in name}
    assert names == {
        f'layer{stage + 1}.{block}.conv2.conv_offset'
        for stage, blocks in enumerate(expected)
        for block in blocks
    }


def test_stages_without_the_flag_have_none():
    network = build(stage_with_dcn=(False, False, False, True), dcn_interval=2)
    assert deformable_blocks(network) == [[], [], [], [0, 2]]


@pytest.mark.parametrize('kind', ['ResNet', 'ResNeXt'])
@pytest.mark.parametrize('dcn', [True, False])
def test_without_an_interval_it_is_mmdets_network(kind, dcn):
    options = dict() if dcn else dict(dcn=None)
    ours, theirs = build(kind, **options), build(f'mmdet.{kind}', **options)
    assert type(ours) is {'ResNet': ResNet, 'ResNeXt': ResNeXt}[kind]
    assert type(theirs) is getattr(mmdet.models, kind)
    shapes = [{name: v.shape for name, v in n.state_dict().items()} for n in (ours, theirs)]
    assert shapes[0] == shapes[1]
    for stages in zip(ours.children(), theirs.children()):
        assert type(stages[0]) is type(stages[1])
    assert ours.layer2.block is theirs.layer2.block


@pytest.mark.parametrize(('kind', 'layer'), [
    ('polarseg.DCN', DeformConv2dPack),
    ('polarseg.DCNv2', ModulatedDeformConv2dPack),
])  # fmt: skip
def test_our_layers_in_mmdets_network(kind, layer):
    init_default_scope('mmdet')
    network = build('mmdet.ResNet', dcn=dict(type=kind, deform_groups=1))
    assert type(network.layer2[0].conv2) is layer


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_runs_and_starts_without_offsets(kind):
    network = ResNet(
        depth=50,
        base_channels=4,
        dcn=dict(type=kind, deform_groups=1),
        stage_with_dcn=STAGES,
        dcn_interval=3,
        norm_eval=False,
    )
    network.init_weights()
    convs = [m for m in network.modules() if hasattr(m, 'conv_offset')]
    assert len(convs) == 5
    assert not any(conv.conv_offset.weight.any() for conv in convs)
    outputs = network(torch.randn(2, 3, 64, 64))
    sum(output.sum() for output in outputs).backward()
    assert all(conv.conv_offset.weight.grad is not None for conv in convs)


def test_published_blocks_stride_before_the_deformable_convolution():
    network = build(style='caffe', dcn_interval=3)
    for stage in (network.layer2, network.layer3, network.layer4):
        block = stage[0]
        assert block.conv1.stride == (2, 2)
        assert type(block.conv2) is ModulatedDeformConv2dPack
        assert (*block.conv2.stride, *block.conv2.padding) == (1, 1, 1, 1)
        assert block.conv2.bias is None
        assert block.conv2.conv_offset.weight.shape[0] == 27  # 18 offsets, 9 masks
        assert block.conv2.conv_offset.bias.shape == (27,)


@pytest.mark.parametrize('interval', [0, -3, 1.5, '3'])
def test_refuses_other_intervals(interval):
    with pytest.raises(ValueError, match='dcn_interval must be an integer of at least 1'):
        ResNet(depth=50, dcn_interval=interval)
