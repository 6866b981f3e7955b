"""Two-component Gaussian mixtures over per-sample losses, and label diagnosis, TCL's mixture over representations."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from nlkit.errors import NlkitError
from nlkit.kernels.mixture import Mixture, em
from nlkit.lazy import Tensor, functional, torch
from nlkit.params.registry import MethodParams
from nlkit.params.sections import MixtureParams, PositiveFloat

BLOCK = 8192  # samples whose posteriors exist at the same time


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
    """EM for two Gaussians over values [N] from the hard assignment of `two_means`, as scikit-learn has it."""
    values, inside = z.double()[None], torch.ones_like(z, dtype=torch.bool)[None]
    high, _ = two_means(values, inside)
    return Mixture(*(part[0] for part in em(values, inside, high, params.max_iter, params.tol, params.reg_covar)))


def p_clean_per_class(z: Tensor, labels: Tensor, classes: int, params: MixtureParams) -> Tensor:
    """P(clean) [N] of values z [N], as `fit_mixture` on the values of one observed class after the other.

    A class with fewer than two distinct values, which no mixture can separate, gives 0.5.
    """
    order, inside = _rows_of_classes(labels, classes)
    values = z.double()[order] * inside
    high, fits = two_means(values, inside)
    found = em(values, inside, high, params.max_iter, params.tol, params.reg_covar)
    posterior = torch.where(fits[:, None], found.p_clean(values), 0.5)
    result = torch.zeros_like(labels, dtype=torch.float64)
    result[order[inside]] = posterior[inside]
    return result


def fit_two_components(
    losses: Tensor | np.ndarray | Sequence[float], params: MixtureParams | None = None
) -> Tensor | np.ndarray:
    """P(clean) [N] of per-sample losses [N]: the posterior of the low-loss component (DivideMix, section 3.1).

    Losses are min-max normalised first. Constant or non-finite losses, which no mixture can separate,
    give 0.5 for every sample. An array gives an array; all else, such as a list or a column of pandas, gives a tensor.
    Raises NlkitError for what are no losses.
    """
    try:
        values = torch.as_tensor(losses if isinstance(losses, torch.Tensor) else np.array(losses, order="C"))
    except (TypeError, ValueError, RuntimeError) as error:
        raise NlkitError(f"fit_two_components: expected losses [N], not {losses!r:.80} ({error})") from None
    if values.ndim != 1 or not len(values):
        raise NlkitError(f"fit_two_components: losses have the shape {tuple(values.shape)}; expected [N] with N > 0")
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


class DiagnosisParams(MethodParams):
    """How labels are diagnosed: `temperature` is tau, `sigma_mode` takes it for every spread or those of equation 4."""

    temperature: PositiveFloat = 0.25
    sigma_mode: Literal["tau", "per_class"] = "tau"
    mixture_per: Literal["set", "class"] = "set"
    mixture: MixtureParams = MixtureParams(max_iter=100, tol=1e-3, reg_covar=1e-6)


class Diagnosis(NamedTuple):
    """What the method believes between two epochs, for N samples and C classes."""

    prototypes: Tensor  # mu, unit rows [C, D]
    w: Tensor  # P(clean) [N] in float32
    score: Tensor | None = None  # 1 - posterior of the given label, stretched to [0, 1], float64 [N], if it can be
    mixture: Mixture | None = None  # over the scores of the whole set


def diagnose(v: Tensor, p: Tensor, labels: Tensor, method: DiagnosisParams) -> Diagnosis:
    """Judge the observed labels [N] from unit representations v [N, D] and predictions p [N, C].

    M-step with p as responsibilities, posterior of the given label, and two Gaussians over its negative (equations 3, 4
    and 7; the official code). Where the score cannot be separated every label gets w = 0.5.
    """
    mu = prototypes(v, p)
    sigma = spreads(v, p, mu) if method.sigma_mode == "per_class" else torch.full_like(mu[:, 0], method.temperature)
    score = normalise(-posterior_of(v, labels, mu, sigma))
    if score is None:
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
