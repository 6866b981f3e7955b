from __future__ import annotations

import pytest
import torch

from nlkit.parts.balance import balanced_subset, epoch_subset


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [1, 10, 50, 1000])
def test_no_class_has_more_than_its_share_and_small_ones_are_whole(count: int) -> None:
    labels = torch.cat([torch.full((size,), c) for c, size in enumerate((3, 200, 40, 0, 7))])
    chosen = balanced_subset(labels, count, 5, stream())
    limit = -(-count // 5)
    assert torch.bincount(labels[chosen], minlength=5).tolist() == [min(size, limit) for size in (3, 200, 40, 0, 7)]
    assert len(chosen.unique()) == len(chosen)


def test_every_sample_of_a_class_is_equally_likely() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    hits = sum(torch.bincount(balanced_subset(labels, 4, 2, stream(seed)), minlength=8) for seed in range(3000))
    assert isinstance(hits, torch.Tensor)
    assert hits[6:].tolist() == [3000, 3000]
    # Each of six is drawn with probability 1/3: 1000 of 3000, standard deviation 26.
    assert (hits[:6] - 1000).abs().max() < 5 * 26


def test_another_stream_draws_another_subset_and_the_same_one_the_same() -> None:
    labels = torch.arange(100) % 4
    first, second = (balanced_subset(labels, 20, 4, stream(seed)) for seed in (1, 2))
    assert set(first.tolist()) != set(second.tolist())
    assert torch.equal(first, balanced_subset(labels, 20, 4, stream(1)))


def test_without_a_count_an_epoch_passes_over_everything_in_order() -> None:
    assert epoch_subset(torch.zeros(7, dtype=torch.int64), None, 3, stream()).tolist() == list(range(7))
