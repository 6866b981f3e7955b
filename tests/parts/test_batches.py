"""Which samples an epoch passes over, and in which batches."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from nlkit.parts.batches import balanced_subset, endless_batches, epoch_subset, full_batches, shuffled_batches


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    chosen = balanced_subset(labels, count, 5, stream())
    assert torch.bincount(labels[chosen], minlength=5).tolist() == [min(size, limit) for size in sizes]
    assert len(chosen.unique()) == len(chosen)
    assert torch.equal(chosen, epoch_subset(labels, count, 5, stream()))


def test_every_sample_of_a_class_is_equally_likely() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    drawn = torch.cat([balanced_subset(labels, 4, 2, stream(seed)) for seed in range(3000)])
    hits = torch.bincount(drawn, minlength=8)
    assert hits[6:].tolist() == [3000, 3000]
    # Each of six is drawn with probability 1/3: 1000 of 3000, standard deviation 26.
    assert (hits[:6] - 1000).abs().max() < 5 * 26


def test_without_a_count_an_epoch_passes_over_everything_in_order() -> None:
    assert epoch_subset(torch.zeros(7, dtype=torch.int64), None, 3, stream()).tolist() == list(range(7))
