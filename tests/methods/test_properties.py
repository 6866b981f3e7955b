"""What every method keeps: it repeats, resumes, reports, and never sees clean labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from nlkit.data.problem import Problem, TrainingSet
from nlkit.methods import METHODS, Method, build_method
from nlkit.params import Params
from nlkit.training import loop as training
from nlkit.training.problem import load_problem

MakeParams = Callable[..., Params]

methods = pytest.mark.parametrize("name", METHODS)


@pytest.fixture
def problem(tiny_problem: Callable[..., Problem]) -> Problem:
    return tiny_problem(count=70)


def train(method: Method, *epochs: int) -> list[dict[str, float]]:
    results = []
    for epoch in epochs:
        results.append(method.train_epoch(epoch, lambda share: None))
        method.split()
    return results


def state_of(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@methods
def test_two_instances_with_one_seed_are_equal_bit_for_bit(
    name: str, problem: Problem, tiny_params: MakeParams
) -> None:
    first, second = (build_method(problem.train, tiny_params(name)) for _ in range(2))
    assert same(first.state_dict(), second.state_dict())
    results = train(first, 0, 1, 2)
    torch.rand(7)
    assert train(second, 0, 1, 2) == results
    assert same(first.state_dict(), second.state_dict()) and first.events == second.events


@methods
def test_another_seed_is_another_run(name: str, problem: Problem, tiny_params: MakeParams) -> None:
    results = [train(build_method(problem.train, tiny_params(name, seed=seed)), 0, 1) for seed in (0, 1)]
    assert results[0] != results[1]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cross_entropy", {}),
        ("mixup", {}),
        ("elr", {}),
        ("confident_learning", {}),
        ("dividemix", {"method.lambda_u": 0}),
        ("dividemix", {"method.warm_up": 5}),
        ("tcl", {}),
        ("simclr", {}),
        ("codim", {}),
        ("lra_diffusion", {}),
    ],
)
def test_each_epoch_draws_anew(name: str, settings: dict[str, Any], problem: Problem, tiny_params: MakeParams) -> None:
    results = [train(build_method(problem.train, tiny_params(name, **settings)), epoch) for epoch in (1, 2)]
    assert results[0] != results[1]


@methods
def test_training_leaves_the_global_random_state_alone(name: str, problem: Problem, tiny_params: MakeParams) -> None:
    before = torch.get_rng_state()
    train(build_method(problem.train, tiny_params(name)), 0, 1)
    assert torch.equal(torch.get_rng_state(), before)


@methods
@pytest.mark.parametrize("cut", [1, 2])
def test_a_restored_method_continues_bit_for_bit(
    name: str, cut: int, problem: Problem, tiny_params: MakeParams
) -> None:
    params = tiny_params(name)
    whole, part, resumed = (build_method(problem.train, params) for _ in range(3))
    expected = train(whole, *range(4))[cut:]
    train(part, *range(cut))
    resumed.load_state_dict(state_of(part))
    assert same(resumed.state_dict(), part.state_dict())
    assert train(resumed, *range(cut, 4)) == expected
    assert same(resumed.state_dict(), whole.state_dict())


@methods
def test_a_state_that_was_taken_back_is_not_changed_by_training(
    name: str, problem: Problem, tiny_params: MakeParams
) -> None:
    method = build_method(problem.train, tiny_params(name))
    train(method, 0)
    state = state_of(method)
    kept = {key: value.clone() for key, value in state.items()}
    method.load_state_dict(state)
    train(method, 1, 2)
    changed = [key for key in state if not torch.equal(state[key], kept[key])]
    assert changed == []


@methods
def test_logits_have_the_shapes_of_an_ensemble_and_its_networks(
    name: str, problem: Problem, tiny_params: MakeParams
) -> None:
    method = build_method(problem.train, tiny_params(name))
    ensemble, singles = method.logits(problem.tests["test"][0])
    assert ensemble.shape == (30, 3) and singles.shape[1:] == (30, 3) and len(singles) >= 1
    assert ensemble.dtype == singles.dtype == torch.float32 and not ensemble.requires_grad


@methods
def test_a_split_has_evidence_for_every_network_and_sample(
    name: str, problem: Problem, tiny_params: MakeParams
) -> None:
    method = build_method(problem.train, tiny_params(name))
    method.train_epoch(0, lambda share: None)
    split = method.split()
    networks = len(method.logits(problem.train.images)[1])
    assert split.losses.shape == split.p_clean.shape == (networks, 70) and len(split.mixtures) == networks
    assert bool(((split.p_clean >= 0) & (split.p_clean <= 1)).all()) and bool((split.losses >= 0).all())


@methods
@pytest.mark.parametrize("count", [64, 70, 65])
def test_the_ticks_of_an_epoch_add_up_to_one(
    name: str, count: int, tiny_problem: Callable[..., Problem], tiny_params: MakeParams
) -> None:
    method = build_method(tiny_problem(count=count).train, tiny_params(name))
    for epoch in (0, 1):
        shares: list[float] = []
        method.train_epoch(epoch, shares.append)
        method.split()
        assert sum(shares) == pytest.approx(1) and min(shares) > 0


@methods
@pytest.mark.parametrize(("count", "classes"), [(65, 3), (17, 3), (32, 1), (3, 3)], ids=lambda value: str(value))
def test_numbers_stay_finite_with_one_label_only_and_with_batches_of_one(
    name: str, count: int, classes: int, tiny_problem: Callable[..., Problem], tiny_params: MakeParams
) -> None:
    data = tiny_problem(count=count).train
    if classes == 1:
        data = dataclasses.replace(data, labels=torch.ones_like(data.labels))
    method = build_method(data, tiny_params(name, **{"training.batch_size": 2 if count == 3 else 16}))
    for epoch in range(4):
        values = method.train_epoch(epoch, lambda share: None)
        split = method.split()
        assert all(np.isfinite(value) for value in values.values())
        assert bool(torch.isfinite(split.losses).all() and torch.isfinite(split.p_clean).all())
    assert bool(torch.isfinite(method.logits(data.images)[0]).all())


@methods
def test_training_changes_neither_images_nor_labels(name: str, problem: Problem, tiny_params: MakeParams) -> None:
    images, labels = problem.train.images.clone(), problem.train.labels.clone()
    train(build_method(problem.train, tiny_params(name)), 0, 1)
    assert torch.equal(problem.train.images, images) and torch.equal(problem.train.labels, labels)


def test_a_training_set_has_no_place_for_clean_labels() -> None:
    names = {field.name for field in dataclasses.fields(TrainingSet)}
    assert names == {"images", "labels", "classes", "mean", "std", "encoder"}


@methods
def test_scrambled_clean_labels_change_measurements_and_nothing_else(
    name: str, problem: Problem, tiny_params: MakeParams, tmp_path: Path
) -> None:
    assert problem.clean is not None
    scrambled = dataclasses.replace(problem, clean=(problem.clean + 1) % 3)
    unknown = dataclasses.replace(problem, clean=None)
    params = tiny_params(name)
    fits = [
        training.fit(one, params, tmp_path / str(number), progress=False)
        for number, one in enumerate((problem, scrambled, unknown))
    ]
    for other in fits[1:]:
        assert same(fits[0].method.state_dict(), other.method.state_dict())
        assert fits[0].rows[-1]["accuracy"] == other.rows[-1]["accuracy"]
        assert fits[0].rows[-1]["auc"] != other.rows[-1]["auc"]


def fit_digits(make: MakeParams, folder: Path, name: str, **settings: Any) -> tuple[Problem, training.Fit]:
    """Train a small network on 600 digits; settings are dotted keys."""
    base = {"data.train_size": 600, "model.width": 8, "views.flip": False}
    params = make(name, **{**base, **settings})
    problem = load_problem(params.data, params.noise, Path("unused"), torch.device("cpu"))
    return problem, training.fit(problem, params, folder / name, progress=False)


def test_dividemix_finds_the_wrong_labels_and_beats_cross_entropy(tiny_params: MakeParams, tmp_path: Path) -> None:
    own = {"method.warm_up": 6, "method.penalty": False, "training.epochs": 15, "views.rotate": 10.0, "views.zoom": 0.1}
    problem, ours = fit_digits(tiny_params, tmp_path, "dividemix", **own)
    plain_settings = {"training.epochs": 25, "views.pad": 0, "optim.lr": 0.02}
    _, plain = fit_digits(tiny_params, tmp_path, "cross_entropy", **plain_settings)
    assert ours.rows[-1]["auc"] > 0.95
    assert ours.rows[-1]["accuracy"] > plain.rows[-1]["accuracy"] + 10
    assert ours.split is not None and problem.clean is not None
    right = (problem.train.labels == problem.clean).numpy()
    assert ours.rows[-1]["auc"] == pytest.approx(roc_auc_score(right, ours.split.p_clean.mean(dim=0).numpy()))


def test_dividemix_keeps_most_labels_where_none_is_wrong(tiny_params: MakeParams, tmp_path: Path) -> None:
    own = {"method.warm_up": 6, "method.penalty": False, "method.ramp_epochs": 16, "training.epochs": 12}
    _, ours = fit_digits(
        tiny_params, tmp_path, "dividemix", **own, **{"noise.rate": 0, "views.pad": 0, "optim.lr": 0.02}
    )
    row = ours.rows[-1]
    assert min(row["labelled_1"], row["labelled_2"]) > 0.8 * 600 and row["accuracy"] > 80
