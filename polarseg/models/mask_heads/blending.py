"""The arithmetic of BlendMask's blender: attention maps over bases, and the loss of many of them.

BlendMask (arXiv 2001.00309), section 3.2.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx
from torch.nn import functional as F

__all__ = ['blend', 'blend_loss', 'resampling_matrix']

MODES_1D = dict(bilinear='linear', nearest='nearest')


def resampling_matrix(side: int, new_side: int, mode: str = 'bilinear') -> Tensor:
    """The matrix W that stretches maps: ``W.mT @ map @ W`` is torch's ``interpolate``.

    Two small matrix products are several times as quick as ``interpolate`` on CPUs, forward and
    backward, and within 1e-6 of it.

    Args:
        side: M, of the maps.
        new_side: R.
        mode: 'bilinear' (corners not aligned) or 'nearest'.

    Returns:
        ``[M, R]`` float32.

    Raises:
        ValueError: for an unknown mode.
    """
    if mode not in MODES_1D:
        raise ValueError(f'mode must be one of {tuple(MODES_1D)}, got {mode!r}')
    return F.interpolate(torch.eye(side)[None], new_side, mode=MODES_1D[mode])[0]


def blend(pooled: Tensor, attentions: Tensor, matrix: Tensor, softmax: bool = True) -> Tensor:
    """Mask logits of N regions: the bases, weighted at every position and added.

    Args:
        pooled: ``[N, K, R, R]`` bases inside of the regions.
        attentions: ``[N, K, M, M]`` maps, which are stretched to R x R.
        matrix: ``[M, R]`` from :func:`resampling_matrix`.
        softmax: the weights of the K bases are a softmax over them; else the attention itself.

    Returns:
        ``[N, R, R]``.
    """
    return (_weights(attentions, matrix, softmax) * pooled).sum(dim=1)


def blend_loss(
    pooled: Tensor,
    attentions: Tensor,
    gt_index: Tensor,
    targets: Tensor,
    row_weights: Tensor,
    matrix: Tensor,
    softmax: bool = True,
    chunk_size: int = 32,
) -> Tensor:
    """Weighted sum of the mask losses of P locations that share G ground-truth regions.

    ``sum_p row_weights[p] * mean BCE(blend(pooled[gt_index[p]], attentions[p]), targets[...])``.
    The gradients are made with the loss, so that of the maps of R x R only ``chunk_size`` are ever
    held, in training as well; what is kept for the backward pass is as large as the inputs. It can
    be differentiated once: a backward pass with ``create_graph=True`` raises a RuntimeError.

    Args:
        pooled: ``[G, K, R, R]`` bases inside of the regions.
        attentions: ``[P, K, M, M]``, of the same dtype.
        gt_index: ``[P]`` int64 region of each location.
        targets: ``[G, R, R]`` bool.
        row_weights: ``[P]``, constants.
        matrix: ``[M, R]`` from :func:`resampling_matrix`.
        softmax: as for :func:`blend`.
        chunk_size: locations at once.

    Returns:
        A scalar.
    """
    # inside of the function gradients are off, and its flags do not tell why
    train = torch.is_grad_enabled() and (pooled.requires_grad or attentions.requires_grad)
    args = pooled, attentions, gt_index, targets, row_weights.detach(), matrix
    return _BlendLoss.apply(*args, softmax, chunk_size, train)


def _weights(attentions: Tensor, matrix: Tensor, softmax: bool) -> Tensor:
    """``[N, K, R, R]``."""
    stretched = matrix.mT @ (attentions @ matrix)
    return stretched.softmax(dim=1) if softmax else stretched


class _BlendLoss(Function):
    """The loss of :func:`blend_loss`, and its gradients chunk by chunk in the forward pass."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        pooled: Tensor,
        attentions: Tensor,
        gt_index: Tensor,
        targets: Tensor,
        row_weights: Tensor,
        matrix: Tensor,
        softmax: bool,
        chunk_size: int,
        train: bool,
    ) -> Tensor:
        grad_pooled = torch.zeros_like(pooled) if train else None
        grad_attentions = torch.empty_like(attentions) if train else None
        total = pooled.new_zeros(())
        for start in range(0, len(attentions), chunk_size):
            rows = slice(start, start + chunk_size)
            own = gt_index[rows]
            bases, target = pooled[own], targets[own].to(pooled.dtype)
            weights = _weights(attentions[rows], matrix, softmax)
            logits = (weights * bases).sum(dim=1)
            losses = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
            total += (losses.mean(dim=(1, 2)) * row_weights[rows]).sum()
            if not train:
                continue
            scale = row_weights[rows, None, None] / target[0].numel()
            slope = ((logits.sigmoid() - target) * scale)[:, None]
            grad_pooled.index_add_(0, own, slope * weights)
            # through a softmax: weight times (own base - weighted mean of the bases)
            by_weight = weights * (bases - logits[:, None]) if softmax else bases
            grad_attentions[rows] = matrix @ (slope * by_weight) @ matrix.mT
        if train:
            ctx.save_for_backward(grad_pooled, grad_attentions)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Any, ...]:
        # torch's once_differentiable lets gradients without a graph pass where ``grad`` has none
        if torch.is_grad_enabled():
            raise RuntimeError(
                'blend_loss can be differentiated once, and create_graph=True asks for more; '
                'blend() and a loss of its result can be differentiated any number of times'
            )
        grads = [grad * saved for saved in ctx.saved_tensors]
        return *grads, None, None, None, None, None, None, None
