"""The counted cost of a method is that of the passes which its networks really make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

from nlkit.data.problem import Problem
from nlkit.methods import build_method
from nlkit.methods.cost import GRADIENT, RULES, drawn_unlabelled, forward_equivalents
from nlkit.params import Params
from nlkit.parts.batches import endless_batches
from nlkit.parts.learner import Learner

EPOCHS = 3  # one less than the tiny run has: after its last epoch CoDiM looks at all images for its figures
NO_LOOK = ("cross_entropy", "mixup", "elr", "confident_learning", "lra_diffusion", "simclr")
"""Methods whose split serves figures and measurements only."""


def learners(method: Any) -> list[Learner]:
    return list(method.nets) if hasattr(method, "nets") else [method.learner]


def counted(method: Any, needs_split: bool) -> tuple[float, pd.DataFrame]:
    """Forward-equivalents of EPOCHS epochs by a hook on each network, and the rows that training returned."""
    total, counting = [0.0], [True]

    def hook(module: Any, inputs: tuple[torch.Tensor]) -> None:
        if counting[0]:
            total[0] += len(inputs[0]) * (GRADIENT if torch.is_grad_enabled() else 1)

    for learner in learners(method):
        getattr(learner.net, "encoder", learner.net).register_forward_pre_hook(hook)
    rows = []
    for epoch in range(EPOCHS):
        rows.append({"epoch": epoch + 1, **method.train_epoch(epoch, lambda share: None)})
        counting[0] = needs_split
        method.split()
        counting[0] = True
    return total[0], pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("paper", "settings"),
    [(paper, {}) for paper in sorted(RULES)]
    + [("codim", {"method.cl_subset": "unlabelled"}), ("codim", {"method.lambda_c": 0})],
)
@pytest.mark.parametrize("count", [64, 75])
def test_the_rule_counts_what_hooks_count(
    paper: str,
    settings: dict[str, Any],
    count: int,
    tiny_problem: Callable[..., Problem],
    tiny_params: Callable[..., Params],
) -> None:
    params = tiny_params(paper, **settings)
    method = build_method(tiny_problem(count=count).train, params)
    total, rows = counted(method, needs_split=paper not in NO_LOOK)
    assert forward_equivalents(params, count, rows) == pytest.approx(total / (count * EPOCHS))


@pytest.mark.parametrize(("labelled", "unlabelled"), [(30, 66), (66, 30), (16, 80), (80, 16), (5, 3), (48, 0)])
def test_the_unlabelled_images_of_an_epoch_are_those_that_are_drawn(labelled: int, unlabelled: int) -> None:
    batches = endless_batches(torch.arange(unlabelled), 16, torch.Generator().manual_seed(0))
    steps = len(torch.arange(labelled).split(16))
    assert drawn_unlabelled(labelled, unlabelled, 16) == sum(len(next(batches)) for _ in range(steps))


def test_a_step_of_dividemix_costs_what_its_specification_says() -> None:
    """64 labelled and 64 unlabelled images: 384 guesses and 256 mixed rows with gradient, 1,152 in all."""
    assert drawn_unlabelled(64, 64, 64) == 64
    assert 2 * 64 + 4 * 64 + GRADIENT * 2 * (64 + 64) == 1152


def test_a_method_without_a_rule_has_no_number(
    tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(RULES, "elr")
    assert forward_equivalents(tiny_params("elr"), 10, pd.DataFrame({"epoch": [1]})) is None
