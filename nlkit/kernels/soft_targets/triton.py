"""Sharpened mean predictions in one launch."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 16


@triton.jit
def soft_targets_fwd_kernel(
    logits, labels, trust, out, temperature, count, classes,
    views: tl.constexpr, labelled: tl.constexpr, rows: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0) * rows + tl.arange(0, rows), tl.arange(0, wide)
    place = row[:, None] * classes + column[None, :]
    real = (row[:, None] < count) & (column[None, :] < classes)
    p = tl.zeros([rows, wide], tl.float32)
    for view in tl.static_range(views):
        z = tl.load(logits + view * count * classes + place, mask=real, other=float("-inf")).to(tl.float32)
        z = tl.where(row[:, None] < count, z, 0.0)  # no row is empty, or its maximum were no number
        e = tl.exp(z - tl.max(z, axis=1)[:, None])
        p += e / tl.sum(e, axis=1)[:, None] / views
    if labelled:
        label, w = tl.load(labels + row, mask=row < count, other=0), tl.load(trust + row, mask=row < count, other=0.0)
        one_hot = (label[:, None] == column[None, :]).to(tl.float32)
        p = w[:, None] * one_hot + (1 - w[:, None]) * p
    z = tl.where(real, tl.log(p) / temperature, float("-inf"))
    z = tl.where(row[:, None] < count, z, 0.0)
    e = tl.exp(z - tl.max(z, axis=1)[:, None])
    tl.store(out + place, e / tl.sum(e, axis=1)[:, None], mask=real)


def soft_targets(logits: Sequence[Tensor], temperature: float, labels: Tensor | None, w: Tensor | None) -> Tensor:
    stacked = torch.stack(tuple(logits)).contiguous()
    views, count, classes = stacked.shape
    out = torch.empty(count, classes, dtype=torch.float32, device=stacked.device)
    if count:
        labelled = labels is not None and w is not None
        soft_targets_fwd_kernel[(triton.cdiv(count, ROWS),)](
            stacked, labels if labelled else stacked, w if labelled else stacked, out, temperature, count, classes,
            views, labelled, ROWS, triton.next_power_of_2(classes),
        )  # fmt: skip
    return out
