"""Two-component Gaussian mixtures over per-sample losses: one over all, or one for each class, all classes at once."""

import math

import numpy as np

from nlkit.errors import NlkitError
from nlkit.kernels.mixture import Mixture, em
from nlkit.lazy import Tensor, torch
from nlkit.params.sections import MixtureParams


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


def fit_two_components(losses: Tensor | np.ndarray, params: MixtureParams | None = None) -> Tensor | np.ndarray:
    """P(clean) [N] of per-sample losses [N]: the posterior of the low-loss component (DivideMix, section 3.1).

    Losses are min-max normalised first. Constant or non-finite losses, which no mixture can separate,
    give 0.5 for every sample. The result has the type of the input. Raises NlkitError for what are no losses.
    """
    try:
        values = torch.as_tensor(np.ascontiguousarray(losses) if isinstance(losses, np.ndarray) else losses)
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
