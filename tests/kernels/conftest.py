"""Every form of an operation is tested: on a GPU where there is one, else Triton's by its interpreter."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before a kernel is imported


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
