"""Contrastive losses whose memory grows with the number of anchors, not with its square."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Positives = Callable[[Tensor], Tensor]
"""Maps indices [r] of anchors to their positives among all n rows: a bool mask, or float weights, [r, n]."""


def supcon(z: Tensor, positives: Positives, temperature: float, chunk: int = 512) -> Tensor:
    """Contrastive loss of rows z [n, D] with any set of positives P_i for each anchor i; a scalar.

    Mean over anchors of -1/|P_i| sum_{p in P_i} log( exp(z_i.z_p / T) / sum_{a != i} exp(z_i.z_a / T) )
    (Khosla et al., NeurIPS 2020, "L_out"). An anchor is never its own positive; anchors without positives are
    left out, and the loss is 0 where no anchor has any. Weights in place of a mask make it a weighted mean over
    positives, with |P_i| the sum of the weights; they get no gradient. Similarities are made in float32 for `chunk`
    anchors at a time, and made again in the backward pass; `nlkit.kernels.contrastive` is the same in one piece.
    """
    return _Contrast.apply(z, positives, temperature, chunk)  # type: ignore[no-untyped-call]


def nt_xent(first: Tensor, second: Tensor, temperature: float, chunk: int = 512) -> Tensor:
    """NT-Xent of two views [B, D] of the same images, both directions, mean over the 2B anchors; a scalar.

    The denominator holds the positive and the 2B - 2 other rows (SimCLR, equation 1; TCL, L_ctr). Rows are
    used as they are: normalise them first.
    """
    rows = 2 * len(first)
    columns = torch.arange(rows, device=first.device)

    def other_view(index: Tensor) -> Tensor:
        return columns == ((index + len(first)) % rows)[:, None]

    return supcon(torch.cat([first, second]), other_view, temperature, chunk)


class _Contrast(torch.autograd.Function):
    """Keeps two numbers an anchor: the logarithm of its denominator and 1/|P_i|."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, positives: Positives, temperature: float, chunk: int) -> Tensor:
        """The loss; see `supcon`."""
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        total = wide.new_zeros(())
        log_sums, shares = wide.new_zeros(len(z)), wide.new_zeros(len(z))
        for rows, similar, chosen in _chunks(wide, positives, temperature, chunk):
            count = chosen.sum(dim=1)
            log_sums[rows] = similar.logsumexp(dim=1)
            shares[rows] = torch.where(count > 0, 1 / count, 0.0)
            similar = similar.masked_fill(chosen == 0, 0.0)
            pulled = (similar if chosen.dtype == torch.bool else similar * chosen).sum(dim=1) * shares[rows]
            total += (log_sums[rows] - pulled).masked_fill(count == 0, 0.0).sum()
        anchors = (shares > 0).sum().clamp_min(1)
        ctx.save_for_backward(z, log_sums, shares, anchors)
        ctx.settings = positives, temperature, chunk
        return total / anchors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        """d loss / d s_ia = (softmax_ia - [a in P_i] / |P_i|) / anchors, and s is symmetric in its two rows."""
        z, log_sums, shares, anchors = ctx.saved_tensors
        positives, temperature, chunk = ctx.settings
        wide = z.to(log_sums.dtype)
        scale = upstream / (anchors * temperature)
        gradient = torch.zeros_like(wide)
        for rows, similar, chosen in _chunks(wide, positives, temperature, chunk):
            share = shares[rows, None]
            pull = (similar - log_sums[rows, None]).exp() - chosen * share
            pull = pull.masked_fill(share == 0, 0.0) * scale
            with torch.autocast(z.device.type, enabled=False):
                gradient[rows] += pull @ wide
                gradient += pull.T @ wide[rows]
        return gradient.to(z.dtype), None, None, None


def _chunks(z: Tensor, positives: Positives, temperature: float, chunk: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each group of anchors: its rows, similarities [r, n] (-inf with itself) and positives [r, n]."""
    index = torch.arange(len(z), device=z.device)
    for start in range(0, len(z), chunk):
        rows = slice(start, min(start + chunk, len(z)))
        itself = index[rows, None] == index
        with torch.autocast(z.device.type, enabled=False):
            similar = (z[rows] @ z.T / temperature).masked_fill(itself, -torch.inf)
        yield rows, similar, positives(index[rows]).masked_fill(itself, 0)
