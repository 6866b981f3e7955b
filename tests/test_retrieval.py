"""Nearest neighbours in blocks are those of the full matrix of distances."""

from __future__ import annotations

import pytest
import torch

from nlkit.retrieval import count_votes, nearest


@pytest.mark.parametrize(("queries", "bank", "d"), [(63, 257, 5), (257, 63, 1), (1, 7, 33), (1025, 40, 3)])
@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize(("rows", "columns"), [(10, 13), (1024, 65536), (1, 1)])
def test_blocks_agree_with_the_full_matrix(queries: int, bank: int, d: int, k: int, rows: int, columns: int) -> None:
    q = torch.randn(min(queries, 70 if rows == 1 else queries), d, dtype=torch.float64)
    b = torch.randn(bank, d, dtype=torch.float64)
    expected, order = torch.cdist(q, b).topk(k, dim=1, largest=False)
    distances, index = nearest(q, b, k, rows, columns)
    torch.testing.assert_close(distances, expected, atol=1e-7, rtol=1e-7)
    assert [set(row) for row in index.tolist()] == [set(row) for row in order.tolist()]
    assert (distances.diff(dim=1) >= 0).all()


def test_a_query_of_the_bank_finds_itself() -> None:
    bank = torch.nn.functional.normalize(torch.randn(257, 16), dim=1)
    _, index = nearest(bank, bank, 3, rows=50, columns=60)
    assert torch.equal(index[:, 0], torch.arange(257))


def test_half_precision_features_are_compared_in_single_precision() -> None:
    bank = torch.randn(40, 8).bfloat16()
    distances, index = nearest(bank[:5], bank, 4)
    assert distances.dtype == torch.float32
    expected = torch.cdist(bank[:5].float(), bank.float()).topk(4, largest=False)
    assert torch.equal(index, expected.indices)


def test_no_queries_and_too_many_neighbours() -> None:
    distances, index = nearest(torch.zeros(0, 3), torch.zeros(5, 3), 2)
    assert distances.shape == index.shape == (0, 2)
    for k in (0, 6):
        with pytest.raises(ValueError, match="the bank has 5 rows"):
            nearest(torch.zeros(1, 3), torch.zeros(5, 3), k)


def test_votes_are_counts_of_the_neighbours_labels() -> None:
    labels = torch.tensor([2, 0, 2, 1])
    index = torch.tensor([[0, 2, 1], [3, 3, 0]])
    assert count_votes(labels, index, 4).tolist() == [[1, 0, 2, 0], [0, 2, 1, 0]]
