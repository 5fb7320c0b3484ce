"""BatchNorm over the batches of all processes, on a CPU as well as on GPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as torch_dist
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum of what all processes have, and of the gradients that they get."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch_dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch_dist.all_reduce(total)
        return total


def _sum_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)
    return total


class SynchronizedBatchNorm(_BatchNorm):
    """What PyTorch's ``SyncBatchNorm`` is on GPUs, for any device.

    N processes with batches of B normalise as one would with a batch of N * B, and so
    do their running statistics. Arguments and state are those of ``nn.BatchNorm2d``.
    With one process, or in evaluation mode, it is ordinary BatchNorm.

    Shape: ``(n, c, ...)`` to the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalises over the batches of all processes."""
        is_shared = torch_dist.is_available() and torch_dist.is_initialized()
        if is_shared and self.training and torch_dist.get_world_size() > 1:
            return self._forward_shared(input)
        normalized: Tensor = super().forward(input)
        return normalized

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"input must be (n, c, ...), got {tuple(input.shape)}.")

    def _forward_shared(self, input: Tensor) -> Tensor:
        dtype = input.dtype
        if dtype in (torch.float16, torch.bfloat16):
            input = input.float()
        dims = [dim for dim in range(input.dim()) if dim != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        # Sums before counts are known would lose nothing, but in float32 the variance
        # needs the mean first: two rounds of messages.
        count = input.new_tensor([input.numel() / input.shape[1]])
        totals = torch.cat([input.sum(dims), count])
        totals = _sum_over_processes(totals)
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centered = input - mean.view(shape)
        squares = centered.square().sum(dims)
        variance = _sum_over_processes(squares) / count
        self._follow(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt()
        normalized: Tensor = centered * scale.view(shape)
        if self.weight is None:
            return normalized.to(dtype)
        weight, bias = self.weight.view(shape), self.bias.view(shape)
        return (normalized * weight + bias).to(dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Moves the running statistics."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # PyTorch's sign for a cumulative average
            share = 1 / float(self.num_batches_tracked)
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synchronize_batchnorm(
    module: nn.Module, device: torch.device | str = "cpu"
) -> nn.Module:
    """Replaces every BatchNorm layer in a module by one over all processes.

    By PyTorch's own ``SyncBatchNorm``, which is fast, where it runs: on GPUs. Elsewhere
    by a :class:`SynchronizedBatchNorm`. Parameters and buffers stay the same tensors,
    under the same names.

    Args:
        module: The module; it is changed, or replaced if it is a BatchNorm layer.
        device: Where the module is going to be trained.

    Returns:
        The module.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> _ = synchronize_batchnorm(network)
        >>> network[1]
        SynchronizedBatchNorm(3, eps=1e-05, momentum=0.1, affine=True, ...)
    """
    if torch.device(device).type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(  # type: ignore[no-untyped-call]
            module
        )
        return converted
    if isinstance(module, _BatchNorm) and not isinstance(module, SynchronizedBatchNorm):
        made = SynchronizedBatchNorm(
            module.num_features,
            module.eps,
            module.momentum,
            module.affine,
            module.track_running_stats,
        )
        for name in ("weight", "bias", "running_mean", "running_var"):
            setattr(made, name, getattr(module, name))
        made.num_batches_tracked = module.num_batches_tracked
        made.train(module.training)
        return made
    for name, child in module.named_children():
        setattr(module, name, synchronize_batchnorm(child))
    return module
