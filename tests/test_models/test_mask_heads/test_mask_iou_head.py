"""MaskIoU head: inputs, targets, loss, initialisation."""

import pytest
import torch
from torch.nn import functional

from polarseg.models.mask_heads import MaskIoUHead
from polarseg.registry import MODELS

SMALL = dict(num_convs=2, in_channels=16, conv_out_channels=24, fc_out_channels=32, num_classes=5)


@pytest.fixture
def feats():
    return torch.randn(6, 16, 14, 14)


@pytest.fixture
def logits():
    return torch.randn(6, 28, 28)


@pytest.fixture
def labels():
    return torch.tensor([4, 0, 2, 2, 1, 3])


def test_layers(feats, logits, labels):
    """Features first, then the pooled probabilities; the last convolution has stride 2."""
    head = MODELS.build(dict(type='MaskIoUHead', **SMALL))
    x = torch.cat([feats, functional.max_pool2d(logits.sigmoid()[:, None], 2)], dim=1)
    for conv, stride in zip(head.convs, (1, 2)):
        x = functional.conv2d(x, conv.weight, conv.bias, stride, padding=1).relu()
    assert x.shape == (6, 24, 7, 7)
    x = x.flatten(1)
    for fc in head.fcs:
        x = functional.linear(x, fc.weight, fc.bias).relu()
    expected = functional.linear(x, head.fc_mask_iou.weight, head.fc_mask_iou.bias)
    torch.testing.assert_close(head(feats, logits), expected)
    assert expected.shape == (6, 5)
    own = head.forward_labels(feats, logits, labels)
    torch.testing.assert_close(own, expected[range(6), labels])


def square(x1, y1, x2, y2):
    mask = torch.full((28, 28), -1.0)
    mask[y1:y2, x1:x2] = 1.0
    return mask


@pytest.mark.parametrize(
    ('pred', 'target', 'ratio', 'expected'),
    [
        ((0, 0, 28, 28), (0, 0, 28, 28), 1.0, 1.0),
        ((0, 0, 14, 28), (0, 0, 28, 28), 1.0, 0.5),
        # half of the instance is outside of the region
        ((0, 0, 28, 28), (0, 0, 28, 28), 0.5, 0.5),
        ((0, 0, 10, 10), (0, 5, 10, 15), 0.8, 50 / (100 + 125 - 50)),
        # a ratio beyond 1 shrinks the instance
        ((0, 0, 28, 28), (0, 0, 28, 28), 1.25, 784 / (0.8 * 784)),
        ((0, 0, 10, 10), (10, 10, 20, 20), 1.0, 0.0),
        ((0, 0, 10, 10), (0, 0, 10, 10), 0.0, 100 / (100 / 1e-10)),
        ((0, 0, 0, 0), (0, 0, 0, 0), 1.0, 0.0),
    ],
)
def test_targets(pred, target, ratio, expected):
    head = MaskIoUHead(**SMALL)
    logits = square(*pred)[None].requires_grad_()
    inside = (square(*target) > 0).float()[None]
    found = head.get_targets(logits, inside, torch.tensor([ratio], dtype=torch.float64))
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_logit_of_zero_is_background():
    ones, ratio = torch.ones(1, 28, 28), torch.ones(1, dtype=torch.float64)
    head = MaskIoUHead(**SMALL)
    assert head.get_targets(torch.zeros(1, 28, 28), ones, ratio).item() == 0
    assert head.get_targets(ones * 1e-6, ones, ratio).item() == 1


def test_loss_leaves_out_targets_of_zero():
    head = MaskIoUHead(**SMALL)
    pred = torch.tensor([0.2, 0.9, -0.4, 0.5], requires_grad=True)
    loss = head.loss(pred, torch.tensor([0.6, 0.0, 0.1, 0.5]))
    assert loss.item() == pytest.approx(0.5 * (0.4**2 + 0.5**2 + 0) / 3)
    loss.backward()
    torch.testing.assert_close(pred.grad, torch.tensor([-0.4, 0.0, -0.5, 0.0]) / 3)


def test_loss_without_targets(feats, logits, labels):
    head = MaskIoUHead(**SMALL)
    loss = head.loss(head.forward_labels(feats, logits, labels), torch.zeros(6))
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_no_region():
    head = MaskIoUHead(**SMALL)
    none = torch.zeros(0, dtype=torch.long)
    found = head.forward_labels(torch.zeros(0, 16, 14, 14), torch.zeros(0, 28, 28), none)
    assert found.shape == (0,)
    empty = torch.zeros(0, 28, 28)
    targets = head.get_targets(empty, empty, torch.zeros(0, dtype=torch.float64))
    head.loss(found, targets).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_the_loss_reaches_the_mask(feats, labels):
    head = MaskIoUHead(**SMALL)
    logits = torch.randn(6, 28, 28, requires_grad=True)
    head.loss(head.forward_labels(feats, logits, labels), torch.ones(6)).backward()
    assert logits.grad.any()


@pytest.mark.parametrize(
    ('weight_init', 'variance', 'largest'),
    # He normal, fan out; uniform with the variance 1 / fan in
    [('centermask2', 2 / 1024, None), ('original', 1 / 3136, (3 / 3136) ** 0.5)],
)
def test_initialisation(weight_init, variance, largest):
    head = MaskIoUHead(num_convs=2, in_channels=64, conv_out_channels=64, weight_init=weight_init)
    head.init_weights()
    for layer in (*head.convs, *head.fcs, head.fc_mask_iou):
        assert not layer.bias.any()
    assert head.convs[0].weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)
    first = head.fcs[0].weight
    assert first.var().item() == pytest.approx(variance, rel=0.02)
    if largest is None:
        assert first.abs().max() > 4 * variance**0.5
    else:
        assert first.abs().max().item() == pytest.approx(largest, rel=0.01)
    assert head.fc_mask_iou.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_unknown_initialisation():
    with pytest.raises(ValueError, match=r"centermask2.*'xavier'"):
        MaskIoUHead(weight_init='xavier')
