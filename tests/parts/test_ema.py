"""The average of a network follows its recurrence, batch norm's statistics included."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from nlkit.parts.diffusion_learner import Ema


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def move(one: nn.Module, step: int) -> None:
    stream = tiny.stream(step)
    for weight in one.parameters():
        weight.data = torch.randn(weight.shape, generator=stream)
    one(torch.randn(5, 3, generator=stream))


def floats(one: nn.Module) -> list[torch.Tensor]:
    return [value.detach().double() for value in one.state_dict().values() if value.is_floating_point()]


def test_the_average_is_that_of_the_recurrence_for_weights_and_statistics() -> None:
    one = net()
    ema = Ema(one.train(), 0.6)
    assert not any(weight.requires_grad for weight in ema.net.parameters()) and not ema.net.training
    expected = [value.clone() for value in floats(one)]
    for step in range(1, 31):
        move(one, step)
        ema.update(one)
        decay = min(0.6, step / (step + 9))
        expected = [decay * mean + (1 - decay) * value for mean, value in zip(expected, floats(one), strict=True)]
    assert len(expected) == 6
    for found, value in zip(floats(ema.net), expected, strict=True):
        torch.testing.assert_close(found, value, atol=1e-6, rtol=0)
    assert int(ema.net[1].num_batches_tracked) == int(one[1].num_batches_tracked) == 30  # type: ignore[arg-type]


def test_the_random_start_is_soon_forgotten() -> None:
    one = net()
    ema = Ema(one, 0.9999)
    move(one, 1)
    for _ in range(100):
        ema.update(one)
    for found, value in zip(ema.net.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(found, value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("done", [0, 3])
def test_a_restored_average_continues_with_the_same_number_of_updates(done: int) -> None:
    one = net()
    first, second = Ema(one, 0.9), Ema(net(), 0.9)
    for step in range(done):
        move(one, step)
        first.update(one)
    second.load_state_dict(tiny.copied(first.state_dict()))
    move(one, 99)
    for ema in (first, second):
        ema.update(one)
    assert tiny.same(first.state_dict(), second.state_dict())
