"""What is found while labels are inspected, against a loop and in cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nlbook.detection import found, inspection_order, precision_at_errors


def test_the_smallest_quality_comes_first_then_the_larger_loss_then_the_smaller_index() -> None:
    quality = np.array([0.5, 0.1, 0.5, 0.1, 0.5], dtype=np.float16)
    loss = np.array([1.0, 2.0, 3.0, 2.0, 1.0], dtype=np.float16)
    assert inspection_order(quality, loss).tolist() == [1, 3, 2, 0, 4]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_what_a_loop_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wrong, order = rng.random(40) < 0.3, rng.permutation(40)
    counts = [sum(bool(wrong[i]) for i in order[:n]) for n in range(1, 41)]
    assert found(wrong, order).tolist() == counts
    errors = int(wrong.sum())
    assert precision_at_errors(wrong, order) == pytest.approx(counts[errors - 1] / errors)


def test_precision_is_one_when_all_wrong_labels_come_first_and_nothing_without_wrong_labels() -> None:
    wrong = np.array([False, True, True, False])
    assert precision_at_errors(wrong, np.array([2, 1, 0, 3])) == 1
    assert precision_at_errors(wrong, np.array([0, 3, 1, 2])) == 0
    assert precision_at_errors(np.zeros(4, dtype=bool), np.arange(4)) is None
