"""EM for two Gaussians, all rows at once, in plain PyTorch."""

import math
from typing import NamedTuple

import numpy as np

from nlkit.lazy import Tensor, torch

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


def em(values: Tensor, inside: Tensor, high: Tensor, max_iter: int, tol: float, reg_covar: float) -> Mixture:
    """See the operation's own docstring."""
    count = inside.sum(dim=1).clamp_min(1)
    found = _m_step(values, torch.stack([~high & inside, high & inside], dim=2).double(), reg_covar)
    bound = torch.full_like(found.means[:, 0], -math.inf)
    running = torch.ones_like(bound, dtype=torch.bool)
    for _ in range(max_iter):
        joint = found.log_joint(values)
        total = joint.logsumexp(dim=2)
        shares = (joint - total[..., None]).exp() * inside[..., None]
        better = _m_step(values, shares, reg_covar)
        found = Mixture(*(torch.where(running[:, None], *pair) for pair in zip(better, found, strict=True)))
        mean = (total * inside).sum(dim=1) / count
        running, bound = running & ~((mean - bound).abs() < tol), torch.where(running, mean, bound)
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
