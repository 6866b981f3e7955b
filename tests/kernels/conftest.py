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


@pytest.fixture(params=["naive", "triton"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form that runs for the operations of `nlkit.kernels`."""
    if request.param == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("NLKIT_KERNELS", request.param)
    return str(request.param)


@pytest.fixture
def device() -> torch.device:
    """Where kernels run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
