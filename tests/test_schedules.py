from __future__ import annotations

import pytest
import torch

from nlkit.schedules import cosine_restarts, warm_cosine


@pytest.mark.parametrize(("time", "rate"), [(0, 0), (10, 0.06), (20, 0.12), (100, 0.0790), (200, 0.0041)])
def test_the_curve_of_tcl_has_the_published_values(time: float, rate: float) -> None:
    assert warm_cosine(time, 0.12, 20, 200, 0.01) == pytest.approx(rate, abs=5e-5)


def test_the_curve_is_continuous_and_falls_to_its_floor_after_a_whole_period() -> None:
    before, after = (warm_cosine(20 + step, 0.12, 20, 200, 0.01) for step in (-1e-9, 1e-9))
    assert before == pytest.approx(after, abs=1e-9)
    assert warm_cosine(220, 0.12, 20, 200, 0.01) == pytest.approx(0.0012)
    rates = [warm_cosine(20 + time, 0.12, 20, 200, 0.01) for time in range(201)]
    assert rates == sorted(rates, reverse=True)


def test_a_cosine_with_restarts_is_that_of_torch() -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.02)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=10, eta_min=0.001)
    for epoch in range(25):
        assert cosine_restarts(epoch, 0.02, 0.001, 10) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
