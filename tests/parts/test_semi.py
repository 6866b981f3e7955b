from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.parts import semi


def logits_of(rows: int, classes: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def probabilities(rows: int, classes: int, seed: int = 0) -> Tensor:
    return logits_of(rows, classes, seed).softmax(dim=1)


def test_sharpening_squares_at_temperature_one_half() -> None:
    expected = torch.tensor([[0.36, 0.16]]) / 0.52
    torch.testing.assert_close(semi.sharpen(torch.tensor([[0.6, 0.4]]), 0.5), expected)
    assert [round(float(p), 4) for p in expected[0]] == [0.6923, 0.3077]


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 2.0])
def test_sharpening_keeps_the_simplex_the_argmax_and_its_fixed_points(temperature: float) -> None:
    p = probabilities(40, 5)
    sharp = semi.sharpen(p, temperature)
    torch.testing.assert_close(sharp.sum(dim=1), torch.ones(40))
    assert torch.equal(sharp.argmax(dim=1), p.argmax(dim=1))
    for fixed in (torch.eye(5), torch.full((2, 5), 0.2)):
        torch.testing.assert_close(semi.sharpen(fixed, temperature), fixed)


def test_sharpening_at_temperature_one_is_the_identity() -> None:
    torch.testing.assert_close(semi.sharpen(probabilities(9, 4), 1.0), probabilities(9, 4))


@pytest.mark.parametrize("temperature", [0.05, 0.005])
def test_sharpening_at_a_low_temperature_tends_to_the_argmax(temperature: float) -> None:
    p = torch.tensor([[0.3, 0.12, 0.1, 0.1, 0.1, 0.1, 0.1, 0.08]])
    torch.testing.assert_close(semi.sharpen(p, temperature), torch.eye(8)[:1], rtol=0, atol=1e-5)


def test_refinement_trusts_the_label_at_one_and_the_prediction_at_zero() -> None:
    one_hot, p = torch.eye(3)[[0, 2, 1]], probabilities(3, 3)
    assert torch.equal(semi.refine(one_hot, p, torch.ones(3), 0.5), one_hot)
    torch.testing.assert_close(semi.refine(one_hot, p, torch.zeros(3), 0.5), semi.sharpen(p, 0.5))


def test_refinement_weighs_each_row_by_its_own_weight() -> None:
    one_hot, p, w = torch.eye(2), torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([0.4, 0.5])
    expected = torch.tensor([[0.7, 0.3], [0.1, 0.9]])
    torch.testing.assert_close(semi.refine(one_hot, p, w, 1.0), expected)


def test_guessing_averages_probabilities_and_not_logits() -> None:
    sure, unsure = torch.tensor([[20.0, 0.0]]), torch.tensor([[-1.0, 1.0]])
    expected = (1 + 1 / (1 + math.exp(2))) / 2
    assert float(semi.mean_probability([sure, unsure])[0, 0]) == pytest.approx(expected, abs=1e-6)
    assert float((sure + unsure).div(2).softmax(dim=1)[0, 0]) > 0.99


def test_guessing_does_not_depend_on_the_order_of_the_networks() -> None:
    four = [logits_of(6, 3, seed) for seed in range(4)]
    swapped = four[2:] + four[:2]
    torch.testing.assert_close(semi.mean_probability(four), semi.mean_probability(swapped))


def test_half_precision_logits_give_full_precision_probabilities() -> None:
    assert semi.mean_probability([logits_of(2, 3).bfloat16()]).dtype == torch.float32
    assert semi.soft_cross_entropy(logits_of(2, 3).bfloat16(), torch.eye(3)[:2]).dtype == torch.float32


def test_mixup_equals_a_slow_loop_over_rows() -> None:
    inputs, targets = torch.randn(5, 2, 3, 3), probabilities(5, 4)
    order, share = torch.tensor([3, 0, 4, 1, 2]), 0.7
    mixed, mixed_targets = semi.mixup(inputs, targets, share, order)
    for row in range(5):
        torch.testing.assert_close(mixed[row], 0.7 * inputs[row] + 0.3 * inputs[order[row]])
        torch.testing.assert_close(mixed_targets[row], 0.7 * targets[row] + 0.3 * targets[order[row]])
    torch.testing.assert_close(mixed_targets.sum(dim=1), torch.ones(5))


@pytest.mark.parametrize(("share", "order"), [(1.0, [2, 0, 1]), (0.6, [0, 1, 2])])
def test_mixup_with_itself_or_with_a_share_of_one_changes_nothing(share: float, order: list[int]) -> None:
    inputs, targets = torch.randn(3, 1, 2, 2), probabilities(3, 3)
    mixed, mixed_targets = semi.mixup(inputs, targets, share, torch.tensor(order))
    assert torch.equal(mixed, inputs) and torch.equal(mixed_targets, targets)


def test_soft_cross_entropy_of_one_hot_targets_is_cross_entropy() -> None:
    logits, labels = logits_of(7, 4), torch.arange(7) % 4
    expected = functional.cross_entropy(logits, labels)
    torch.testing.assert_close(semi.soft_cross_entropy(logits, torch.eye(4)[labels]), expected)


@pytest.mark.parametrize("rows", [1, 6])
def test_the_gradient_of_soft_cross_entropy_is_softmax_minus_target(rows: int) -> None:
    logits, targets = logits_of(rows, 4).requires_grad_(), probabilities(rows, 4, seed=1)
    semi.soft_cross_entropy(logits, targets).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(dim=1) - targets) / rows)


def test_consistency_is_the_mean_over_all_entries() -> None:
    logits, targets = logits_of(3, 5), probabilities(3, 5, seed=1)
    p = logits.softmax(dim=1)
    total = sum((float(p[i, c]) - float(targets[i, c])) ** 2 for i in range(3) for c in range(5))
    assert float(semi.consistency(logits, targets)) == pytest.approx(total / 15, rel=1e-5)
    per_row = (p - targets).norm(dim=1).square().mean()
    torch.testing.assert_close(semi.consistency(logits, targets), per_row / 5)


def test_the_gradient_of_consistency_is_that_of_the_softmax_jacobian() -> None:
    logits, targets = logits_of(3, 4).requires_grad_(), probabilities(3, 4, seed=1)
    semi.consistency(logits, targets).backward()
    p = logits.detach().softmax(dim=1)
    for row in range(3):
        jacobian = torch.diag(p[row]) - torch.outer(p[row], p[row])
        torch.testing.assert_close(logits.grad[row], jacobian @ (p[row] - targets[row]) * 2 / 12)


def test_consistency_of_no_rows_is_zero() -> None:
    assert float(semi.consistency(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3))) == 0


def test_the_prior_penalty_is_the_divergence_from_uniform_to_the_mean_prediction() -> None:
    logits = logits_of(6, 4)
    mean = logits.softmax(dim=1).mean(dim=0)
    kl = functional.kl_div(mean.log(), torch.full((4,), 0.25), reduction="sum")
    torch.testing.assert_close(semi.prior_penalty(logits), kl)
    assert float(kl) > 0


def test_the_prior_penalty_vanishes_where_the_mean_is_uniform_and_only_there() -> None:
    balanced = 9 * torch.eye(4)
    assert float(semi.prior_penalty(balanced)) == pytest.approx(0, abs=1e-6)
    assert float(semi.prior_penalty(balanced[:3])) > 0.1


def test_the_prior_penalty_and_its_gradient_are_finite_for_a_class_that_nobody_predicts() -> None:
    logits = torch.tensor([[500.0, 0.0], [500.0, 0.0]], requires_grad=True)
    penalty = semi.prior_penalty(logits)
    penalty.backward()
    assert math.isfinite(float(penalty.detach())) and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize(("scale", "expected"), [(0.0, -math.log(5)), (1e4, 0.0)])
def test_negative_entropy_is_minus_log_c_for_uniform_and_zero_for_one_hot(scale: float, expected: float) -> None:
    logits = (scale * torch.eye(5)).requires_grad_()
    value = semi.negative_entropy(logits)
    value.backward()
    assert float(value.detach()) == pytest.approx(expected, abs=1e-6)
    assert bool(logits.grad.isfinite().all())


def test_negative_entropy_equals_a_slow_sum_and_has_its_gradient() -> None:
    logits = logits_of(3, 4).requires_grad_()
    p = logits.detach().softmax(dim=1).numpy().astype(np.float64)
    semi.negative_entropy(logits).backward()
    entropy = (p * np.log(p)).sum(axis=1, keepdims=True)
    assert float(semi.negative_entropy(logits.detach())) == pytest.approx(float(entropy.mean()), rel=1e-5)
    np.testing.assert_allclose(logits.grad, p * (np.log(p) - entropy) / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("time", "expected"),
    [(10, 0), (12, 3.125), (14, 6.25), (18, 12.5), (25.9, 24.84375), (26, 25), (300, 25), (9.99, 0), (0, 0),
     (10 + 200 / 400, 0.78125)],
)  # fmt: skip
def test_the_ramp_is_linear_over_sixteen_epochs(time: float, expected: float) -> None:
    assert 25 * semi.ramp(time, start=10, length=16) == pytest.approx(expected)


def test_the_two_entropies_of_known_predictions_have_closed_forms() -> None:
    classes = 5
    uniform, balanced = torch.zeros(10, classes), 200 * torch.eye(classes).repeat(2, 1)
    constant = 200 * torch.eye(classes)[torch.zeros(10, dtype=torch.int64)]
    log_c = math.log(classes)
    for logits, mean_entropy, marginal in ((uniform, log_c, -log_c), (balanced, 0, -log_c), (constant, 0, 0)):
        assert float(-semi.negative_entropy(logits)) == pytest.approx(mean_entropy, abs=1e-5)
        assert float(semi.negative_marginal_entropy(logits)) == pytest.approx(marginal, abs=1e-5)


def test_the_marginal_entropy_has_a_finite_gradient_where_a_class_is_never_predicted() -> None:
    logits = (200 * torch.eye(4)[:1].repeat(3, 1)).requires_grad_()
    semi.negative_marginal_entropy(logits).backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
