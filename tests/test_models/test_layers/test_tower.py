"""The stack in front of the predictors."""

import pytest
import torch
from torch import nn

from polarseg.models.layers.tower import build_tower


@pytest.mark.parametrize('num_convs', [1, 4])
def test_tower(num_convs):
    tower = build_tower(8, 16, num_convs, norm_cfg=dict(type='GN', num_groups=4))
    assert len(tower) == num_convs
    assert tower(torch.randn(2, 8, 9, 7)).shape == (2, 16, 9, 7)
    assert all(module.conv.bias is None for module in tower)
    assert (tower(torch.randn(2, 8, 9, 7)) >= 0).all()


def test_without_convolutions_it_is_the_identity():
    feat = torch.randn(1, 8, 3, 3)
    assert build_tower(8, 8, 0)(feat) is feat


def test_norms_of_the_levels():
    tower = build_tower(8, 16, 2, norm_cfg=dict(type='BN'), norm_levels=3)
    assert [block.conv.bias for block in tower] == [None, None]
    feat = torch.randn(2, 8, 6, 6)
    tower[0].norms[2].weight.data.fill_(2.0)
    first, second = tower(feat, 0), tower(feat, 1)
    torch.testing.assert_close(first, second)
    assert not torch.allclose(tower(feat, 2), first)
    with pytest.raises(IndexError):
        tower(feat, 3)
    with pytest.raises(ValueError, match=r'norm_levels=3 needs a norm_cfg'):
        build_tower(8, 16, 2, norm_levels=3)


def test_another_kind_of_convolution_at_the_end():
    tower = build_tower(8, 8, 3, last_conv_cfg=dict(type='polarseg.DCNv2'))
    kinds = [type(block.conv).__name__ for block in tower]
    assert kinds == ['Conv2d', 'Conv2d', 'ModulatedDeformConv2dPack']


def test_bias_and_deformable_convolutions():
    tower = build_tower(
        8, 8, 2, norm_cfg=dict(type='GN', num_groups=4), conv_cfg=dict(type='DCNv2'), bias=True
    )
    assert all(module.conv.bias is not None for module in tower)
    assert sum(isinstance(module, nn.GroupNorm) for module in tower.modules()) == 2
    assert tower(torch.randn(1, 8, 5, 5)).shape == (1, 8, 5, 5)
