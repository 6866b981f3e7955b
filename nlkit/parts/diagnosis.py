"""Label diagnosis of TCL: a mixture over representations, whose posterior of the given label tells clean from wrong."""

from dataclasses import dataclass
from typing import Literal

from nlkit.lazy import Tensor, functional, torch
from nlkit.params.registry import MethodParams
from nlkit.params.sections import MixtureParams, PositiveFloat
from nlkit.parts.mixture import Mixture, fit_mixture, normalise, p_clean_per_class

BLOCK = 8192


class DiagnosisParams(MethodParams):
    """How labels are diagnosed: `temperature` is tau, `sigma_mode` takes it for every spread or those of equation 4."""

    temperature: PositiveFloat = 0.25
    sigma_mode: Literal["tau", "per_class"] = "tau"
    mixture_per: Literal["set", "class"] = "set"
    mixture: MixtureParams = MixtureParams(max_iter=100, tol=1e-3, reg_covar=1e-6)


@dataclass(frozen=True)
class Diagnosis:
    """What the method believes between two epochs, for N samples and C classes."""

    prototypes: Tensor  # mu, unit rows [C, D]
    w: Tensor  # P(clean) [N] in float32
    score: Tensor | None = None  # 1 - posterior of the given label, stretched to [0, 1], float64 [N], if it can be
    mixture: Mixture | None = None  # over the scores of the whole set


def diagnose(v: Tensor, p: Tensor, labels: Tensor, method: DiagnosisParams) -> Diagnosis:
    """Judge the observed labels [N] from unit representations v [N, D] and predictions p [N, C].

    M-step with p as responsibilities, posterior of the given label, and two Gaussians over its negative (label
    diagnosis of the official code; equations 3, 4 and 7 of the paper).
    Where the score cannot be separated every label gets w = 0.5.
    """
    mu = prototypes(v, p)
    sigma = spreads(v, p, mu) if method.sigma_mode == "per_class" else torch.full_like(mu[:, 0], method.temperature)
    score = normalise(-posterior_of(v, labels, mu, sigma))
    if score is None or len(labels) < 2:
        return Diagnosis(mu, torch.full_like(v[:, 0], 0.5))
    if method.mixture_per == "class":
        return Diagnosis(mu, p_clean_per_class(score, labels, p.shape[1], method.mixture).float(), score)
    mixture = fit_mixture(score, method.mixture)
    return Diagnosis(mu, mixture.p_clean(score).float(), score, mixture)


def prototypes(v: Tensor, p: Tensor) -> Tensor:
    """mu_k = sum_i p_ik v_i, made unit length: rows [C, D] from v [N, D] and p [N, C] (equation 3).

    Dividing by sum_i p_ik first, as the paper does, changes nothing: it is one positive number a class.
    """
    return functional.normalize(p.T @ v, dim=1)


def spreads(v: Tensor, p: Tensor, mu: Tensor) -> Tensor:
    """sigma_k = sum_i p_ik |v_i - mu_k|^2 / sum_i p_ik for unit v [N, D] and mu [C, D]; shape [C] (equation 4).

    Since all vectors have length one this is 2 - 2 mu_k . (sum_i p_ik v_i) / sum_i p_ik; at least 1e-4.
    """
    mean = (p.T @ v) / p.sum(dim=0).clamp_min(1e-12)[:, None]
    return (2 - 2 * (mu * mean).sum(dim=1)).clamp_min(1e-4)


def posterior(v: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """gamma [N, C]: softmax over k of -|v_i - mu_k|^2 / (2 sigma_k), for unit v [N, D], mu [C, D], sigma [C].

    With one sigma for all classes this is softmax(v mu^T / sigma), the form of the official code (equation 7).
    """
    return ((v @ mu.T - 1) / sigma).softmax(dim=1)


def posterior_of(v: Tensor, labels: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """gamma_{i, y_i} [N], block by block, so that gamma [N, C] never exists as a whole."""
    blocks = zip(v.split(BLOCK), labels.split(BLOCK), strict=True)
    return torch.cat([posterior(part, mu, sigma).gather(1, y[:, None])[:, 0] for part, y in blocks])


def similarities(v: Tensor, labels: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """v_i . mu of the given label's class, and the largest v_i . mu_k of any other class; both [N]."""
    similar = v @ mu.T
    own = similar.gather(1, labels[:, None])
    return own[:, 0], similar.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
