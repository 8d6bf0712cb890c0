"""MobileNetV2: mmdet's network with the published stages."""

import mmdet.models
import pytest
import torch
from torch import nn

from polarseg.models import MobileNetV2

ALL = (0, 1, 2, 3)


@pytest.fixture
def picture():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def sizes(outputs):
    return [tuple(output.shape[1:]) for output in outputs]


def test_number_of_parameters():
    assert round(sum(p.numel() for p in MobileNetV2().parameters()) / 1e6, 2) == 1.81


def test_channels_and_strides(picture):
    expected = [(24, 16, 16), (32, 8, 8), (96, 4, 4), (320, 2, 2)]
    assert sizes(MobileNetV2(out_indices=ALL)(picture)) == expected
    assert sizes(MobileNetV2()(picture)) == expected[1:]
    assert sizes(MobileNetV2(widen_factor=0.5, out_indices=(2,))(picture)) == [(48, 4, 4)]


def test_mmdets_numbers(picture):
    ours = MobileNetV2(out_indices=ALL).eval()
    theirs = mmdet.models.MobileNetV2(out_indices=(1, 2, 4, 6))
    theirs.eval()  # theirs returns None
    theirs.load_state_dict(ours.state_dict(), strict=False)
    left = set(theirs.state_dict()) - set(ours.state_dict())
    assert {name.split('.')[0] for name in left} == {'conv2'}
    for expected, found in zip(theirs(picture), ours(picture)):
        assert torch.equal(found, expected)


@pytest.mark.parametrize('last', ALL)
def test_layers_after_the_last_output_are_not_built(picture, last):
    network = MobileNetV2(out_indices=(last,), norm_cfg=dict(type='BN'), norm_eval=False)
    network(picture)[0].sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert len(network.layers) == (2, 3, 5, 7)[last]


@pytest.mark.parametrize(
    ('frozen_stages', 'expected'),
    [
        (-1, []),
        (0, ['conv1']),
        (1, ['conv1', 'layer1', 'layer2']),
        (3, ['conv1', 'layer1', 'layer2', 'layer3', 'layer4', 'layer5']),
    ],
)
def test_frozen_stages_stay_frozen(picture, frozen_stages, expected):
    network = MobileNetV2(frozen_stages=frozen_stages, norm_cfg=dict(type='BN'), norm_eval=False)

    def frozen():
        return [
            name
            for name, part in network.named_children()
            if not any(p.requires_grad for p in part.parameters())
        ]

    assert frozen() == expected
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert network.train() is network
    assert frozen() == expected
    network(picture)
    changed = {n.split('.')[0] for n, v in network.state_dict().items() if (v != before[n]).any()}
    assert changed == {name for name, _ in network.named_children()} - set(expected)


def test_norms_are_frozen_by_default(picture):
    network = MobileNetV2().train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert network.conv1.conv.weight.requires_grad


def test_checkpointing_gives_the_same_gradients(picture):
    plain, saving = MobileNetV2().train(), MobileNetV2(with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    for network in (plain, saving):
        sum(output.square().mean() for output in network(picture)).backward()
    for (name, expected), found in zip(plain.named_parameters(), saving.parameters()):
        if expected.requires_grad:
            torch.testing.assert_close(found.grad, expected.grad, msg=name)


@pytest.mark.parametrize('indices', [(), (1, 2, 4, 7), (-1,)])
def test_wrong_stages(indices):
    with pytest.raises(ValueError, match=r'out_indices must be of 0, 1, 2 and 3.*mmdet counts'):
        MobileNetV2(out_indices=indices)
    with pytest.raises(ValueError, match='frozen_stages must be of -1 to 4, got 7'):
        MobileNetV2(frozen_stages=7)
