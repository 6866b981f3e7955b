"""Every form of an operation is tested: on a GPU where there is one, else Triton's by its interpreter."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _empty_is_nan() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN, so that a kernel that leaves an element unwritten is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operations of `nlkit.kernels` run in Triton's form."""
    pytest.importorskip("triton")
    monkeypatch.setenv("NLKIT_KERNELS", "triton")


@pytest.fixture(params=["naive", "triton"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operations run in each form in turn."""
    monkeypatch.setenv("NLKIT_KERNELS", "naive")
    if request.param == "triton":
        request.getfixturevalue("triton")
