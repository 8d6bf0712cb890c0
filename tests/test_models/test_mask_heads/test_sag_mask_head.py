"""SAG mask head: attention, single classes, losses, initialisation."""

import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead

from polarseg.models.mask_heads import SAGMaskHead, SpatialAttention
from polarseg.registry import MODELS

SMALL = dict(num_convs=2, in_channels=16, conv_out_channels=24, num_classes=5)


@pytest.fixture
def feats():
    return torch.randn(6, 16, 14, 14)


@pytest.fixture
def labels():
    return torch.tensor([4, 0, 2, 2, 1, 3])


def test_attention_weighs_each_position_by_mean_and_maximum():
    attention = SpatialAttention()
    with torch.no_grad():
        attention.conv.weight.zero_()
        attention.conv.weight[0, 0, 1, 1] = 2.0
        attention.conv.weight[0, 1, 1, 1] = -1.0
    x = torch.randn(2, 5, 4, 4)
    weight = 1 / (1 + (x.max(1, keepdim=True)[0] - 2 * x.sum(1, keepdim=True) / 5).exp())
    torch.testing.assert_close(attention(x), x * weight)


def test_registered_with_shapes_and_names(feats):
    head = MODELS.build(dict(type='SAGMaskHead', **SMALL))
    assert head(feats).shape == (6, 5, 28, 28)
    names = {name for name, _ in head.named_parameters()}
    layers = ['convs.0.conv', 'convs.1.conv', 'upsample', 'conv_logits']
    expected = {f'{layer}.{kind}' for layer in layers for kind in ('weight', 'bias')}
    assert names == expected | {'attention.conv.weight'}


def test_without_attention_it_is_the_head_of_mmdet(feats):
    head = SAGMaskHead(with_attention=False, **SMALL)
    plain = FCNMaskHead(**SMALL)
    plain.load_state_dict(head.state_dict())
    assert torch.equal(head(feats), plain(feats))
    with_attention = SAGMaskHead(**SMALL)
    with_attention.load_state_dict(head.state_dict(), strict=False)
    assert not torch.equal(with_attention(feats), plain(feats))


@pytest.mark.parametrize('predictor', ['Conv', 'NormedConv2d'])
@pytest.mark.parametrize('upsample', ['deconv', 'bilinear'])
def test_logits_of_single_classes(feats, labels, predictor, upsample):
    head = SAGMaskHead(
        **SMALL,
        predictor_cfg=dict(type=predictor),
        upsample_cfg=dict(type=upsample, scale_factor=2),
    )
    found = head.forward_labels(feats, labels)
    torch.testing.assert_close(found, head(feats)[range(6), labels], atol=1e-5, rtol=1e-5)
    assert torch.equal(head.choose(head(feats), labels), head(feats)[range(6), labels])


def test_class_agnostic(feats, labels):
    head = SAGMaskHead(**SMALL, class_agnostic=True)
    logits = head(feats)
    assert logits.shape == (6, 1, 28, 28)
    torch.testing.assert_close(head.forward_labels(feats, labels), logits[:, 0])
    assert torch.equal(head.choose(logits, labels), logits[:, 0])
    targets = (torch.rand(6, 28, 28) > 0.5).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], targets)
    torch.testing.assert_close(head.loss(logits, targets, labels), expected)


def test_a_batch_is_its_single_regions(feats, labels):
    head = SAGMaskHead(**SMALL)
    single = [head.forward_labels(feats[k, None], labels[k, None]) for k in range(6)]
    torch.testing.assert_close(head.forward_labels(feats, labels), torch.cat(single))


def test_loss_is_the_mean_over_the_matched_classes(feats, labels):
    head = SAGMaskHead(**SMALL)
    logits = head(feats).detach().requires_grad_()
    targets = (torch.rand(6, 28, 28) > 0.5).float()
    own = logits[range(6), labels].sigmoid()
    expected = -(targets * own.log() + (1 - targets) * (1 - own).log()).mean()
    loss = head.loss(logits, targets, labels)
    assert loss.shape == ()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    others = torch.ones(6, 5, dtype=torch.bool)
    others[range(6), labels] = False
    assert not logits.grad[others].any()
    assert logits.grad[~others].any()


def test_no_region():
    head = SAGMaskHead(**SMALL)
    none = torch.zeros(0, dtype=torch.long)
    logits = head(torch.zeros(0, 16, 14, 14))
    assert logits.shape == (0, 5, 28, 28)
    assert head.forward_labels(torch.zeros(0, 16, 14, 14), none).shape == (0, 28, 28)
    loss = head.loss(logits, torch.zeros(0, 28, 28), none)
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


@pytest.mark.parametrize(
    ('weight_init', 'attention', 'predictor'),
    # attention: variance 2 / 9, or a third of 1 / 18; predictor: 2 / 1 class of fan out
    [('centermask2', (2 / 9) ** 0.5, 0.001), ('original', (1 / 54) ** 0.5, (2 / 80) ** 0.5)],
)
def test_initialisation(weight_init, attention, predictor):
    heads = [SAGMaskHead(num_convs=1, weight_init=weight_init) for _ in range(40)]
    for head in heads:
        head.init_weights()
    weights = torch.cat([head.attention.conv.weight.flatten() for head in heads])
    assert weights.std().item() == pytest.approx(attention, rel=0.1)
    head = heads[0]
    assert head.conv_logits.weight.std().item() == pytest.approx(predictor, rel=0.05)
    conv = head.convs[0].conv
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.05)
    assert head.upsample.weight.std().item() == pytest.approx((2 / (4 * 256)) ** 0.5, rel=0.05)
    assert not any(layer.bias.any() for layer in (conv, head.upsample, head.conv_logits))


def test_initialisation_without_attention():
    head = SAGMaskHead(with_attention=False)
    head.init_weights()
    assert head.conv_logits.weight.std().item() == pytest.approx(0.001, rel=0.05)


def test_unknown_initialisation():
    with pytest.raises(ValueError, match=r"centermask2.*'he'"):
        SAGMaskHead(weight_init='he')
