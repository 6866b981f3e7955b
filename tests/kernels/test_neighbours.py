"""Nearest rows in one launch against the plain form, which `tests/parts/test_retrieval.py` compares with the matrix."""

import pytest
import tiny
import torch

from nlkit.kernels.neighbours import naive, nearest


@pytest.mark.parametrize(("queries", "bank", "d", "k"), [(1, 1, 1, 1), (17, 9, 5, 3), (2, 70, 33, 7), (1, 70, 1, 70)])
def test_forms_agree(triton: None, device: torch.device, queries: int, bank: int, d: int, k: int) -> None:
    stream = tiny.stream(d)
    q, b = (torch.randn(count, d, generator=stream).to(device) for count in (queries, bank))
    distances, index = nearest(q, b, k)
    expected, order = naive.nearest(q, b, k)
    torch.testing.assert_close(distances, expected, atol=1e-3 if k == bank else 1e-5, rtol=1e-5)
    assert index.dtype == torch.int64 and torch.equal(index, order)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_compared_in_single_or_double(form: None, device: torch.device, dtype: torch.dtype) -> None:
    bank = torch.randn(20, 8, generator=tiny.stream(1)).to(device, dtype)
    distances, index = nearest(bank[:3], bank, 4)
    assert distances.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert torch.equal(index, torch.cdist(bank[:3].double(), bank.double()).topk(4, largest=False).indices)


def test_equal_rows_are_all_found_and_no_query_gives_no_row(form: None, device: torch.device) -> None:
    zeros = torch.zeros(5, 2, device=device)
    distances, index = nearest(zeros[:2], zeros, 5)
    assert not distances.any() and all(sorted(row) == [0, 1, 2, 3, 4] for row in index.tolist())
    assert [part.shape for part in nearest(zeros[:0], zeros, 2)] == [(0, 2)] * 2
