"""Label diagnosis of TCL: prototypes, posterior, score and P(clean)."""

from typing import Any

import pytest
import torch
from tiny import stream
from torch import Tensor
from torch.nn import functional

from nlkit.parts import mixture
from nlkit.parts.mixture import DiagnosisParams, diagnose, posterior, prototypes, spreads

N, C, D, TAU = 500, 5, 12, 0.25


def settings(**own: Any) -> DiagnosisParams:
    return DiagnosisParams(name="any", **own)


def clusters(seed: int = 0, wrong: float = 0.4, noise: float = 0.12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit rows around the axes of their true class, predictions, observed labels, and which labels are right."""
    true = torch.arange(N) % C
    v = torch.eye(C, D)[true] + noise * torch.randn(N, D, generator=stream(seed))
    flip = torch.rand(N, generator=stream(seed + 1)) < wrong
    labels = torch.where(flip, (true + 1 + torch.arange(N) // C % (C - 1)) % C, true)
    p = (3 * torch.eye(C)[true] + torch.randn(N, C, generator=stream(seed + 2))).softmax(dim=1)
    return functional.normalize(v, dim=1), p, labels, labels == true


def equal(mu: Tensor) -> Tensor:
    return torch.full((len(mu),), TAU)


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
    sigma = spreads(v, p, mu)
    squares = ((v[:, None] - mu) ** 2).sum(dim=2)
    torch.testing.assert_close(sigma, (p * squares).sum(dim=0) / p.sum(dim=0), atol=1e-5, rtol=0)
    for one in (sigma, equal(mu)):
        density = (-squares / (2 * one)).exp()
        torch.testing.assert_close(posterior(v, mu, one), density / density.sum(dim=1, keepdim=True), atol=1e-5, rtol=0)
    expected = (v @ mu.T / TAU).softmax(dim=1)
    torch.testing.assert_close(posterior(v, mu, equal(mu)), expected, atol=1e-6, rtol=0)
    monkeypatch.setattr(mixture, "BLOCK", 77)
    torch.testing.assert_close(mixture.posterior_of(v, labels, mu, equal(mu)), expected[torch.arange(N), labels])


@pytest.mark.parametrize("own", [{}, {"mixture_per": "class"}, {"sigma_mode": "per_class"}])
def test_wrong_labels_are_found(own: dict[str, Any]) -> None:
    v, p, labels, right = clusters()
    found = diagnose(v, p, labels, settings(**own))
    assert bool(((found.w >= 0) & (found.w <= 1)).all()) and found.w.dtype == torch.float32
    assert ((found.w > 0.5) == right).float().mean() > 0.97
    assert float(found.w[right].mean()) > 0.95 and float(found.w[~right].mean()) < 0.05
    assert (found.mixture is None) == (own.get("mixture_per") == "class")


def test_scores_are_stretched_over_the_whole_set_before_classes_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    v, p, labels, _ = clusters(noise=0.3)
    seen: list[Tensor] = []
    monkeypatch.setattr(mixture, "p_clean_per_class", lambda z, *_: seen.append(z) or torch.zeros_like(z))
    diagnose(v, p, labels, settings(mixture_per="class"))
    assert float(seen[0].min()) == 0 and float(seen[0].max()) == 1
    assert any(float(seen[0][labels == k].max()) < 1 for k in range(C))


@pytest.mark.parametrize("own", [{}, {"mixture_per": "class"}])
@pytest.mark.parametrize("count", [1, 6])
def test_scores_that_are_all_equal_give_one_half(count: int, own: dict[str, Any]) -> None:
    v, p = torch.eye(1, D).expand(count, D), torch.full((count, C), 1 / C)
    found = diagnose(v, p, torch.zeros(count, dtype=torch.int64), settings(**own))
    assert found.w.tolist() == [0.5] * count and found.score is None
