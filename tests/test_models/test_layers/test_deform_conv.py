"""Deformable convolution layers: mmcv's numbers, state and options, found by every name."""

import mmcv.ops
import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from polarseg.models.layers import DeformConv2dPack, ModulatedDeformConv2dPack

PAIRS = {
    'DCN': (DeformConv2dPack, mmcv.ops.DeformConv2dPack),
    'DCNv2': (ModulatedDeformConv2dPack, mmcv.ops.ModulatedDeformConv2dPack),
}
by_type = pytest.mark.parametrize('kind', list(PAIRS))


def randomised(layer):
    generator = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return layer


@by_type
@pytest.mark.parametrize(
    'options',
    [
        dict(padding=1),
        dict(stride=2, padding=2, dilation=2),
        dict(padding=1, groups=2, deform_groups=4),
        dict(padding=1, groups=8, deformable_groups=2),
    ],
    ids=str,
)
@pytest.mark.filterwarnings('ignore:"deformable_groups" is deprecated')
def test_same_numbers_as_mmcv_with_the_same_state(kind, options):
    ours, theirs = (cls(8, 16, 3, **options) for cls in PAIRS[kind])
    randomised(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    results = []
    for layer in (ours, theirs):
        x = torch.randn(2, 8, 9, 11, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        output = layer(x)
        output.square().sum().backward()
        results.append([output, x.grad, *[p.grad for p in layer.parameters()]])
    for actual, expected in zip(*results):
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@by_type
def test_names_in_the_state(kind):
    names = ['weight', 'bias', 'conv_offset.weight', 'conv_offset.bias']
    if kind == 'DCN':
        names.remove('bias')
    assert list(PAIRS[kind][0](4, 4, 3).state_dict()) == names


@by_type
def test_starts_without_offsets_also_after_the_initialisation_of_the_network(kind):
    layer = PAIRS[kind][0](4, 6, 3, padding=1)
    before = layer.weight.detach().clone()
    for _ in range(2):
        assert not layer.conv_offset.weight.any()
        assert not layer.conv_offset.bias.any()
        nn.init.normal_(layer.conv_offset.weight)
        layer.init_weights()
    assert not torch.equal(layer.weight, before)
    assert layer.weight.abs().max() < 2


def test_v1_has_no_bias():
    with pytest.raises(AssertionError, match='bias=True is not supported'):
        DeformConv2dPack(4, 4, 3, bias=True)


@pytest.mark.parametrize('batch', [0, 1, 33])
def test_any_batch_whatever_the_step_of_mmcv_is(batch):
    assert DeformConv2dPack(4, 4, 3, im2col_step=32)(torch.zeros(batch, 4, 5, 5)).shape[0] == batch


@by_type
@pytest.mark.parametrize('scope', ['polarseg', 'mmdet'])
def test_found_by_name(kind, scope):
    ours, theirs = PAIRS[kind]
    init_default_scope(scope)
    bare = build_conv_layer(dict(type=kind), 4, 4, 3)
    assert type(bare) is (ours if scope == 'polarseg' else theirs)
    assert type(build_conv_layer(dict(type=f'polarseg.{kind}'), 4, 4, 3)) is ours
    assert type(build_conv_layer(dict(type=f'mmengine.{kind}'), 4, 4, 3)) is theirs


@by_type
def test_the_optimiser_knows_the_offset_convolution(kind):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), ConvModule(4, 4, 3, conv_cfg=dict(type=kind), norm_cfg=dict(type='BN'))
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='SGD', lr=1.0),
            paramwise_cfg=dict(dcn_offset_lr_mult=0.1, bias_lr_mult=2.0),
        ),
    )
    rates = {id(p): g['lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    layer = model[1].conv
    assert rates[id(layer.conv_offset.weight)] == pytest.approx(0.1)
    assert rates[id(layer.conv_offset.bias)] == pytest.approx(0.1)
    assert rates[id(layer.weight)] == pytest.approx(1.0)
    assert rates[id(model[0].bias)] == pytest.approx(2.0)


@by_type
def test_trains_under_autocast(kind):
    layer = PAIRS[kind][0](4, 6, 3, padding=1)
    nn.init.normal_(layer.conv_offset.weight, std=0.1)
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = layer(x.relu()).square().sum()
    loss.backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())
