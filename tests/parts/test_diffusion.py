"""Diffusion over label vectors: schedule, forward process, the sampler as a mode finder, and the average of weights."""

from functools import partial

import pytest
import torch
from tiny import stream
from torch import Tensor, nn

from nlkit.parts import diffusion
from nlkit.parts.diffusion import Ema, add_noise, antithetic_times, sample_from_mean, sampling_times

T, C = 1000, 10
ABAR = diffusion.cosine_schedule(T)


def test_the_cosine_schedule_has_the_known_values() -> None:
    betas = 1 - ABAR[1:] / ABAR[:-1]
    assert 1 - float(ABAR[0]) == pytest.approx(4.1284e-5, abs=1e-9)
    assert float(betas[-1]) == pytest.approx(0.999, abs=1e-12) and bool((betas[:-1] < 0.998).all())
    assert float(ABAR[-1]) == pytest.approx(2.4e-9, rel=0.03)
    assert bool((ABAR.diff() < 0).all()) and ABAR.dtype == torch.float64
    times = sampling_times(T, 10)
    assert times == [1, 101, 201, 301, 401, 501, 601, 701, 801, 901] and sampling_times(40, 20)[-1] == 39
    known = [0.999913, 0.971054, 0.896816, 0.784351, 0.644496, 0.490726, 0.337858, 0.200619, 0.092234, 0.023145]
    assert ABAR[[0, *times]].tolist() == pytest.approx([0.9999587, *known], abs=1e-6)


def test_the_forward_process_is_a_chain_of_steps_from_the_label_to_noise_around_the_mean() -> None:
    """From t - 1 to t by y' = sqrt(1 - beta) y + (1 - sqrt(1 - beta)) m + noise of variance beta."""
    t, mean = torch.arange(1, T), torch.rand(T - 1, C, generator=stream(), dtype=torch.float64)
    y, none = torch.eye(C, dtype=torch.float64)[t % C], torch.zeros(T - 1, C, dtype=torch.float64)
    keep = (ABAR[1:] / ABAR[:-1]).sqrt()[:, None]
    step = keep * add_noise(y, t - 1, none, ABAR, mean) + (1 - keep) * mean
    torch.testing.assert_close(add_noise(y, t, none, ABAR, mean), step, atol=1e-12, rtol=0)
    variance = add_noise(none, t - 1, none + 1, ABAR) ** 2 * keep**2 + 1 - keep**2
    torch.testing.assert_close(add_noise(none, t, none + 1, ABAR) ** 2, variance, atol=1e-12, rtol=0)
    assert float((add_noise(y, t * 0, none, ABAR, mean) - y).abs().max()) < 1e-4
    assert float((add_noise(y, t * 0 + T - 1, none + 1, ABAR, mean) - mean - 1).abs().max()) < 1e-3


def true_noise(noisy: Tensor, t: int, y: Tensor, mean: Tensor) -> Tensor:
    """The noise that leads from the label vectors y to whatever is asked about."""
    a = ABAR[t].sqrt()
    return (noisy - a * y - (1 - a) * mean) / (1 - ABAR[t]).sqrt()


@pytest.mark.parametrize(("steps", "error"), [(10, 1.0e-3), (5, 2.0e-3)])
def test_with_true_noise_the_sampler_returns_labels_up_to_a_known_error(steps: int, error: float) -> None:
    y = torch.eye(C, dtype=torch.float64)
    for mean in (torch.zeros_like(y), torch.rand(C, C, generator=stream(), dtype=torch.float64)):
        end = sample_from_mean(partial(true_noise, y=y, mean=mean), mean, ABAR, steps)[-1]
        start = ABAR[sampling_times(T, steps)[-1]]
        # What is left is the level of the last step: mean and noise that no further step removes.
        a = ABAR[0]
        share = (1 - a.sqrt()) + ((1 - a) * start / (1 - start)).sqrt()
        torch.testing.assert_close(y - end, share * (y - mean), atol=1e-12, rtol=1e-9)
        if not mean.any():
            assert float((end - y).abs().max()) == pytest.approx(error, rel=0.05)


def bayes(y: Tensor, t: int, prior: Tensor) -> Tensor:
    """The noise that the best denoiser finds where the label is one-hot with these probabilities [C]."""
    a = ABAR[t]
    squares = (y[:, None, :] - a.sqrt() * torch.eye(len(prior), dtype=y.dtype)).square().sum(dim=2)
    expected = (prior.log() - squares / (2 * (1 - a))).softmax(dim=1)
    return (y - a.sqrt() * expected) / (1 - a).sqrt()


@pytest.mark.parametrize(
    ("prior", "end"),
    [
        ([0.60, 0.40], [0.993, 0.006]), ([0.51, 0.49], [0.971, 0.028]), ([0.50, 0.50], [0.4995, 0.4995]),
        ([0.40, 0.35, 0.25], [0.983, 0.011, 0.005]),
    ],
)  # fmt: skip
def test_with_bayes_the_mode_is_found_and_a_mean_shifts_it(prior: list[float], end: list[float]) -> None:
    plain = partial(bayes, prior=torch.tensor(prior, dtype=torch.float64))
    found = sample_from_mean(plain, torch.zeros(1, len(prior)).double(), ABAR, 10)
    assert found[-1, 0].tolist() == pytest.approx(end, abs=2e-3)
    mean = torch.tensor([[0.3, -0.2, 0.7][: len(prior)]], dtype=torch.float64)
    torch.testing.assert_close(sample_from_mean(lambda y, t: plain(y - mean, t), mean, ABAR, 10), found + mean)


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_times_come_in_pairs_that_add_up(batch: int) -> None:
    times = antithetic_times(batch, T, stream(), torch.device("cpu"))
    assert len(times) == batch and int(times.min()) >= 0 and int(times.max()) < T
    half = batch // 2 + 1
    assert torch.equal(times[half:] + times[: batch - half], torch.full((batch - half,), T - 1))
    assert set(antithetic_times(4000, 50, stream(), torch.device("cpu")).tolist()) == set(range(50))


def floats(one: nn.Module) -> list[torch.Tensor]:
    return [value.detach().double() for value in one.state_dict().values() if value.is_floating_point()]


def test_the_average_is_that_of_the_recurrence_for_weights_and_statistics() -> None:
    one = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    ema = Ema(one, 0.6)
    assert not any(weight.requires_grad for weight in ema.net.parameters()) and not ema.net.training
    expected = [value.clone() for value in floats(one)]
    for step in range(1, 31):
        draws = stream(step)
        for weight in one.parameters():
            weight.data = torch.randn(weight.shape, generator=draws)
        one(torch.randn(5, 3, generator=draws))
        ema.update(one)
        decay = min(0.6, step / (step + 9))
        expected = [decay * mean + (1 - decay) * value for mean, value in zip(expected, floats(one), strict=True)]
    assert len(expected) == 6
    for found, value in zip(floats(ema.net), expected, strict=True):
        torch.testing.assert_close(found, value, atol=1e-6, rtol=0)
    assert int(ema.net[1].num_batches_tracked) == int(one[1].num_batches_tracked) == 30  # type: ignore[arg-type]
