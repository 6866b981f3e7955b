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
        """log(pi_k N(z_i; mu_k, sigma_k^2)) for values [N]; shape [2, N]."""
        weights, means, variances = (part[..., None] for part in self)
        squares = (z[..., None, :] - means).square_().div_(variances)
        return weights.log() - squares.add_(variances.log()).add_(math.log(2 * math.pi)).mul_(0.5)

    def p_clean(self, z: Tensor) -> Tensor:
        """Posterior [N] of the component with the smaller mean."""
        return self.log_joint(z.double()).softmax(dim=-2)[..., 0, :]


def em(values: Tensor, inside: Tensor, high: Tensor, max_iter: int, tol: float, reg_covar: float) -> Mixture:
    """See the operation's own docstring. Responsibilities are [K, 2, n], fast to compute with."""
    count = inside.sum(dim=1).clamp_min(1)
    found = _m_step(values, torch.stack([~high & inside, high & inside], dim=1).double(), reg_covar)
    bound = torch.full_like(found.means[:, 0], -math.inf)
    running = torch.ones_like(bound, dtype=torch.bool)
    for _ in range(max_iter):
        joint = found.log_joint(values)
        top = joint.amax(dim=1)
        total = (joint - top[:, None]).exp_().sum(dim=1).log_().add_(top)  # `logsumexp` takes longer
        shares = joint.sub_(total[:, None]).exp_().mul_(inside[:, None])
        better = _m_step(values, shares, reg_covar)
        found = Mixture(*(torch.where(running[:, None], *pair) for pair in zip(better, found, strict=True)))
        mean = (total * inside).sum(dim=1) / count
        running, bound = running & ~((mean - bound).abs() < tol), torch.where(running, mean, bound)
        if not bool(running.any()):
            break
    order = found.means.argsort(dim=1, stable=True)
    return Mixture(*(part.gather(1, order) for part in found))


def _m_step(values: Tensor, shares: Tensor, reg_covar: float) -> Mixture:
    """K mixtures from responsibilities [K, 2, n]."""
    count = _sums(shares) + EPS
    means = _sums(shares * values[:, None]) / count
    variances = _sums(shares * (values[:, None] - means[..., None]).square_()) / count + reg_covar
    return Mixture(count / count.sum(dim=1, keepdim=True), means, variances)


def _sums(parts: Tensor) -> Tensor:
    """Over the values of [K, 2, n], both components in turn: another order would change the last bits of records."""
    return parts.transpose(1, 2).contiguous().sum(dim=1)
