"""Nearest rows in one launch: a program keeps the k best of a block of queries while the bank passes by."""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS, DEPTH = 16, 64, 32


@triton.jit
def neighbours_fwd_kernel(
    queries, bank, out, count, size, width,
    most: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    own = (tl.program_id(0) * rows + tl.arange(0, rows)).to(tl.int64)
    # A candidate is one number: the closer, the larger, with its row in the lower half; -1 for none.
    best = tl.full([rows, most], -1, tl.int64)
    for start in range(0, size, columns):
        other = start + tl.arange(0, columns)
        products = tl.zeros([rows, columns], tl.float32)
        q_squares, b_squares = tl.zeros([rows], tl.float32), tl.zeros([columns], tl.float32)
        for begin in range(0, width, depth):
            axis = begin + tl.arange(0, depth)
            kept = axis[None, :] < width
            q_places = own[:, None] * width + axis[None, :]
            b_places = other[:, None].to(tl.int64) * width + axis[None, :]
            q = tl.load(queries + q_places, mask=(own[:, None] < count) & kept, other=0.0).to(tl.float32)
            b = tl.load(bank + b_places, mask=(other[:, None] < size) & kept, other=0.0).to(tl.float32)
            products = tl.dot(q, tl.trans(b), products, input_precision="ieee")
            q_squares, b_squares = q_squares + tl.sum(q * q, axis=1), b_squares + tl.sum(b * b, axis=1)
        squared = tl.maximum(q_squares[:, None] + b_squares[None, :] - 2 * products, 0.0)
        closeness = 0x7FFFFFFF - squared.to(tl.int32, bitcast=True)  # bits of floats that are not negative are in order
        found = (closeness.to(tl.int64) << 32) | other[None, :].to(tl.int64)
        found = tl.where(other[None, :] < size, found, -1)
        if tl.max(tl.max(found, axis=1) - tl.min(best, axis=1), axis=0) > 0:  # else no candidate is among the best
            # One list ascends, the other descends: the larger of each pair are the best of both.
            best = tl.sort(tl.maximum(best, tl.flip(tl.topk(found, most), 1)), descending=True)
    places = own[:, None] * most + tl.arange(0, most)[None, :]
    tl.store(out + places, best, mask=own[:, None] < count)


def nearest(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    most = triton.next_power_of_2(k)
    columns = max(COLUMNS, most)
    out = torch.empty(len(queries), most, dtype=torch.int64, device=queries.device)
    if len(queries):
        neighbours_fwd_kernel[(triton.cdiv(len(queries), ROWS),)](
            queries.contiguous(), bank.contiguous(), out, *queries.shape[:1], *bank.shape, most, ROWS, columns, DEPTH
        )
    best = out[:, :k]
    squared = (0x7FFFFFFF - (best >> 32)).to(torch.int32).view(torch.float32)
    return squared.sqrt(), best & 0xFFFFFFFF
