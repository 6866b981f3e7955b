"""Two-component Gaussian mixtures over per-sample losses, on the device that trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nlkit.params.sections import MixtureParams

EPS = 10 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Mixture:
    """Weights, means and variances [2] of the components, the smaller mean first; float64."""

    weights: Tensor
    means: Tensor
    variances: Tensor
    iterations: int
    converged: bool

    def log_joint(self, z: Tensor) -> Tensor:
        """log(pi_k N(z_i; mu_k, sigma_k^2)) for values [N]; shape [N, 2]."""
        squares = (z[:, None] - self.means) ** 2 / self.variances
        return self.weights.log() - 0.5 * (squares + self.variances.log() + math.log(2 * math.pi))

    def p_clean(self, z: Tensor) -> Tensor:
        """Posterior [N] of the component with the smaller mean."""
        return self.log_joint(z.double()).softmax(dim=1)[:, 0]


def normalise(losses: Tensor) -> Tensor | None:
    """Min-max normalised losses [N] in float64, or None where they are constant or not finite."""
    losses = losses.double()
    low, high = losses.min(), losses.max()
    if not bool(torch.isfinite(losses).all()) or float(high - low) < 1e-12:
        return None
    return (losses - low) / (high - low)


def two_means(z: Tensor) -> Tensor:
    """Exact one-dimensional 2-means: True [N] for the cluster with the larger mean.

    The best clustering is a cut of the sorted values; the cut with the largest between-cluster sum of
    squares is the one with the smallest within-cluster sum. At least two distinct values are needed.
    """
    ordered = z.double().sort().values
    n = torch.arange(1, len(z), device=z.device, dtype=torch.float64)
    left = ordered.cumsum(0)
    gain = left[:-1] ** 2 / n + (left[-1] - left[:-1]) ** 2 / (len(z) - n)
    gain = gain.masked_fill(ordered[1:] == ordered[:-1], -math.inf)
    return z.double() > ordered[gain.argmax()]


def fit_mixture(z: Tensor, params: MixtureParams, start: Tensor | None = None) -> Mixture:
    """EM for two Gaussians over values [N], from the hard assignment `start` [N] (default: `two_means`).

    The steps, the regularisation and the stopping rule are those of scikit-learn's GaussianMixture:
    stop when the mean log-likelihood changes by less than `tol`, or after `max_iter` iterations.
    """
    z = z.double()
    high = two_means(z) if start is None else start
    mixture = _m_step(z, torch.stack([~high, high], dim=1).double(), params.reg_covar)
    bound, converged, iterations = -math.inf, False, 0
    while not converged and iterations < params.max_iter:
        iterations += 1
        joint = mixture.log_joint(z)
        total = joint.logsumexp(dim=1)
        mixture = _m_step(z, (joint - total[:, None]).exp(), params.reg_covar)
        previous, bound = bound, float(total.mean())
        converged = abs(bound - previous) < params.tol
    order = mixture.means.argsort(stable=True)
    return Mixture(mixture.weights[order], mixture.means[order], mixture.variances[order], iterations, converged)


def _m_step(z: Tensor, responsibilities: Tensor, reg_covar: float) -> Mixture:
    count = responsibilities.sum(dim=0) + EPS
    means = (responsibilities * z[:, None]).sum(dim=0) / count
    variances = (responsibilities * (z[:, None] - means) ** 2).sum(dim=0) / count + reg_covar
    return Mixture(count / count.sum(), means, variances, 0, False)


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
