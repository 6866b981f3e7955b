from __future__ import annotations

import pytest
import torch

from nlkit.parts.schedules import cosine_restarts, joined_cosine, warm_cosine


@pytest.mark.parametrize(("time", "rate"), [(0, 0), (10, 0.06), (20, 0.12), (100, 0.0790), (200, 0.0041)])
def test_the_curve_of_tcl_has_the_published_values(time: float, rate: float) -> None:
    assert warm_cosine(time, 0.12, 20, 200, 0.01) == pytest.approx(rate, abs=5e-5)


def test_the_curve_is_continuous_and_falls_to_its_floor_after_a_whole_period() -> None:
    before, after = (warm_cosine(20 + step, 0.12, 20, 200, 0.01) for step in (-1e-9, 1e-9))
    assert before == pytest.approx(after, abs=1e-9)
    assert warm_cosine(220, 0.12, 20, 200, 0.01) == pytest.approx(0.0012)
    rates = [warm_cosine(20 + time, 0.12, 20, 200, 0.01) for time in range(201)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("time", "rate"), [(0, 0.01), (5, 0.2549384), (10, 0.4998768), (500, 0.25025), (750, 0.0736501), (1000, 0.0005)]
)
def test_the_curve_of_pre_training_has_its_values(time: float, rate: float) -> None:
    """Line from 0.01 to the cosine's value after 10 epochs; half of peak and floor in the middle."""
    assert joined_cosine(time, 0.5, 0.01, 10, 1000, 0.001) == pytest.approx(rate, abs=1e-6)


def test_the_line_meets_the_curve_and_may_be_all_there_is() -> None:
    before, after = (joined_cosine(10 + step, 0.5, 0.01, 10, 100, 0.001) for step in (-1e-9, 1e-9))
    assert before == pytest.approx(after, abs=1e-8)
    rates = [joined_cosine(time, 0.5, 0.01, 10, 100, 0.001) for time in range(10, 121)]
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(0.0005)
    short = [joined_cosine(time, 0.5, 0.01, 10, 3, 0.001) for time in range(4)]
    assert short == pytest.approx([0.01, 0.00905, 0.0081, 0.00715])


def test_a_cosine_with_restarts_is_that_of_torch() -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.02)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=10, eta_min=0.001)
    for epoch in range(25):
        assert cosine_restarts(epoch, 0.02, 0.001, 10) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
