"""A two-component mixture for each class, all classes at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nlkit.params.sections import MixtureParams
from nlkit.parts.mixture import EPS


def p_clean_per_class(z: Tensor, labels: Tensor, classes: int, params: MixtureParams) -> Tensor:
    """P(clean) [N]: the posterior of the smaller mean in a mixture over the values z [N] of each observed class.

    The same as `nlkit.parts.mixture.fit_mixture` on one class after the other. A class with fewer than two distinct
    values, which no mixture can separate, gives 0.5.
    """
    order, inside = _rows_of_classes(labels, classes)
    values = z.double()[order] * inside
    high, fits = _two_means(values, inside)
    posterior = _em(values, inside, torch.stack([~high & inside, high & inside], dim=2).double(), params)
    posterior = torch.where(fits[:, None], posterior, 0.5)
    result = torch.zeros_like(labels, dtype=torch.float64)
    result[order[inside]] = posterior[inside]
    return result


def _rows_of_classes(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Indices [classes, n] of the samples of each class, and where they are real: classes differ in size."""
    counts = torch.bincount(labels, minlength=classes)
    inside = torch.arange(max(int(counts.max()), 1), device=labels.device) < counts[:, None]
    order = torch.zeros(inside.shape, dtype=torch.int64, device=labels.device)
    order[inside] = labels.argsort(stable=True)
    return order, inside


def _two_means(values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Exact 2-means of each row: True [classes, n] above the best cut, and the rows [classes] that have a cut."""
    ordered = values.masked_fill(~inside, math.inf).sort(dim=1).values
    finite = torch.where(ordered.isfinite(), ordered, 0.0)
    left = finite.cumsum(dim=1)
    total, count = left[:, -1:], inside.sum(dim=1, keepdim=True)
    n = torch.arange(1, values.shape[1], device=values.device, dtype=torch.float64)
    gain = left[:, :-1] ** 2 / n + (total - left[:, :-1]) ** 2 / (count - n).clamp_min(1)
    gain = gain.masked_fill((n >= count) | (ordered[:, 1:] == ordered[:, :-1]), -math.inf)
    if gain.shape[1] == 0:
        return torch.zeros_like(inside), torch.zeros_like(inside[:, 0])
    best, cut = gain.max(dim=1)
    return values > ordered.gather(1, cut[:, None]), best > -math.inf


def _em(values: Tensor, inside: Tensor, start: Tensor, params: MixtureParams) -> Tensor:
    """Posterior [classes, n] of the smaller mean; each class stops by itself, as in `fit_mixture`."""
    count = inside.sum(dim=1).clamp_min(1)
    weights, means, variances = _m_step(values, start, params.reg_covar)
    bound = torch.full_like(means[:, 0], -math.inf)
    running = torch.ones_like(bound, dtype=torch.bool)
    for _ in range(params.max_iter):
        joint = _log_joint(values, weights, means, variances)
        total = joint.logsumexp(dim=2)
        shares = (joint - total[..., None]).exp() * inside[..., None]
        news = _m_step(values, shares, params.reg_covar)
        weights, means, variances = (
            torch.where(running[:, None], new, old) for new, old in zip(news, (weights, means, variances), strict=True)
        )
        mean = (total * inside).sum(dim=1) / count
        running, bound = running & ((mean - bound).abs() >= params.tol), torch.where(running, mean, bound)
        if not bool(running.any()):
            break
    posterior = _log_joint(values, weights, means, variances).softmax(dim=2)
    return torch.where(means[:, :1] <= means[:, 1:], posterior[..., 0], posterior[..., 1])


def _log_joint(values: Tensor, weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    squares = (values[..., None] - means[:, None]) ** 2 / variances[:, None]
    return weights.log()[:, None] - 0.5 * (squares + variances.log()[:, None] + math.log(2 * math.pi))


def _m_step(values: Tensor, shares: Tensor, reg_covar: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and variances, each [classes, 2], of responsibilities [classes, n, 2]."""
    count = shares.sum(dim=1) + EPS
    means = (shares * values[..., None]).sum(dim=1) / count
    variances = (shares * (values[..., None] - means[:, None]) ** 2).sum(dim=1) / count + reg_covar
    return count / count.sum(dim=1, keepdim=True), means, variances
