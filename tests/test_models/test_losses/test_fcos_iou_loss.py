"""IoU losses of left, top, right, bottom against plain Python, row by row."""

import math

import pytest
import torch

from polarseg.models.losses import FCOSIoULoss, fcos_iou_loss
from polarseg.registry import MODELS

MODES = ('iou', 'linear_iou', 'giou')


@pytest.fixture
def distances():
    """Predictions and targets of 50 locations, nowhere equal."""
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.rand(2, 50, 4, generator=generator, dtype=torch.float64) * 12 + 0.1
    return pred, target


def by_hand(pred, target, mode, eps=0.0):
    """One row after the other, with corners around a location at the origin."""
    values = []
    for (l1, t1, r1, b1), (l2, t2, r2, b2) in zip(pred.tolist(), target.tolist()):
        inner = (min(r1, r2) + min(l1, l2)) * (min(b1, b2) + min(t1, t2))
        outer = (max(r1, r2) + max(l1, l2)) * (max(b1, b2) + max(t1, t2)) + eps
        union = (l1 + r1) * (t1 + b1) + (l2 + r2) * (t2 + b2) - inner
        iou = (inner + 1) / (union + 1)
        if mode == 'iou':
            values.append(-math.log(iou))
        else:
            values.append(1 - iou + ((outer - union) / outer if mode == 'giou' else 0))
    return torch.tensor(values, dtype=pred.dtype)


@pytest.mark.parametrize('eps', [0.0, 1e-7, 5.0])
@pytest.mark.parametrize('mode', MODES)
def test_rows(distances, mode, eps):
    found = fcos_iou_loss(*distances, mode=mode, eps=eps, reduction='none')
    torch.testing.assert_close(found, by_hand(*distances, mode, eps))
    assert (found > 0).all()


@pytest.mark.parametrize('mode', MODES)
def test_it_is_zero_where_equal_and_the_same_both_ways(distances, mode):
    pred, target = distances
    same = fcos_iou_loss(pred, pred, mode=mode, reduction='none')
    torch.testing.assert_close(same, torch.zeros(50, dtype=pred.dtype))
    there, back = (
        fcos_iou_loss(*pair, mode=mode, reduction='none')
        for pair in ((pred, target), (target, pred))
    )
    torch.testing.assert_close(there, back)


def test_giou_costs_what_the_enclosing_box_wastes(distances):
    giou, linear = (
        fcos_iou_loss(*distances, mode=mode, reduction='none') for mode in ('giou', 'linear_iou')
    )
    assert (giou >= linear - 1e-12).all()
    assert (giou > linear + 0.01).any()
    # one box inside the other encloses nothing besides
    pred, target = torch.ones(1, 4), torch.full((1, 4), 3.0)
    inside = [fcos_iou_loss(pred, target, mode=mode) for mode in ('giou', 'linear_iou')]
    torch.testing.assert_close(*inside)


@pytest.mark.parametrize('mode', MODES)
def test_gradients(distances, mode):
    pred, target = (part[:6].clone() for part in distances)
    pred.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rows: fcos_iou_loss(rows, target, mode=mode, reduction='none'), (pred,)
    )


@pytest.mark.parametrize('mode', MODES)
def test_a_prediction_of_zero_stays_finite(mode):
    """ReLU boxes start there."""
    pred = torch.zeros(1, 4, requires_grad=True)
    loss = fcos_iou_loss(pred, torch.full((1, 4), 0.5), mode=mode)
    loss.backward()
    assert loss.isfinite()
    assert loss > 0
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize('mode', MODES)
def test_module_weights_and_divides(distances, mode):
    pred, target = distances
    weight = torch.linspace(0, 1, 50, dtype=pred.dtype)
    loss = MODELS.build(dict(type='FCOSIoULoss', mode=mode, eps=0.5, loss_weight=2.0))
    assert isinstance(loss, FCOSIoULoss)
    expected = 2 * (by_hand(pred, target, mode, 0.5) * weight).sum() / 7
    torch.testing.assert_close(
        loss(pred, target, weight, avg_factor=7.0), expected, rtol=1e-6, atol=0
    )
    mean = 2 * by_hand(pred, target, mode, 0.5).mean()
    torch.testing.assert_close(loss(pred, target), mean)
    rows = FCOSIoULoss(mode, reduction='none')(pred, target)
    torch.testing.assert_close(rows, by_hand(pred, target, mode))
    total = FCOSIoULoss(mode, reduction='sum')(pred, target, weight)
    torch.testing.assert_close(total, (by_hand(pred, target, mode) * weight).sum())


@pytest.mark.parametrize('mode', MODES)
def test_no_rows_give_zero_with_a_graph(mode):
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = FCOSIoULoss(mode)(pred, torch.zeros(0, 4), torch.zeros(0), avg_factor=1e-6)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad.shape == (0, 4)


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"linear_iou.*'diou'"):
        FCOSIoULoss('diou')
