"""The losses of MixMatch in one launch, their gradient in another."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 64
LEAST = 1e-8


@triton.jit
def softmax(logits, row, count, classes, wide: tl.constexpr):
    """Log-probabilities and probabilities [rows, wide] of rows of logits; 0 beyond the matrix."""
    column = tl.arange(0, wide)
    real = (row[:, None] < count) & (column[None, :] < classes)
    z = tl.load(logits + row[:, None] * classes + column[None, :], mask=real, other=float("-inf")).to(tl.float32)
    z = tl.where(row[:, None] < count, z, 0.0)  # no row is empty, or its maximum were no number
    z = z - tl.max(z, axis=1)[:, None]
    log_p = z - tl.log(tl.sum(tl.exp(z), axis=1))[:, None]
    return tl.where(real, log_p, 0.0), tl.where(real, tl.exp(log_p), 0.0)


@triton.jit
def soft_losses_fwd_kernel(
    logits, targets, losses, means, labelled, count, classes, least, rows: tl.constexpr, wide: tl.constexpr
):
    column = tl.arange(0, wide)
    inside = column < classes
    loss_x, loss_u, total = tl.zeros([rows], tl.float32), tl.zeros([rows], tl.float32), tl.zeros([wide], tl.float32)
    for start in range(0, count, rows):
        row = start + tl.arange(0, rows)
        log_p, p = softmax(logits, row, count, classes, wide)
        real = (row[:, None] < count) & inside[None, :]
        t = tl.load(targets + row[:, None] * classes + column[None, :], mask=real, other=0.0)
        loss_x -= tl.where(row < labelled, tl.sum(t * log_p, axis=1), 0.0)
        loss_u += tl.where(row >= labelled, tl.sum((p - t) * (p - t), axis=1), 0.0)
        total += tl.sum(p, axis=0)
    mean = total / count
    tl.store(means + column, mean, mask=inside)
    kept = tl.where(inside, tl.maximum(mean, least), 1.0)
    tl.store(losses, tl.sum(loss_x) / labelled)
    tl.store(losses + 1, tl.sum(loss_u) / (tl.maximum(count - labelled, 1) * classes))
    tl.store(losses + 2, -(tl.sum(tl.log(kept)) / classes + tl.log(classes.to(tl.float32))))


@triton.jit
def soft_losses_bwd_kernel(
    logits, targets, means, upstream, out, labelled, count, classes, least, rows: tl.constexpr, wide: tl.constexpr
):
    column = tl.arange(0, wide)
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    _, p = softmax(logits, row, count, classes, wide)
    place = row[:, None] * classes + column[None, :]
    real = (row[:, None] < count) & (column[None, :] < classes)
    t = tl.load(targets + place, mask=real, other=0.0)
    mean = tl.load(means + column, mask=column < classes, other=1.0)
    by_x, by_u, by_reg = tl.load(upstream), tl.load(upstream + 1), tl.load(upstream + 2)
    # L_x: (p sum t - t) / rows
    grad_x = by_x * (p * tl.sum(t, axis=1)[:, None] - t) / labelled
    # dL/dp of the other two; through the softmax dz = p (dp - sum p dp)
    by_square = by_u * 2 * (p - t) / (tl.maximum(count - labelled, 1) * classes)
    by_mean = tl.where(mean > least, -by_reg / (mean * classes * count), 0.0)
    by_p = tl.where(row[:, None] < labelled, 0.0, by_square) + by_mean[None, :]
    grad = p * (by_p - tl.sum(p * by_p, axis=1)[:, None]) + tl.where(row[:, None] < labelled, grad_x, 0.0)
    tl.store(out + place, grad, mask=real)


class SoftLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, rows: int) -> tuple[Tensor, ...]:
        count, classes = logits.shape
        logits, targets = logits.contiguous(), targets.float().contiguous()
        losses, means = (torch.empty(size, dtype=torch.float32, device=logits.device) for size in (3, classes))
        sizes = rows, count, classes, LEAST, ROWS, triton.next_power_of_2(classes)
        soft_losses_fwd_kernel[(1,)](logits, targets, losses, means, *sizes)
        ctx.save_for_backward(logits, targets, means)
        ctx.sizes = sizes
        return losses.unbind()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, means = ctx.saved_tensors
        out = torch.empty_like(logits, dtype=torch.float32)
        grid = (triton.cdiv(len(logits), ROWS),)
        soft_losses_bwd_kernel[grid](logits, targets, means, torch.stack(upstream), out, *ctx.sizes)
        return out.to(logits.dtype), None, None


def soft_losses(logits: Tensor, targets: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    return SoftLosses.apply(logits, targets, rows)
