"""EM for two Gaussians in one launch: a program makes all iterations of one row."""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from nlkit.kernels.mixture.naive import EPS, Mixture

BLOCK = 1024
HALF_LOG_TWO_PI = tl.constexpr(0.5 * math.log(2 * math.pi))


@triton.jit
def log_joint(z, log_weight, mean, variance):
    return log_weight - 0.5 * ((z - mean) * (z - mean) / variance + tl.log(variance)) - HALF_LOG_TWO_PI


@triton.jit
def mixture_fwd_kernel(values, inside, high, settings, out, length, max_iter, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    tol, reg_covar, eps = tl.load(settings), tl.load(settings + 1), tl.load(settings + 2)
    none = tl.zeros([block], tl.float64)
    one = tl.full([], 1.0, tl.float64)
    log_w0, log_w1, mean0, mean1, var0, var1, count0, count1 = one, one, one, one, one, one, one, one
    before = tl.full([], float("-inf"), tl.float64)
    step = tl.full([], 0, tl.int32)
    while step <= max_iter:  # step 0 takes the hard assignment for responsibilities
        n0, n1, s0, s1, q0, q1, likelihood, real_ones = none, none, none, none, none, none, none, none
        for start in range(0, length, block):
            place = start + tl.arange(0, block)
            real = tl.load(inside + row * length + place, mask=place < length, other=0).to(tl.float64)
            z = tl.load(values + row * length + place, mask=place < length, other=0.0)
            upper = tl.load(high + row * length + place, mask=place < length, other=0).to(tl.float64)
            a, b = log_joint(z, log_w0, mean0, var0), log_joint(z, log_w1, mean1, var1)
            top = tl.maximum(a, b)
            total = top + tl.log(tl.exp(a - top) + tl.exp(b - top))
            r0 = real * tl.where(step == 0, 1 - upper, tl.exp(a - total))
            r1 = real * tl.where(step == 0, upper, tl.exp(b - total))
            n0, s0, q0 = n0 + r0, s0 + r0 * z, q0 + r0 * z * z
            n1, s1, q1 = n1 + r1, s1 + r1 * z, q1 + r1 * z * z
            likelihood, real_ones = likelihood + real * total, real_ones + real
        count0, count1 = tl.sum(n0) + eps, tl.sum(n1) + eps
        mean0, mean1 = tl.sum(s0) / count0, tl.sum(s1) / count1
        # sum r (z - m)^2 = sum r z^2 - 2 m sum r z + m^2 sum r: one pass, and float64 has digits to spare
        var0 = (tl.sum(q0) - 2 * mean0 * tl.sum(s0) + mean0 * mean0 * tl.sum(n0)) / count0 + reg_covar
        var1 = (tl.sum(q1) - 2 * mean1 * tl.sum(s1) + mean1 * mean1 * tl.sum(n1)) / count1 + reg_covar
        log_w0, log_w1 = tl.log(count0 / (count0 + count1)), tl.log(count1 / (count0 + count1))
        mean = tl.sum(likelihood) / tl.maximum(tl.sum(real_ones), 1.0)
        done = (step > 0) & (tl.abs(mean - before) < tol)
        before = tl.where(step > 0, mean, before)
        step = tl.where(done, max_iter, step) + 1
    swapped = mean1 < mean0
    tl.store(out + 6 * row, tl.where(swapped, count1, count0) / (count0 + count1))
    tl.store(out + 6 * row + 1, tl.where(swapped, count0, count1) / (count0 + count1))
    tl.store(out + 6 * row + 2, tl.where(swapped, mean1, mean0))
    tl.store(out + 6 * row + 3, tl.where(swapped, mean0, mean1))
    tl.store(out + 6 * row + 4, tl.where(swapped, var1, var0))
    tl.store(out + 6 * row + 5, tl.where(swapped, var0, var1))


def em(values: Tensor, inside: Tensor, high: Tensor, max_iter: int, tol: float, reg_covar: float) -> Mixture:
    rows, length = values.shape
    settings = torch.tensor([tol, reg_covar, EPS], dtype=torch.float64, device=values.device)
    out = torch.empty(rows, 3, 2, dtype=torch.float64, device=values.device)
    tables = (part.contiguous() for part in (values, inside, high))
    mixture_fwd_kernel[(rows,)](*tables, settings, out, length, max_iter, BLOCK)
    return Mixture(*out.unbind(dim=1))
