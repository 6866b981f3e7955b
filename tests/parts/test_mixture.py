"""Mixtures of two components against scikit-learn's, also class by class; and the label diagnosis of TCL."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.mixture import GaussianMixture
from tiny import stream
from torch import Tensor
from torch.nn import functional

from nlkit.params.sections import MixtureParams
from nlkit.parts import mixture
from nlkit.parts.mixture import (
    DiagnosisParams,
    diagnose,
    fit_mixture,
    fit_two_components,
    normalise,
    p_clean_per_class,
    posterior,
    prototypes,
    spreads,
    two_means,
)

PARAMS = MixtureParams()
LONG = MixtureParams(max_iter=100, tol=1e-3, reg_covar=1e-6)


def draw(rng: np.random.Generator, separated: bool) -> Tensor:
    """Values of two components, min-max normalised; their number is log-uniform between 50 and 50,000."""
    count = int(np.exp(rng.uniform(np.log(50), np.log(50_000))))
    low = int(count * rng.uniform(0.1, 0.9))
    gap, spread = (rng.uniform(0.5, 0.9), 0.08) if separated else (rng.uniform(0.1, 0.3), 0.25)
    values = np.concatenate([rng.normal(0, 0.05, low), rng.normal(gap, spread, count - low)])
    z = normalise(torch.from_numpy(values))
    assert z is not None
    return z


def upper(z: Tensor) -> Tensor:
    """True for the cluster with the larger mean."""
    return two_means(z[None], torch.ones_like(z, dtype=torch.bool)[None])[0][0]


def assert_like_scikit_learn(z: Tensor, params: MixtureParams) -> None:
    """P(clean), and so the stopping rule, is scikit-learn's from the M-step of the same hard assignment."""
    high = upper(z)
    parts = [z[~high].numpy(), z[high].numpy()]
    variances = np.array([part.var() + params.reg_covar for part in parts])
    theirs = GaussianMixture(
        n_components=2, max_iter=params.max_iter, tol=params.tol, reg_covar=params.reg_covar,
        weights_init=np.array([len(part) / len(z) for part in parts]),
        means_init=np.array([[part.mean()] for part in parts]),
        precisions_init=(1 / variances).reshape(2, 1, 1),
    ).fit(z.numpy()[:, None])  # fmt: skip
    expected = theirs.predict_proba(z.numpy()[:, None])[:, theirs.means_.argmin()]
    np.testing.assert_allclose(fit_mixture(z, params).p_clean(z), expected, atol=1e-6, err_msg=f"{len(z)} values")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("separated", [False, True])
def test_p_clean_equals_scikit_learn_from_the_same_start(separated: bool) -> None:
    rng = np.random.default_rng(11)
    for _ in range(100):
        assert_like_scikit_learn(draw(rng, separated), PARAMS)
    others = [MixtureParams(max_iter=n, tol=tol, reg_covar=1e-3) for n, tol in ((1, 1e-2), (3, 0.0), (200, 1e-9))]
    for params in (LONG, *others):
        assert_like_scikit_learn(draw(np.random.default_rng(5), separated), params)


def within_squares(z: np.ndarray, high: np.ndarray) -> float:
    return sum(float(((part - part.mean()) ** 2).sum()) for part in (z[high], z[~high]) if len(part))


@pytest.mark.parametrize("count", [2, 3, 7, 11])
def test_two_means_is_the_best_of_all_bipartitions(count: int) -> None:
    """With few digits some values are equal; they stay together."""
    rng = np.random.default_rng(count)
    for digits in (1, 2, 12):
        z = np.round(rng.random(count), digits)
        if len(np.unique(z)) < 2:
            continue
        best = min(within_squares(z, np.array(cut)) for cut in itertools.product([False, True], repeat=count))
        found = upper(torch.from_numpy(z)).numpy()
        assert within_squares(z, found) == pytest.approx(best, abs=1e-12)
        assert z[found].min() > z[~found].max()


@pytest.mark.parametrize("seed", range(3))
def test_p_clean_follows_the_order_of_losses_and_not_their_unit(seed: int) -> None:
    losses = draw(np.random.default_rng(seed), separated=False)
    order, expected = torch.randperm(len(losses)), fit_two_components(losses)
    torch.testing.assert_close(fit_two_components(losses[order]), expected[order], rtol=0, atol=1e-9)
    torch.testing.assert_close(fit_two_components(5 + 3 * losses), expected, rtol=0, atol=1e-9)
    single = losses.float()
    for kept in (losses.clone(), single):
        from_numpy, from_tensor = fit_two_components(kept.numpy()), fit_two_components(kept)
        assert isinstance(from_numpy, np.ndarray) and isinstance(from_tensor, Tensor)
        np.testing.assert_array_equal(from_numpy, from_tensor.numpy())
        assert torch.equal(fit_two_components(pd.Series(kept.numpy())[1:]), fit_two_components(kept[1:]))
    assert torch.equal(single, losses.float())


@pytest.mark.parametrize("losses", [[1.0, 1.0, 1.0], [2.0], [1.0, np.nan, 2.0], [1.0, np.inf, 2.0], [1.0, 1.0 + 1e-13]])
def test_constant_and_non_finite_losses_give_one_half(losses: list[float]) -> None:
    values = torch.tensor(losses, dtype=torch.float64)
    assert normalise(values) is None
    assert fit_two_components(values).tolist() == [0.5] * len(losses)
    assert isinstance(fit_two_components(values.numpy()), np.ndarray)


def draw_classes(counts: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Values in 0..1 of two humps that lie elsewhere in each class, in random order."""
    rng = np.random.default_rng(seed)
    values, labels = [], []
    for number, count in enumerate(counts):
        low = int(count * rng.uniform(0.3, 0.7))
        gap = rng.uniform(0.1, 0.6)
        values += [*rng.normal(0.1, 0.04, low), *rng.normal(0.1 + gap, 0.08, count - low)]
        labels += [number] * count
    order = torch.from_numpy(rng.permutation(len(values)))
    return torch.tensor(values).clamp(0, 1)[order], torch.tensor(labels)[order]


HUNDRED = [int(count) for count in np.random.default_rng(1).integers(380, 620, 100)]


@pytest.mark.parametrize("params", [LONG, PARAMS, MixtureParams(max_iter=1), MixtureParams(tol=0)])
@pytest.mark.parametrize("counts", [[200, 37, 500, 64], [300], [3, 2, 100, 5], HUNDRED], ids=len)
def test_all_classes_at_once_are_as_one_after_the_other(counts: list[int], params: MixtureParams) -> None:
    z, labels = draw_classes(counts)
    found = p_clean_per_class(z, labels, len(counts), params)
    for number in range(len(counts)):
        mine = z[labels == number]
        expected = fit_mixture(mine, params).p_clean(mine)
        torch.testing.assert_close(found[labels == number], expected, atol=1e-9, rtol=0)


def test_classes_that_cannot_be_separated_give_one_half() -> None:
    z = torch.tensor([0.1, 0.9, 0.4, 0.4, 0.4, 0.7])
    labels = torch.tensor([0, 0, 1, 1, 1, 3])  # class 2 has no sample, class 3 one, class 1 equal ones
    ours = p_clean_per_class(z, labels, 4, LONG)
    assert ours[2:].tolist() == [0.5] * 4
    assert float(ours[0]) > 0.99 and float(ours[1]) < 0.01
    assert p_clean_per_class(torch.tensor([0.3]), torch.tensor([1]), 2, LONG).tolist() == [0.5]


N, C, D, TAU = 500, 5, 12, 0.25


def clusters(seed: int = 0, wrong: float = 0.4, noise: float = 0.12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit rows around the axes of their true class, predictions, observed labels, and which labels are right."""
    true = torch.arange(N) % C
    v = torch.eye(C, D)[true] + noise * torch.randn(N, D, generator=stream(seed))
    flip = torch.rand(N, generator=stream(seed + 1)) < wrong
    labels = torch.where(flip, (true + 1 + torch.arange(N) // C % (C - 1)) % C, true)
    p = (3 * torch.eye(C)[true] + torch.randn(N, C, generator=stream(seed + 2))).softmax(dim=1)
    return functional.normalize(v, dim=1), p, labels, labels == true


def test_prototypes_are_unit_sums_by_prediction_and_similarities_are_with_the_own_one_and_the_nearest_other() -> None:
    v, p, labels, _ = clusters()
    mu = prototypes(v, p)
    for k in range(C):
        total = sum((p[i, k] * v[i] for i in range(N)), torch.zeros(D))
        torch.testing.assert_close(mu[k], total / total.norm(), atol=1e-5, rtol=0)
    factors = torch.tensor([0.1, 1.0, 3.0, 7.0, 0.5])
    torch.testing.assert_close(prototypes(v, p * factors), mu, atol=1e-6, rtol=0)
    own, other = mixture.similarities(v, labels, mu)
    for i in range(len(v)):
        similar = [float(v[i] @ centre) for centre in mu]
        assert float(own[i]) == pytest.approx(similar.pop(int(labels[i])), abs=1e-5)
        assert float(other[i]) == pytest.approx(max(similar), abs=1e-5)


def test_classes_are_gaussians_around_their_prototypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one spread for all the posterior is a softmax over similarities, whole or in blocks of rows."""
    v, p, labels, _ = clusters()
    mu = prototypes(v, p)
    sigma, equal = spreads(v, p, mu), torch.full((C,), TAU)
    squares = ((v[:, None] - mu) ** 2).sum(dim=2)
    torch.testing.assert_close(sigma, (p * squares).sum(dim=0) / p.sum(dim=0), atol=1e-5, rtol=0)
    for one in (sigma, equal):
        density = (-squares / (2 * one)).exp()
        torch.testing.assert_close(posterior(v, mu, one), density / density.sum(dim=1, keepdim=True), atol=1e-5, rtol=0)
    expected = (v @ mu.T / TAU).softmax(dim=1)
    torch.testing.assert_close(posterior(v, mu, equal), expected, atol=1e-6, rtol=0)
    monkeypatch.setattr(mixture, "BLOCK", 77)
    torch.testing.assert_close(mixture.posterior_of(v, labels, mu, equal), expected[torch.arange(N), labels])


@pytest.mark.parametrize("own", [{}, {"mixture_per": "class"}, {"sigma_mode": "per_class"}])
def test_wrong_labels_are_found(own: dict[str, Any]) -> None:
    v, p, labels, right = clusters()
    found = diagnose(v, p, labels, DiagnosisParams(name="any", **own))
    assert bool(((found.w >= 0) & (found.w <= 1)).all()) and found.w.dtype == torch.float32
    assert ((found.w > 0.5) == right).float().mean() > 0.97
    assert float(found.w[right].mean()) > 0.95 and float(found.w[~right].mean()) < 0.05
    assert (found.mixture is None) == (own.get("mixture_per") == "class")


def test_scores_are_stretched_over_the_whole_set_before_classes_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    v, p, labels, _ = clusters(noise=0.3)
    seen: list[Tensor] = []
    monkeypatch.setattr(mixture, "p_clean_per_class", lambda z, *_: seen.append(z) or torch.zeros_like(z))
    diagnose(v, p, labels, DiagnosisParams(name="any", mixture_per="class"))
    assert float(seen[0].min()) == 0 and float(seen[0].max()) == 1
    assert any(float(seen[0][labels == k].max()) < 1 for k in range(C))


@pytest.mark.parametrize("own", [{}, {"mixture_per": "class"}])
@pytest.mark.parametrize("count", [1, 6])
def test_scores_that_are_all_equal_give_one_half(count: int, own: dict[str, Any]) -> None:
    v, p = torch.eye(1, D).expand(count, D), torch.full((count, C), 1 / C)
    found = diagnose(v, p, torch.zeros(count, dtype=torch.int64), DiagnosisParams(name="any", **own))
    assert found.w.tolist() == [0.5] * count and found.score is None
