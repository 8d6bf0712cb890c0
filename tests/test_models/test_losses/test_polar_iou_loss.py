"""Losses of rays against direct formulas."""

import math

import pytest
import torch

from polarseg.models.losses import (
    PolarIoULoss,
    RaySmoothL1Loss,
    polar_iou_loss,
    ray_smooth_l1_loss,
)
from polarseg.registry import MODELS

VARIANTS = ('v1', 'v2', 'v3')


@pytest.fixture
def rays():
    """Predictions and targets of 6 locations with 9 rays, nowhere equal."""
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.rand(2, 6, 9, generator=generator, dtype=torch.float64) * 40 + 1
    return pred, target


def by_hand(pred, target, variant):
    """One row after the other."""
    values = []
    for p_row, t_row in zip(pred.tolist(), target.tolist()):
        pairs = [(max(p, t), min(p, t)) for p, t in zip(p_row, t_row)]
        if variant == 'v1':
            value = math.log(sum(m for m, _ in pairs) / sum(n for _, n in pairs))
        elif variant == 'v2':
            value = sum(math.log(m / max(n, 1e-6)) for m, n in pairs) / len(pairs)
        else:
            value = math.log(sum(m * m for m, _ in pairs) / sum(n * n for _, n in pairs))
        values.append(value)
    return torch.tensor(values, dtype=pred.dtype)


@pytest.mark.parametrize('variant', VARIANTS)
def test_rows(rays, variant):
    expected = by_hand(*rays, variant)
    torch.testing.assert_close(polar_iou_loss(*rays, variant=variant, reduction='none'), expected)
    assert (expected > 0).all()


@pytest.mark.parametrize('variant', VARIANTS)
def test_it_is_zero_where_equal_and_does_not_care_which_is_longer(rays, variant):
    pred, target = rays
    same = polar_iou_loss(pred, pred, variant=variant, reduction='none')
    torch.testing.assert_close(same, torch.zeros(6, dtype=pred.dtype))
    there, back = (
        polar_iou_loss(*pair, variant=variant, reduction='none')
        for pair in ((pred, target), (target, pred))
    )
    torch.testing.assert_close(there, back)


@pytest.mark.parametrize('variant', VARIANTS)
def test_empty_target_rays_stay_finite(variant):
    pred = torch.full((2, 4), 30.0, requires_grad=True)
    target = torch.tensor([[1e-6, 20.0, 0.0, 5.0], [1e-6, 1e-6, 1e-6, 1e-6]])
    loss = polar_iou_loss(pred, target, variant=variant)
    loss.backward()
    assert loss.isfinite()
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize('variant', VARIANTS)
def test_gradients_away_from_ties(rays, variant):
    pred, target = rays
    assert torch.autograd.gradcheck(
        lambda p: polar_iou_loss(p, target, variant=variant, reduction='none'),
        pred.requires_grad_(),
    )


def test_at_a_tie_the_gradient_is_that_of_the_pair():
    """max and min of a stacked pair: the prediction, first of the two, takes all of it."""
    pred = torch.tensor([[10.0, 10.0]], requires_grad=True)
    polar_iou_loss(pred, torch.tensor([[10.0, 20.0]])).backward()
    # log(30) - log(20): the tie adds to both sums, the other ray to the shorter one
    assert pred.grad[0].tolist() == pytest.approx([1 / 30 - 1 / 20, -1 / 20])


@pytest.mark.parametrize('beta', [1.0, 5.0])
def test_smooth_l1_is_the_mean_over_the_rays(rays, beta):
    pred, target = rays
    difference = (pred - target).abs()
    value = torch.where(difference < beta, difference**2 / (2 * beta), difference - beta / 2)
    found = ray_smooth_l1_loss(pred, target, beta=beta, reduction='none')
    torch.testing.assert_close(found, value.mean(dim=1))
    assert (difference < beta).any()


def test_smooth_l1_gradients(rays):
    pred, target = rays
    loss = RaySmoothL1Loss(beta=3.0, reduction='sum')
    assert torch.autograd.gradcheck(lambda p: loss(p, target), pred.requires_grad_())


MODULES = [PolarIoULoss(variant) for variant in VARIANTS] + [RaySmoothL1Loss(beta=2.0)]


def rows_of(module, pred, target):
    if isinstance(module, RaySmoothL1Loss):
        return ray_smooth_l1_loss(pred, target, beta=module.beta, reduction='none')
    return by_hand(pred, target, module.variant)


@pytest.mark.parametrize('module', MODULES, ids=str)
def test_weights_and_avg_factor(rays, module):
    rows = rows_of(module, *rays)
    weight = torch.tensor([0.0, 1.0, 0.25, 0.5, 0.0, 2.0], dtype=torch.float64)
    assert module(*rays).item() == pytest.approx(rows.mean().item())
    assert module(*rays, weight=weight).item() == pytest.approx((rows * weight).mean().item())
    found = module(*rays, weight=weight, avg_factor=weight.sum())
    assert found.item() == pytest.approx(((rows * weight).sum() / weight.sum()).item(), rel=1e-6)


@pytest.mark.parametrize('kind', [PolarIoULoss, RaySmoothL1Loss])
def test_reduction_and_loss_weight(rays, kind):
    rows = kind(reduction='none')(*rays)
    assert rows.shape == (6,)
    torch.testing.assert_close(kind(reduction='sum')(*rays), rows.sum())
    torch.testing.assert_close(kind(loss_weight=0.3)(*rays), 0.3 * rows.mean())


@pytest.mark.parametrize('module', MODULES, ids=str)
def test_nothing_gives_zero_with_a_graph(module):
    pred = torch.zeros(0, 36, requires_grad=True)
    loss = module(pred, torch.zeros(0, 36), weight=torch.zeros(0), avg_factor=torch.tensor(1e-6))
    assert loss.item() == 0
    loss.backward()
    assert pred.grad.shape == (0, 36)


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"variant.*'v4'"):
        PolarIoULoss('v4')


def test_built_from_configs():
    assert MODELS.build(dict(type='PolarIoULoss', variant='v3')).variant == 'v3'
    assert MODELS.build(dict(type='RaySmoothL1Loss', loss_weight=0.05)).loss_weight == 0.05
