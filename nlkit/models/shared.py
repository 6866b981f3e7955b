"""Layers that look beyond their own row, for a batch that is shared out over processes (`nlkit/parallel.py`)."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from nlkit import parallel


class Total(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        """The sum."""
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients."""
        return Total.forward(context, gradients[0])


class SharedNorm(nn.BatchNorm2d):
    """Batch norm whose statistics in a shared pass are those of the rows of all processes, or of all of one part."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, x: Tensor) -> Tensor:
        """The same as batch norm of the whole batch, for the own rows [b, C, ...] of it."""
        if parallel.shared_rows() is None or not self.training:
            return super().forward(x)
        over = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x.float(), over, correction=0)
        count = x.new_full((1,), x.numel() // x.shape[1], dtype=torch.float64)
        sums = count * mean.double(), count * (variance.double() + mean.double() ** 2), count
        first, second, count = Total.apply(torch.cat(sums)).split([len(mean), len(mean), 1])
        mean, variance = first / count, second / count - (first / count) ** 2
        self._remember(mean, variance * count / (count - 1))
        scale = (variance + self.eps).rsqrt().float() * self.weight
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x * scale.view(shape) + (self.bias - mean.float() * scale).view(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean.float(), self.momentum)
        self.running_var.lerp_(variance.float(), self.momentum)
        self.num_batches_tracked.add_(1)


class SharedDropout(nn.Dropout):
    """Dropout that draws for all rows, as one process would, and takes those that are its own."""

    def forward(self, x: Tensor) -> Tensor:
        """The own rows [b, ...] after dropout."""
        if (rows := parallel.shared_rows()) is None or not self.training:
            return super().forward(x)
        index, total = rows
        return x * functional.dropout(x.new_ones(total, *x.shape[1:]), self.p)[index]


def for_shares(net: nn.Module) -> nn.Module:
    """The same network, whose batch norms and dropouts know of the other processes; names and values stay."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.__class__ = SharedNorm
        elif isinstance(module, nn.Dropout):
            module.__class__ = SharedDropout
    return net
