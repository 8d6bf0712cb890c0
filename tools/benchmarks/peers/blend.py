"""BlendMask's blending and mask loss as plain torch has them."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['blended', 'loss_and_gradients']


def blended(pooled: Tensor, attentions: Tensor) -> Tensor:
    """``[N, K, R, R]`` bases and ``[N, K, M, M]`` attentions to ``[N, R, R]`` logits, at once."""
    stretched = F.interpolate(
        attentions, size=pooled.shape[2:], mode='bilinear', align_corners=False
    )
    return (stretched.softmax(dim=1) * pooled).sum(dim=1)


def loss_and_gradients(
    pooled: Tensor, attentions: Tensor, gt_index: Tensor, targets: Tensor, row_weights: Tensor
) -> tuple[Tensor, ...]:
    """The weighted sum of all locations' losses, and the gradients of bases and attentions."""
    logits = blended(pooled[gt_index], attentions)
    losses = F.binary_cross_entropy_with_logits(
        logits, targets[gt_index].to(logits), reduction='none'
    )
    loss = (losses.mean(dim=(1, 2)) * row_weights).sum()
    return loss.detach(), *torch.autograd.grad(loss, (pooled, attentions))
