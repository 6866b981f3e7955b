"""The average of a network's weights follows its recurrence, and its buffers are those of the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nlkit.ema import Ema


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def move(one: nn.Module, step: int) -> None:
    stream = torch.Generator().manual_seed(step)
    for weight in one.parameters():
        weight.data = torch.randn(weight.shape, generator=stream)
    one(torch.randn(5, 3, generator=stream))


def test_the_average_is_that_of_the_recurrence() -> None:
    one = net()
    ema = Ema(one, 0.6)
    expected = [weight.detach().double().clone() for weight in one.parameters()]
    for step in range(1, 31):
        move(one, step)
        ema.update(one)
        decay = min(0.6, step / (step + 9))
        expected = [decay * e + (1 - decay) * w.detach() for e, w in zip(expected, one.parameters(), strict=True)]
    for found, value in zip(ema.net.parameters(), expected, strict=True):
        torch.testing.assert_close(found.double(), value, atol=1e-6, rtol=0)
    for found, value in zip(ema.net.buffers(), one.buffers(), strict=True):
        assert torch.equal(found, value)


def test_the_random_start_is_soon_forgotten() -> None:
    one = net()
    ema = Ema(one, 0.9999)
    move(one, 1)
    for _ in range(100):
        ema.update(one)
    for found, value in zip(ema.net.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(found, value, atol=1e-4, rtol=0)


def test_the_average_gets_no_gradient_and_is_in_evaluation_mode() -> None:
    ema = Ema(net().train(), 0.9)
    assert not any(weight.requires_grad for weight in ema.net.parameters()) and not ema.net.training


@pytest.mark.parametrize("done", [0, 3])
def test_a_restored_average_continues_with_the_same_number_of_updates(done: int) -> None:
    one = net()
    first, second = Ema(one, 0.9), Ema(net(), 0.9)
    for step in range(done):
        move(one, step)
        first.update(one)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    move(one, 99)
    for ema in (first, second):
        ema.update(one)
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
