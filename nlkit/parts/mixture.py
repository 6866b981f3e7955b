"""Two-component Gaussian mixtures over per-sample losses: one over all, or one for each class, all classes at once."""

import math
from typing import NamedTuple

import numpy as np

from nlkit.lazy import Tensor, torch
from nlkit.params.sections import MixtureParams

EPS = float(10 * np.finfo(np.float64).eps)


class Mixture(NamedTuple):
    """Weights, means and variances [2] of the components, the smaller mean first; float64.

    Or [K, 2] of K mixtures, whose values are rows [K, N].
    """

    weights: Tensor
    means: Tensor
    variances: Tensor

    def log_joint(self, z: Tensor) -> Tensor:
        """log(pi_k N(z_i; mu_k, sigma_k^2)) for values [N]; shape [N, 2]."""
        weights, means, variances = (part.unsqueeze(-2) for part in self)
        squares = (z[..., None] - means) ** 2 / variances
        return weights.log() - 0.5 * (squares + variances.log() + math.log(2 * math.pi))

    def p_clean(self, z: Tensor) -> Tensor:
        """Posterior [N] of the component with the smaller mean."""
        return self.log_joint(z.double()).softmax(dim=-1)[..., 0]


def mixture_row(prefix: str, mixture: Mixture | None) -> dict[str, list[float] | None]:
    """What the row of an epoch tells of a mixture, `<prefix>_weights` and so on."""
    parts = (None, None, None) if mixture is None else (part.tolist() for part in mixture)
    return {f"{prefix}_{name}": part for name, part in zip(Mixture._fields, parts, strict=True)}


def normalise(losses: Tensor) -> Tensor | None:
    """Min-max normalised losses [N] in float64, or None where they are constant or not finite."""
    losses = losses.double()
    low, high = losses.min(), losses.max()
    if not bool(torch.isfinite(losses).all()) or float(high - low) < 1e-12:
        return None
    return (losses - low) / (high - low)


def fit_mixture(z: Tensor, params: MixtureParams) -> Mixture:
    """EM for two Gaussians over values [N], from the hard assignment of `two_means`.

    The steps, the regularisation and the stopping rule are those of scikit-learn's GaussianMixture:
    stop when the mean log-likelihood changes by less than `tol`, or after `max_iter` iterations.
    """
    values, inside = z.double()[None], torch.ones_like(z, dtype=torch.bool)[None]
    found = _em(values, inside, two_means(values, inside)[0], params)
    return Mixture(*(part[0] for part in found))


def p_clean_per_class(z: Tensor, labels: Tensor, classes: int, params: MixtureParams) -> Tensor:
    """P(clean) [N] of values z [N], as `fit_mixture` on the values of one observed class after the other.

    A class with fewer than two distinct values, which no mixture can separate, gives 0.5.
    """
    order, inside = _rows_of_classes(labels, classes)
    values = z.double()[order] * inside
    high, fits = two_means(values, inside)
    found = _em(values, inside, high, params)
    posterior = torch.where(fits[:, None], found.p_clean(values), 0.5)
    result = torch.zeros_like(labels, dtype=torch.float64)
    result[order[inside]] = posterior[inside]
    return result


def fit_two_components(losses: Tensor | np.ndarray, params: MixtureParams | None = None) -> Tensor | np.ndarray:
    """P(clean) [N] of per-sample losses [N]: the posterior of the low-loss component (DivideMix, section 3.1).

    Losses are min-max normalised first. Constant or non-finite losses, which no mixture can separate,
    give 0.5 for every sample. The result has the type of the input.
    """
    values = torch.as_tensor(np.ascontiguousarray(losses) if isinstance(losses, np.ndarray) else losses)
    z = normalise(values)
    if z is None:
        result = torch.full(values.shape, 0.5, dtype=torch.float64, device=values.device)
    else:
        result = fit_mixture(z, params or MixtureParams()).p_clean(z)
    return result.numpy() if isinstance(losses, np.ndarray) else result


def _rows_of_classes(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Indices [classes, n] of the samples of each class, and where they are real: classes differ in size."""
    counts = torch.bincount(labels, minlength=classes)
    inside = torch.arange(max(int(counts.max()), 1), device=labels.device) < counts[:, None]
    order = torch.zeros(inside.shape, dtype=torch.int64, device=labels.device)
    order[inside] = labels.argsort(stable=True)
    return order, inside


def two_means(values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Exact one-dimensional 2-means of each row of values [K, n], of which those `inside` [K, n] are real.

    True [K, n] for the cluster with the larger mean, and the rows [K] that have two. The best clustering is a cut of
    the sorted values; the cut with the largest between-cluster sum of squares has the smallest within-cluster one.
    """
    ordered = values.masked_fill(~inside, math.inf).sort(dim=1).values
    left = torch.where(ordered.isfinite(), ordered, 0.0).cumsum(dim=1)
    total, count = left[:, -1:], inside.sum(dim=1, keepdim=True)
    n = torch.arange(1, values.shape[1], device=values.device, dtype=torch.float64)
    gain = left[:, :-1] ** 2 / n + (total - left[:, :-1]) ** 2 / (count - n).clamp_min(1)
    gain = gain.masked_fill((n >= count) | (ordered[:, 1:] == ordered[:, :-1]), -math.inf)
    if gain.shape[1] == 0:
        return torch.zeros_like(inside), torch.zeros_like(inside[:, 0])
    best, cut = gain.max(dim=1)
    return values > ordered.gather(1, cut[:, None]), best > -math.inf


def _em(values: Tensor, inside: Tensor, high: Tensor, params: MixtureParams) -> Mixture:
    """EM for each row of values [K, n] by itself, from the assignment `high` [K, n]; those `inside` [K, n] are real."""
    count = inside.sum(dim=1).clamp_min(1)
    found = _m_step(values, torch.stack([~high & inside, high & inside], dim=2).double(), params.reg_covar)
    bound = torch.full_like(found.means[:, 0], -math.inf)
    running = torch.ones_like(bound, dtype=torch.bool)
    for _ in range(params.max_iter):
        joint = found.log_joint(values)
        total = joint.logsumexp(dim=2)
        shares = (joint - total[..., None]).exp() * inside[..., None]
        better = _m_step(values, shares, params.reg_covar)
        found = Mixture(*(torch.where(running[:, None], *pair) for pair in zip(better, found, strict=True)))
        mean = (total * inside).sum(dim=1) / count
        running, bound = running & ~((mean - bound).abs() < params.tol), torch.where(running, mean, bound)
        if not bool(running.any()):
            break
    order = found.means.argsort(dim=1, stable=True)
    return Mixture(*(part.gather(1, order) for part in found))


def _m_step(values: Tensor, shares: Tensor, reg_covar: float) -> Mixture:
    """K mixtures from responsibilities [K, n, 2]."""
    count = shares.sum(dim=1) + EPS
    means = (shares * values[..., None]).sum(dim=1) / count
    variances = (shares * (values[..., None] - means[:, None]) ** 2).sum(dim=1) / count + reg_covar
    return Mixture(count / count.sum(dim=1, keepdim=True), means, variances)
