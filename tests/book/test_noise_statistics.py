"""Statistics of noise in closed form, against slow loops, and where independence makes the answer known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nlbook import noise_statistics as statistics
from nlkit import noise


def labels(seed: int, count: int = 200, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, classes, count)
    return clean, np.where(rng.random(count) < 0.4, rng.integers(0, classes, count), clean)


def test_the_spread_of_a_small_case() -> None:
    clean, noisy = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 1, 0, 2])
    entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    expected = (2 + 1) / 4, (3 * entropy + 1 * 0) / 4 / np.log(2)
    assert statistics.wrong_spread(clean, noisy, 3) == pytest.approx(expected)


def test_asymmetric_noise_has_one_wrong_class_and_symmetric_noise_has_all() -> None:
    clean = np.arange(20_000) % 10
    asymmetric = noise.asymmetric(clean, 0.4, noise.CIFAR10_FLIPS, seed=0)
    symmetric = noise.symmetric(clean, 0.4, 10, seed=0, own_class=False)
    assert statistics.wrong_spread(clean, asymmetric, 10) == (1, 0)
    share, entropy = statistics.wrong_spread(clean, symmetric, 10)
    assert share == pytest.approx(1 / 9, abs=0.03) and entropy == pytest.approx(1, abs=0.01)


def test_labels_without_errors_have_no_statistics_of_errors() -> None:
    clean = np.arange(6) % 3
    wrong = np.zeros(6, dtype=bool)
    assert statistics.wrong_spread(clean, clean, 3) == (None, None)
    assert statistics.within_class_auc(np.arange(6.0), wrong, clean) == (None, None)
    assert statistics.lift(clean, wrong, ~wrong) is None
    found = statistics.agreement(clean, clean, clean, 3)
    assert found == {"both": 0, "both_expected": 0, "same": None, "same_expected": None}


@pytest.mark.parametrize("seed", range(4))
def test_the_auc_is_that_of_a_loop_over_pairs_of_one_class(seed: int) -> None:
    clean, noisy = labels(seed, 60)
    wrong = noisy != clean
    margin = np.random.default_rng(seed).integers(0, 6, 60).astype(float)
    pairs = [
        (margin[i] < margin[j]) + 0.5 * (margin[i] == margin[j])
        for i, j in itertools.product(np.flatnonzero(wrong), np.flatnonzero(~wrong))
        if clean[i] == clean[j]
    ]
    assert statistics.within_class_auc(margin, wrong, clean)[0] == pytest.approx(np.mean(pairs))


def test_classes_that_differ_in_margin_and_rate_do_not_move_the_auc_and_its_error_is_that_of_draws() -> None:
    rng = np.random.default_rng(0)
    clean = np.repeat([0, 1], 100)
    values = []
    for _ in range(400):
        margin = rng.random(200) + 5 * clean
        wrong = rng.permuted(np.repeat([[True] * 60 + [False] * 40, [True] * 10 + [False] * 90], 1, axis=0), axis=1)
        values.append(statistics.within_class_auc(margin, wrong.ravel(), clean))
    found, errors = np.array(values, dtype=float).T
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert found.std() == pytest.approx(errors.mean(), rel=0.1)


def test_the_lift_of_a_mask_with_itself_and_with_its_complement() -> None:
    clean = np.repeat([0, 1], 50)
    mask = np.arange(100) % 5 == 0
    assert statistics.lift(clean, mask, mask) == pytest.approx(5)
    assert statistics.lift(clean, mask, ~mask) == 0
    assert statistics.lift(clean, mask, clean == 1) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_counted_by_a_loop_and_expected_by_a_sum_over_classes(seed: int) -> None:
    clean, first = labels(seed)
    second = labels(seed + 10)[1]
    both = [(a, b) for a, b, c in zip(first, second, clean, strict=True) if a != c and b != c]
    found = statistics.agreement(clean, first, second, 4)
    assert found["both"] == pytest.approx(len(both) / 200)
    assert found["same"] == pytest.approx(np.mean([a == b for a, b in both]))
    expected = same = 0.0
    for c in range(4):
        here = clean == c
        shares = [[float((one[here] == j).mean()) for j in range(4)] for one in (first, second)]
        expected += here.mean() * (1 - shares[0][c]) * (1 - shares[1][c])
        same += here.mean() * sum(a * b for j, (a, b) in enumerate(zip(*shares, strict=True)) if j != c)
    assert found["both_expected"] == pytest.approx(expected)
    assert found["same_expected"] == pytest.approx(same / expected)


def test_tenths_are_of_equal_size_in_each_class_and_their_rates_average_to_one() -> None:
    clean, noisy = labels(0, 400)
    margin, wrong = np.random.default_rng(1).random(400), noisy != clean
    tenth = statistics.tenths(margin, clean)
    for c in range(4):
        sizes = np.bincount(tenth[clean == c], minlength=10)
        assert sizes.max() - sizes.min() <= 1
        order = np.argsort(margin[clean == c])
        assert (np.diff(tenth[clean == c][order]) >= 0).all()
    weights = np.bincount(tenth, minlength=10) / 400
    assert statistics.rates_by_margin(margin, wrong, clean) @ weights == pytest.approx(1)
    sorted_out = statistics.rates_by_margin(np.where(wrong, 0.0, 1.0), wrong, clean)
    assert sorted_out[0] == pytest.approx(1 / wrong.mean()) and sorted_out[-1] == 0
