"""The bricks of semi-supervised learning: closed forms, slow loops, and gradients."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.kernels.soft_losses import naive as soft_losses
from nlkit.kernels.soft_targets import naive as soft_targets
from nlkit.parts import semi


def logits_of(rows: int, classes: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(rows, classes, generator=tiny.stream(seed))


def probabilities(rows: int, classes: int, seed: int = 0) -> Tensor:
    return logits_of(rows, classes, seed).softmax(dim=1)


def gradient(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    loss(logits).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 2.0])
def test_sharpening_keeps_the_simplex_the_argmax_and_its_fixed_points(temperature: float) -> None:
    p = probabilities(40, 5)
    sharp = soft_targets.sharpen(p, temperature)
    torch.testing.assert_close(sharp.sum(dim=1), torch.ones(40))
    assert torch.equal(sharp.argmax(dim=1), p.argmax(dim=1))
    for fixed in (torch.eye(5), torch.full((2, 5), 0.2)):
        torch.testing.assert_close(soft_targets.sharpen(fixed, temperature), fixed)


def test_half_precision_logits_give_full_precision_probabilities() -> None:
    assert soft_targets.mean_probability([logits_of(2, 3).bfloat16()]).dtype == torch.float32
    assert soft_losses.soft_cross_entropy(logits_of(2, 3).bfloat16(), torch.eye(3)[:2]).dtype == torch.float32


@pytest.mark.parametrize(("alpha", "mean"), [(4.0, 0.637), (1.0, 0.75), (0.5, 0.818)])
def test_the_mixing_share_is_a_folded_beta_variable(alpha: float, mean: float) -> None:
    stream = np.random.default_rng(0)
    shares = [semi.mixing_share(stream, alpha) for _ in range(4000)]
    assert min(shares) >= 0.5 and max(shares) <= 1
    assert sum(shares) / len(shares) == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize(("share", "order"), [(0.7, [3, 0, 4, 1, 2]), (1.0, [2, 0, 1, 4, 3]), (0.6, [0, 1, 2, 3, 4])])
def test_mixup_equals_a_slow_loop_over_rows(share: float, order: list[int]) -> None:
    inputs, targets = torch.randn(5, 2, 3, 3), probabilities(5, 4)
    mixed, mixed_targets = semi.mixup(inputs, targets, share, torch.tensor(order))
    for row, partner in enumerate(order):
        torch.testing.assert_close(mixed[row], share * inputs[row] + (1 - share) * inputs[partner])
        torch.testing.assert_close(mixed_targets[row], share * targets[row] + (1 - share) * targets[partner])
    if share == 1 or order == sorted(order):
        assert torch.equal(mixed, inputs) and torch.equal(mixed_targets, targets)


@pytest.mark.parametrize("rows", [1, 7])
def test_soft_cross_entropy_is_cross_entropy_and_its_gradient_softmax_minus_target(rows: int) -> None:
    logits, labels, targets = logits_of(rows, 4), torch.arange(rows) % 4, probabilities(rows, 4, seed=1)
    expected = functional.cross_entropy(logits, labels)
    torch.testing.assert_close(soft_losses.soft_cross_entropy(logits, torch.eye(4)[labels]), expected)
    found = gradient(lambda x: soft_losses.soft_cross_entropy(x, targets), logits)
    torch.testing.assert_close(found, (logits.softmax(dim=1) - targets) / rows)


def test_consistency_is_the_mean_over_all_entries_with_the_gradient_of_the_softmax_jacobian() -> None:
    logits, targets = logits_of(3, 4), probabilities(3, 4, seed=1)
    p = logits.softmax(dim=1)
    total = sum((float(p[i, c]) - float(targets[i, c])) ** 2 for i in range(3) for c in range(4))
    assert float(soft_losses.consistency(logits, targets)) == pytest.approx(total / 12, rel=1e-5)
    found = gradient(lambda x: soft_losses.consistency(x, targets), logits)
    for row in range(3):
        jacobian = torch.diag(p[row]) - torch.outer(p[row], p[row])
        torch.testing.assert_close(found[row], jacobian @ (p[row] - targets[row]) * 2 / 12)
    assert float(soft_losses.consistency(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3))) == 0


def test_the_prior_penalty_is_the_divergence_from_uniform_to_the_mean_prediction() -> None:
    logits = logits_of(6, 4)
    mean = logits.softmax(dim=1).mean(dim=0)
    kl = functional.kl_div(mean.log(), torch.full((4,), 0.25), reduction="sum")
    torch.testing.assert_close(soft_losses.prior_penalty(logits), kl)
    balanced = 9 * torch.eye(4)
    assert float(soft_losses.prior_penalty(balanced)) == pytest.approx(0, abs=1e-6)
    assert float(soft_losses.prior_penalty(balanced[:3])) > 0.1


LOG_C = math.log(5)


@pytest.mark.parametrize(
    ("logits", "negative_entropy", "negative_marginal"),
    [
        (torch.zeros(10, 5), -LOG_C, -LOG_C),
        (200 * torch.eye(5).repeat(2, 1), 0, -LOG_C),
        (1e4 * torch.eye(5), 0, -LOG_C),
        (200 * torch.eye(5)[[0] * 10], 0, 0),
    ],
    ids=["uniform", "balanced", "sure", "constant"],
)
def test_entropies_have_closed_forms_and_all_gradients_are_finite(
    logits: Tensor, negative_entropy: float, negative_marginal: float
) -> None:
    assert float(semi.negative_entropy(logits)) == pytest.approx(negative_entropy, abs=1e-5)
    assert float(semi.negative_marginal_entropy(logits)) == pytest.approx(negative_marginal, abs=1e-5)
    for loss in (semi.negative_entropy, semi.negative_marginal_entropy, soft_losses.prior_penalty):
        assert math.isfinite(float(loss(logits))) and bool(gradient(loss, logits).isfinite().all())


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0, 0), (9.99, 0), (10, 0), (10 + 200 / 400, 0.78125), (18, 12.5), (25.9, 24.84375), (26, 25), (300, 25)],
)
def test_the_ramp_is_linear_over_sixteen_epochs(time: float, expected: float) -> None:
    assert 25 * semi.ramp(time, start=10, length=16) == pytest.approx(expected)
