"""EM in one launch against the plain form, which `tests/parts/test_mixture.py` compares with scikit-learn."""

import pytest
import tiny
import torch
from torch import Tensor

from nlkit.kernels.mixture import em, naive


def drawn(rows: int, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of values of two components, which of them are real, and a first assignment."""
    stream = tiny.stream(length)
    spread = torch.randn(rows, length, generator=stream, dtype=torch.float64)
    lower = torch.rand(rows, length, generator=stream) < 0.4
    values = torch.where(lower, 0.2 + 0.1 * spread, 0.7 + 0.2 * spread).clamp(0, 1)
    inside = torch.rand(rows, length, generator=stream) < 0.9
    return (values * inside).to(device), inside.to(device), (values > 0.5).to(device)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (3, 7), (10, 61), (2, 2050)])
@pytest.mark.parametrize(("max_iter", "tol"), [(1, 1e-2), (3, 0.0), (10, 1e-2), (40, 1e-3)])
def test_forms_agree(triton: None, device: torch.device, rows: int, length: int, max_iter: int, tol: float) -> None:
    given = drawn(rows, length, device)
    for ours, plain in zip(em(*given, max_iter, tol, 5e-4), naive.em(*given, max_iter, tol, 5e-4), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-9)


def test_an_assignment_to_one_side_and_a_row_without_values_stay_finite(form: None, device: torch.device) -> None:
    values = torch.tensor([[0.25, 0.5, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64, device=device)
    inside = torch.tensor([[True] * 3, [False] * 3], device=device)
    found = em(values, inside, torch.zeros_like(inside), 5, 1e-3, 1e-3)
    assert all(bool(part.isfinite().all()) for part in found)
    assert bool((found.means.diff(dim=1) >= 0).all())
    assert torch.allclose(found.weights.sum(dim=1), inside.new_ones(2).double())
