"""The arithmetic of the blender beside plain torch: values, gradients, memory."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from polarseg.models.mask_heads.blending import blend, blend_loss, resampling_matrix

SIZES = [(2, 28), (4, 28), (7, 56), (14, 56), (14, 28)]


def plain_blend(pooled, attentions, mode='bilinear', softmax=True):
    corners = dict(align_corners=False) if mode == 'bilinear' else {}
    stretched = F.interpolate(attentions, size=pooled.shape[2:], mode=mode, **corners)
    weights = stretched.softmax(dim=1) if softmax else stretched
    return (weights * pooled).sum(dim=1)


def plain_loss(pooled, attentions, gt_index, targets, row_weights, softmax):
    logits = plain_blend(pooled[gt_index], attentions, softmax=softmax)
    target = targets[gt_index].to(logits)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    return (losses.mean(dim=(1, 2)) * row_weights).sum()


def make_inputs(locations=11, regions=4, bases=3, side=5, new_side=8, dtype=torch.float64):
    """Pooled bases, attentions, index, targets, weights; the last region has no location."""
    return (
        torch.randn(regions, bases, new_side, new_side, dtype=dtype, requires_grad=True),
        torch.randn(locations, bases, side, side, dtype=dtype, requires_grad=True),
        torch.randint(0, regions - 1, (locations,)),
        torch.rand(regions, new_side, new_side) > 0.5,
        torch.rand(locations, dtype=dtype),
    )


@pytest.mark.parametrize('mode', ['bilinear', 'nearest'])
@pytest.mark.parametrize(('side', 'new_side'), SIZES)
def test_stretching_by_matrix_products(side, new_side, mode):
    maps = 10 * torch.randn(3, 2, side, side)
    matrix = resampling_matrix(side, new_side, mode)
    corners = dict(align_corners=False) if mode == 'bilinear' else {}
    expected = F.interpolate(maps, size=(new_side, new_side), mode=mode, **corners)
    torch.testing.assert_close(matrix.mT @ maps @ matrix, expected, rtol=0, atol=1e-5)


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"bilinear.*'cubic'"):
        resampling_matrix(14, 56, 'cubic')


@pytest.mark.parametrize('softmax', [True, False])
@pytest.mark.parametrize('mode', ['bilinear', 'nearest'])
@pytest.mark.parametrize('bases', [1, 4])
@pytest.mark.parametrize(('side', 'new_side'), SIZES)
def test_blend_is_the_weighted_sum(side, new_side, bases, mode, softmax):
    pooled = torch.randn(3, bases, new_side, new_side)
    attentions = torch.randn(3, bases, side, side)
    found = blend(pooled, attentions, resampling_matrix(side, new_side, mode), softmax)
    expected = plain_blend(pooled, attentions, mode, softmax)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_one_base_with_softmax_is_the_base_itself():
    pooled = torch.randn(3, 1, 28, 28)
    found = blend(pooled, torch.randn(3, 1, 7, 7), resampling_matrix(7, 28))
    torch.testing.assert_close(found, pooled[:, 0])


@pytest.mark.parametrize('softmax', [True, False])
@pytest.mark.parametrize('chunk_size', [1, 3, 11, 50])
def test_loss_and_gradients_of_any_chunks_are_those_of_plain_torch(chunk_size, softmax):
    args = make_inputs()
    matrix = resampling_matrix(5, 8).double()
    expected = plain_loss(*args, softmax)
    found = blend_loss(*args, matrix, softmax, chunk_size)
    torch.testing.assert_close(found, expected)
    for own, other in zip(
        torch.autograd.grad(3 * found, args[:2]), torch.autograd.grad(3 * expected, args[:2])
    ):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-14)
        assert other.any()


def test_a_region_without_location_has_no_gradient():
    args = make_inputs()
    loss = blend_loss(*args, resampling_matrix(5, 8).double(), chunk_size=4)
    (grad,) = torch.autograd.grad(loss, args[0])
    assert not grad[-1].any()


@pytest.mark.parametrize('softmax', [True, False])
@pytest.mark.parametrize('bases', [1, 3])
def test_gradients_are_the_slopes(bases, softmax):
    pooled, attentions, *rest = make_inputs(5, 3, bases, 2, 4)
    matrix = resampling_matrix(2, 4).double()
    assert torch.autograd.gradcheck(
        lambda *given: blend_loss(*given, *rest, matrix, softmax, 2), (pooled, attentions)
    )


@pytest.mark.parametrize('trained', [0, 1])
def test_only_one_of_the_inputs_is_trained(trained):
    args = list(make_inputs())
    args[1 - trained] = args[1 - trained].detach()
    loss = blend_loss(*args, resampling_matrix(5, 8).double(), chunk_size=4)
    expected = plain_loss(*args, softmax=True)
    loss.backward()
    torch.testing.assert_close(args[trained].grad, torch.autograd.grad(expected, args[trained])[0])
    assert args[1 - trained].grad is None


def test_a_second_derivative_is_refused():
    pooled, *rest = make_inputs()
    loss = blend_loss(pooled, *rest, resampling_matrix(5, 8).double())
    with pytest.raises(RuntimeError, match='differentiated once'):
        torch.autograd.grad(loss, pooled, create_graph=True)


def test_weights_are_constants():
    *args, weights = make_inputs()
    loss = blend_loss(*args, weights.requires_grad_(), resampling_matrix(5, 8).double())
    loss.backward()
    assert weights.grad is None
    assert args[0].grad.any()


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.elements = max(self.elements, leaf.numel())
        return result


def test_memory_does_not_grow_with_the_locations():
    """Not even in training: no tensor of all locations is larger than the attentions."""
    args = make_inputs(locations=300, regions=2, bases=2, side=2, new_side=14)
    matrix = resampling_matrix(2, 14).double()
    with LargestTensor() as largest:
        blend_loss(*args, matrix, chunk_size=8).backward()
    assert largest.elements <= max(8 * 2 * 14 * 14, args[1].numel())
    with LargestTensor() as largest:
        blend_loss(*args, matrix, chunk_size=300).backward()
    assert largest.elements == 300 * 2 * 14 * 14


def test_what_is_kept_for_the_backward_pass_is_as_large_as_the_inputs():
    args = make_inputs(locations=300, regions=2, bases=2, side=2, new_side=14)
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        blend_loss(*args, resampling_matrix(2, 14).double(), chunk_size=8)
    assert sorted(kept) == sorted([args[0].numel(), args[1].numel()])


def test_without_gradients_none_is_made():
    args = make_inputs(locations=300, regions=40, bases=2, side=2, new_side=14)
    with torch.no_grad(), LargestTensor() as largest:
        loss = blend_loss(*args, resampling_matrix(2, 14).double(), chunk_size=1)
    assert not loss.requires_grad
    assert largest.elements < args[1].numel()
    torch.testing.assert_close(loss, plain_loss(*args, softmax=True).detach())
