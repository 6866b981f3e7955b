"""Which samples an epoch passes over, in which batches, and at which learning rates."""

from itertools import islice

import pytest
import tiny
import torch
from tiny import stream

from nlkit.parts import epochs
from nlkit.parts.epochs import endless_batches, epoch_subset, full_batches, shuffled_batches


@pytest.mark.parametrize(("count", "size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_shuffled_batches_visit_every_item_once_and_full_ones_leave_out_the_short_one(count: int, size: int) -> None:
    items = torch.arange(count) * 10
    batches = list(shuffled_batches(items, size, stream()))
    assert [len(batch) for batch in batches] == [size] * (count // size) + [count % size] * (count % size > 0)
    assert torch.equal(torch.cat(batches).sort().values, items)
    full = full_batches(items, size, stream())
    assert len(full) == max(count // size, 1)
    assert all(torch.equal(one, other) for one, other in zip(full, batches, strict=False))


def test_endless_batches_start_again_with_a_fresh_order() -> None:
    batches = list(islice(endless_batches(torch.arange(20), 8, stream()), 9))
    assert [len(batch) for batch in batches] == [8, 8, 4] * 3
    passes = [torch.cat(batches[start : start + 3]) for start in (0, 3, 6)]
    assert all(torch.equal(one.sort().values, torch.arange(20)) for one in passes)
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[1], passes[2])
    assert [len(batch) for batch in islice(endless_batches(torch.arange(0), 8, stream()), 3)] == [0, 0, 0]


@pytest.mark.parametrize("count", [1, 10, 50, 1000])
def test_no_class_has_more_than_its_share_and_small_ones_are_whole(count: int) -> None:
    sizes, limit = (3, 200, 40, 0, 7), -(-count // 5)
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])
    chosen = epoch_subset(labels, count, 5, stream())
    assert torch.bincount(labels[chosen], minlength=5).tolist() == [min(size, limit) for size in sizes]
    assert len(chosen.unique()) == len(chosen)


def test_every_sample_of_a_class_is_equally_likely() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    drawn = torch.cat([epoch_subset(labels, 4, 2, stream(seed)) for seed in range(3000)])
    hits = torch.bincount(drawn, minlength=8)
    assert hits[6:].tolist() == [3000, 3000]
    # Each of six is drawn with probability 1/3: 1000 of 3000, standard deviation 26.
    assert (hits[:6] - 1000).abs().max() < 5 * 26


def test_without_a_count_an_epoch_passes_over_everything_in_order() -> None:
    assert epoch_subset(torch.zeros(7, dtype=torch.int64), None, 3, stream()).tolist() == list(range(7))


def test_a_rate_falls_by_its_factor_at_each_step_that_has_been_reached() -> None:
    params = tiny.params(**{"optim.lr": 0.02, "optim.drop_epochs": [150, 200]})
    rates = [epochs.learning_rate(params, time) for time in (0, 149.9, 150, 199, 200, 300)]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002, 0.0002])


def test_the_curve_of_tcl_has_the_published_values() -> None:
    rates = [epochs.warm_cosine(time, 0.12, 20, 200, 0.01) for time in (0, 10, 20, 100, 200)]
    assert rates == pytest.approx([0, 0.06, 0.12, 0.0790, 0.0041], abs=5e-5)


def test_the_curve_of_pre_training_is_a_line_that_joins_a_cosine_and_may_be_all_there_is() -> None:
    """Line from 0.01 to the cosine's value after 10 epochs; half of peak and floor in the middle."""
    rates = [epochs.joined_cosine(time, 0.5, 0.01, 10, 1000, 0.001) for time in (0, 5, 10, 500, 750, 1000)]
    assert rates == pytest.approx([0.01, 0.2549384, 0.4998768, 0.25025, 0.0736501, 0.0005], abs=1e-6)
    short = [epochs.joined_cosine(time, 0.5, 0.01, 10, 3, 0.001) for time in range(4)]
    assert short == pytest.approx([0.01, 0.00905, 0.0081, 0.00715])


def test_one_cycle_rises_to_the_peak_and_ends_at_zero_with_the_run() -> None:
    cycle = {"optim.drop_epochs": [], "optim.schedule": "cosine", "optim.warm_up": 2.0, "optim.lr": 0.1}
    params = tiny.params(**cycle, **{"training.epochs": 10})
    rates = [epochs.learning_rate(params, time) for time in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0])
