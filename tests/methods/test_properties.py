"""What every method keeps: it repeats, resumes, reports, counts its cost, and never sees clean labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from tiny import copied, same
from torch import Tensor, nn

from nlkit.data.problem import Problem, TrainingSet
from nlkit.methods.base import GRADIENT, Method
from nlkit.params import registry
from nlkit.parts.epochs import endless_batches, joined_cosine, warm_cosine
from nlkit.parts.semi import drawn_unlabelled
from nlkit.training import loop as training

EPOCHS = 4
methods = pytest.mark.parametrize("name", registry.names())


@pytest.fixture
def problem() -> Problem:
    return tiny.problem(count=70)


@methods
def test_a_run_is_decided_by_its_seed_and_changes_nothing_but_itself(name: str, problem: Problem) -> None:
    images, labels, stream = problem.train.images.clone(), problem.train.labels.clone(), torch.get_rng_state()
    first, second, other = (tiny.method(name, problem.train, seed=seed) for seed in (0, 0, 1))
    assert same(first.state_dict(), second.state_dict()) and not same(first.state_dict(), other.state_dict())
    results = tiny.train(first, 0, 1, 2, split=True)
    assert torch.equal(torch.get_rng_state(), stream)
    torch.rand(7)
    assert tiny.train(second, 0, 1, 2, split=True) == results != tiny.train(other, 0, 1, 2, split=True)
    assert same(first.state_dict(), second.state_dict()) and first.events == second.events
    assert torch.equal(problem.train.images, images) and torch.equal(problem.train.labels, labels)


@methods
def test_each_epoch_draws_anew(name: str, problem: Problem) -> None:
    """The first images that a network in training mode sees are others in another epoch."""
    firsts = dict[int, Tensor]()

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if module.training and isinstance(inputs[0], Tensor) and inputs[0].dim() == 4:
            firsts.setdefault(epoch, inputs[0].detach().clone())

    for epoch in (2, 3):
        method = tiny.method(name, problem.train)
        tiny.train(method, 0, 1, split=True)
        with nn.modules.module.register_module_forward_pre_hook(look):
            tiny.train(method, epoch)
    assert not torch.equal(firsts[2], firsts[3])


@methods
def test_a_state_that_other_code_wrote_is_refused(name: str, problem: Problem) -> None:
    method = tiny.method(name, problem.train)
    tiny.train(method, 0, split=True)
    state = copied(method.state_dict())
    weight = next(key for key in state if key.endswith("weight"))
    lacking = {key: value for key, value in state.items() if key != weight}
    for wrong in (lacking, state | {weight: torch.zeros(2, 2)}):
        with pytest.raises((KeyError, TypeError, ValueError, RuntimeError)):  # what resuming reports in one line
            tiny.method(name, problem.train).load_state_dict(wrong)


def weights_of(method: Method) -> dict[str, Tensor]:
    endings = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return copied({name: value for name, value in method.state_dict().items() if name.endswith(endings)})


@methods
@pytest.mark.parametrize(
    ("count", "size", "labels"),
    [(64, 16, 3), (65, 16, 3), (17, 16, 3), (3, 2, 3), (32, 16, 1)],
    ids=["full batches", "a last batch of one", "a batch and one", "three images", "one label only"],
)
def test_an_epoch_reports_finite_losses_evidence_and_progress(name: str, count: int, size: int, labels: int) -> None:
    problem = tiny.problem(count=count)
    data = problem.train if labels > 1 else replace(problem.train, labels=torch.ones_like(problem.train.labels))
    method = tiny.method(name, data, **{"training.batch_size": size})
    division, kept = torch.zeros(0), torch.zeros(0)
    for epoch in range(EPOCHS):
        shares: list[float] = []
        values = method.train_epoch(epoch, shares.append)
        assert torch.equal(division, kept), "what a split returned changed later"
        assert sum(shares) == pytest.approx(1) and min(shares) > 0
        assert any(key.startswith("loss") for key in values) and np.isfinite(list(values.values())).all()
        networks = weights_of(method)
        split = method.split()
        ensemble, singles = method.logits(problem.tests["test"][0])
        assert same(weights_of(method), networks), "measuring changed a network"
        division, kept = split.p_clean, split.p_clean.clone()
        assert ensemble.shape == (30, 3) and singles.shape == (len(split.mixtures), 30, 3)
        assert ensemble.dtype == singles.dtype == torch.float32 and not ensemble.requires_grad
        assert bool(ensemble.isfinite().all())
        assert split.losses.shape == split.p_clean.shape == (len(singles), count)
        assert bool((split.losses >= 0).all() and split.losses.isfinite().all())
        assert bool(((split.p_clean >= 0) & (split.p_clean <= 1)).all())
        assert not any("\n" in event for event in method.events)


@methods
def test_clean_labels_and_those_of_tests_change_only_measurements(name: str, problem: Problem, tmp_path: Path) -> None:
    assert problem.clean is not None
    images, labels = problem.tests["test"]
    scrambled = replace(problem, clean=(problem.clean + 1) % 3, tests={"test": (images, labels.flip(0))})
    problems = problem, scrambled, replace(problem, clean=None)
    fits = [training.fit(one, tiny.params(name), tmp_path / str(k), progress=False) for k, one in enumerate(problems)]
    for other in fits[1:]:
        assert same(fits[0].method.state_dict(), other.method.state_dict())
        assert fits[0].rows[-1]["auc"] != other.rows[-1]["auc"]
    assert fits[0].rows[-1]["accuracy"] == fits[2].rows[-1]["accuracy"]
    assert {one.name for one in fields(TrainingSet)} == {"images", "labels", "classes", "mean", "std", "encoder"}


@methods
def test_a_run_interrupted_each_epoch_ends_as_an_undisturbed_one(name: str, problem: Problem, tmp_path: Path) -> None:
    params = tiny.params(name, **{"training.snapshots": [1, 3]})
    calm = training.fit(problem, params, tmp_path / "calm", progress=False)
    for epoch in range(EPOCHS):
        with tiny.interrupted(name, epoch):
            training.fit(problem, params, tmp_path / "disturbed", progress=False)
    resumed = training.fit(problem, params, tmp_path / "disturbed", progress=False)
    assert resumed.resumed and resumed.method.events == calm.method.events
    assert [row | {"seconds": 0} for row in resumed.rows] == [row | {"seconds": 0} for row in calm.rows]
    assert same(resumed.method.state_dict(), calm.method.state_dict())
    assert list(resumed.snapshots) == list(calm.snapshots) == [1, 3, EPOCHS]
    assert all(same(resumed.snapshots[epoch], snapshot) for epoch, snapshot in calm.snapshots.items())
    assert torch.equal(resumed.split.p_clean, calm.split.p_clean)


def counted(method: Any, epochs: int, needs_split: bool) -> tuple[float, pd.DataFrame]:
    """Forward-equivalents of some epochs by a hook on each network, and the rows that training returned."""
    total, counting = [0.0], [True]

    def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if counting[0]:
            total[0] += len(inputs[0]) * (GRADIENT if torch.is_grad_enabled() else 1)

    for learner in method.nets:
        getattr(learner.net, "encoder", learner.net).register_forward_pre_hook(hook)
    rows = []
    for epoch in range(epochs):
        rows.append({"epoch": epoch + 1, **method.train_epoch(epoch, lambda share: None)})
        counting[0] = needs_split
        method.split()
        counting[0] = True
    return total[0], pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("name", "settings"),
    [(entry.name, {}) for entry in registry.everything() if entry.passes]
    + [("codim", {"method.cl_subset": "unlabelled"}), ("codim", {"method.lambda_c": 0})]
    + [(name, {"method.balanced": 30}) for name in ("dividemix", "tcl", "lra_diffusion")],
)
@pytest.mark.parametrize("count", [64, 75])
def test_the_cost_of_a_method_is_that_of_the_passes_it_makes(name: str, settings: dict[str, Any], count: int) -> None:
    epochs, passes = EPOCHS - 1, registry.find(name).passes
    never, always, hooked = (tiny.method(name, count, **settings) for _ in range(3))
    # A split that training can do without serves figures and is not counted.
    needs_split = tiny.train(never, *range(epochs)) != tiny.train(always, *range(epochs), split=True)
    total, rows = counted(hooked, epochs, needs_split)
    assert passes is not None and passes(hooked.params, count, rows) == total


@pytest.mark.parametrize(
    ("name", "own", "epochs", "curve"),
    [
        ("elr", {"method.cosine_epochs": 4, "method.lr_floor": 0.01}, range(5),
         lambda time: 0.03 + 0.02 * math.cos(math.pi * int(time % 4) / 4)),
        ("simclr", {"optim.lr": 0.5, "training.epochs": 9, "method.lr_warm_up": 2}, range(9),
         lambda time: joined_cosine(time, 0.5, 0.01, 2, 9, 0.001)),
        ("tcl", {"optim.lr": 0.12, "training.epochs": 200, "method.lr_warm_up": 20}, (0, 20),
         lambda time: warm_cosine(time, 0.12, 20, 200, 0.01)),
        ("lra_diffusion", {"optim.lr": 1e-3, "method.lr_warm_up": 5, "method.horizon": 1000.0}, (0, 5, 200),
         lambda time: min(1e-3 * time / 5, 0.5e-3 * (1 + math.cos(math.pi * (time - 5) / 995)))),
        ("lra_diffusion", {"optim.lr": 1e-3, "method.lr_warm_up": 1, "training.epochs": 9}, (0, 8),
         lambda time: min(1e-3 * time, 0.5e-3 * (1 + math.cos(math.pi * (time - 1) / 8)))),
        *((plain, {"optim.drop_epochs": [1]}, (0, 1), lambda time: 0.05 * 0.1 ** (time >= 1))
          for plain in ("cross_entropy", "mixup")),
    ],
)  # fmt: skip
def test_the_learning_rate_of_each_step_lies_on_the_curve_of_the_method(
    name: str, own: dict[str, Any], epochs: Sequence[int], curve: Callable[[float], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    method = tiny.method(name, 64, **own)
    rates = tiny.spied(monkeypatch, method.learner, "set_rate")
    tiny.train(method, *epochs)
    expected = [curve(epoch + step / 4) for epoch in epochs for step in range(4)]
    assert [rate for (rate,), _ in rates] == pytest.approx(expected)


@pytest.mark.parametrize(("labelled", "unlabelled"), [(30, 66), (66, 30), (16, 80), (80, 16), (5, 3), (48, 0)])
def test_the_unlabelled_images_of_an_epoch_are_those_that_are_drawn(labelled: int, unlabelled: int) -> None:
    batches = endless_batches(torch.arange(unlabelled), 16, tiny.stream())
    steps = len(torch.arange(labelled).split(16))
    assert drawn_unlabelled(labelled, unlabelled, 16) == sum(len(next(batches)) for _ in range(steps))
