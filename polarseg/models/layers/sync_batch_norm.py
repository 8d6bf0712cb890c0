"""Batch norm over the batch of all processes, on CPUs.

torch's and mmcv's synchronised batch norms have GPU kernels only.
"""

from typing import Any

import torch
from mmcv.ops import SyncBatchNorm as MMSyncBatchNorm
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import Function, once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['CPUSyncBatchNorm', 'convert_sync_batchnorm_to_cpu']


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """``[C]`` -> ``[1, C, 1, ...]`` with as many axes as ``like``."""
    return values.view(1, -1, *[1] * (like.dim() - 2))


def _joint_statistics(x: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``[C]``, biased variance ``[C]`` and number of values per channel ``[]``, all processes.

    Each process sends its own mean and sum of squared deviations, which are then joined; the plain
    sums of squares would cancel in float32. A process without any value takes part with a 0.
    """
    channels = x.shape[1]
    axes = [axis for axis in range(x.dim()) if axis != 1]
    local = x.new_zeros(2 * channels + 1)
    if x.numel():
        mean = x.mean(axes)
        local[:channels] = mean
        local[channels:-1] = (x - _per_channel(mean, x)).square().sum(axes)
        local[-1] = x.numel() // channels
    gathered = [torch.empty_like(local) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, local, group=group)
    parts = torch.stack(gathered)
    means, squares, counts = parts[:, :channels], parts[:, channels:-1], parts[:, -1:]
    count = counts.sum()
    safe_count = count.clamp(min=1)
    mean = (means * counts).sum(0) / safe_count
    var = (squares + counts * (means - mean).square()).sum(0) / safe_count
    return mean, var, count


class _NormalizeJointly(Function):
    """(x - mean) / std with the statistics of all processes; gradients flow through both.

    The all-reduce of the backward pass is what `torch.distributed.nn.functional.all_reduce` would
    do; that function is deprecated, and this form sends both sums at once.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor, *rest: Any) -> Tensor:
        count, eps, group = rest
        inv_std = (var + eps).rsqrt()
        normalized = (x - _per_channel(mean, x)) * _per_channel(inv_std, x)
        ctx.save_for_backward(normalized, inv_std, count)
        ctx.group = group
        return normalized

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        normalized, inv_std, count = ctx.saved_tensors
        axes = [axis for axis in range(grad.dim()) if axis != 1]
        sums = torch.stack([grad.sum(axes), (grad * normalized).sum(axes)])
        dist.all_reduce(sums, group=ctx.group)
        mean_grad, mean_dot = sums / count.clamp(min=1)
        grad_x = grad - _per_channel(mean_grad, grad) - normalized * _per_channel(mean_dot, grad)
        return grad_x * _per_channel(inv_std, grad), None, None, None, None, None


class CPUSyncBatchNorm(_BatchNorm):
    """Synchronised batch norm for tensors on the CPU, over gloo.

    Equal to ``nn.BatchNorm`` over the joined batch of all processes, in the forward pass, the
    running statistics and the gradient of the input; the gradients of weight and bias are of the
    local batch, for DDP to average. Batches may differ in size and be empty. Statistics are
    computed in float32 (float64 for float64 inputs) and the output has the input's dtype. In
    evaluation, or with one process, it is a plain batch norm. Not an ``nn.SyncBatchNorm``, because
    DDP refuses those on CPUs; the state dictionary is the same.

    Args:
        num_features: channels C.
        eps: added to the variance.
        momentum: weight of a batch in the running statistics; None for the mean of all batches.
        affine: learn a weight and a bias per channel.
        track_running_stats: keep running statistics for evaluation.
        process_group: the processes that share a batch; None for all.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.process_group = process_group

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[N, C, ...]``.

        Raises:
            ValueError: fewer than two axes, another number of channels, or, in training, a single
                value per channel in all processes together.
        """
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(f'expected [N, {self.num_features}, ...], got {list(input.shape)}')
        use_batch = self.training or self.running_mean is None
        group = self.process_group or dist.group.WORLD if dist.is_initialized() else None
        if not use_batch or group is None or dist.get_world_size(group) == 1:
            return self._local(input, use_batch)
        dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
        x = input.to(dtype)
        with torch.no_grad():
            mean, var, count = _joint_statistics(x, group)
        if count == 1:
            raise ValueError('batch norm needs more than one value per channel in training')
        if self.training and self.track_running_stats:
            self._update_running(mean, var, count)
        out = _NormalizeJointly.apply(x, mean, var, count, self.eps, group)
        if self.affine:
            out = out * _per_channel(self.weight.to(dtype), out)
            out = out + _per_channel(self.bias.to(dtype), out)
        return out.to(input.dtype)

    def _momentum(self) -> float:
        """Count the batch and return the weight of its statistics in the running ones."""
        self.num_batches_tracked.add_(1)
        return 1.0 / int(self.num_batches_tracked) if self.momentum is None else self.momentum

    def _local(self, x: Tensor, use_batch: bool) -> Tensor:
        track = self.training and self.track_running_stats
        momentum = self._momentum() if track else 0.0
        keep = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if keep else (None, None)
        return F.batch_norm(x, mean, var, self.weight, self.bias, use_batch, momentum, self.eps)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        if count == 0:
            return
        momentum = self._momentum()
        unbiased = var * count / (count - 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


def _cpu_twin(layer: nn.Module) -> CPUSyncBatchNorm:
    """The CPU layer that shares parameters and running statistics with a GPU-only one."""
    group = layer.process_group if isinstance(layer, nn.SyncBatchNorm) else layer.group
    twin = CPUSyncBatchNorm(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
        process_group=group,
    )
    twin._parameters.update(layer._parameters)
    twin._buffers.update(layer._buffers)
    twin.train(layer.training)
    return twin


def convert_sync_batchnorm_to_cpu(module: nn.Module) -> nn.Module:
    """Replace every synchronised batch norm (torch's or mmcv's) by ``CPUSyncBatchNorm``.

    Parameters and buffers are the same objects afterwards. mmcv's layer weighs processes equally
    by default, ours by their number of values.

    Args:
        module: a model on the CPU; its children are replaced in place.

    Returns:
        The model, or the new layer if ``module`` itself is a synchronised batch norm.
    """
    return _convert(module, {})


def _convert(module: nn.Module, twins: dict[nn.Module, CPUSyncBatchNorm]) -> nn.Module:
    """Depth first; ``twins`` keeps a layer that stands in several places one layer."""
    if isinstance(module, CPUSyncBatchNorm):
        return module
    if isinstance(module, (nn.SyncBatchNorm, MMSyncBatchNorm)):
        if module not in twins:
            twins[module] = _cpu_twin(module)
        return twins[module]
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _convert(child, twins)
    return module
