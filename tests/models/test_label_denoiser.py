"""The noise predictor is the network of the equations."""

import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.models.label_denoiser import Gated, LabelDenoiser

B, C, D, H, T = 12, 3, 5, 8, 20


@pytest.fixture
def denoiser() -> LabelDenoiser:
    return LabelDenoiser(C, D, H, T)


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    stream = tiny.stream(1)
    embedding, y, z = (torch.randn(B, width, generator=stream) for width in (H, C, D))
    return embedding, y, torch.arange(B), z


def test_the_network_is_that_of_the_equations_and_every_weight_gets_a_gradient(denoiser: LabelDenoiser) -> None:
    embedding, y, t, z = inputs()
    found = denoiser(embedding, y, t, z)

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean(dim=0)) / (x.var(dim=0, unbiased=False) + 1e-5).sqrt()

    a = torch.cat([y, z], dim=1)
    for layer in (denoiser.first, denoiser.second, denoiser.third):
        a = norm(embedding) * a if layer is denoiser.second else a
        gate = torch.stack([layer.gate[time] for time in t.tolist()])
        a = functional.softplus(norm(gate * (a @ layer.linear.weight.T + layer.linear.bias)))
    torch.testing.assert_close(found, a @ denoiser.last.weight.T + denoiser.last.bias, atol=1e-5, rtol=1e-4)
    found.square().sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in denoiser.parameters())


def test_the_gates_start_uniform_between_zero_and_one_with_a_row_for_each_time() -> None:
    gate = Gated(2, 500, T).gate.detach()
    assert gate.shape == (T + 1, 500) and float(gate.min()) >= 0 and float(gate.max()) <= 1
    assert float(gate.mean()) == pytest.approx(0.5, abs=0.01) and float(gate.var()) == pytest.approx(1 / 12, abs=0.005)
