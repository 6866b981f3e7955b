"""Confident learning as a method: no network sees the fold that it judges, and the record keeps what a page needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.problem import Problem
from nlkit.methods import confident_learning
from nlkit.methods.confident_learning import ConfidentLearning, stratified_folds
from nlkit.params import Params
from nlkit.parts import confident

MakeParams = Callable[..., Params]
MakeProblem = Callable[..., Problem]
PLAIN = {"views.pad": 0, "views.flip": False}


def build(make_problem: MakeProblem, make_params: MakeParams, **settings: Any) -> ConfidentLearning:
    params = make_params("confident_learning", **PLAIN, **settings)
    return ConfidentLearning(make_problem(count=50).train, params)


def trained_on(method: ConfidentLearning, epoch: int) -> list[list[int]]:
    """For each network the samples that it was trained on in an epoch, sorted."""
    plain = method.nets[0].views.plain(method.data.images).flatten(1)
    seen: list[list[int]] = [[] for _ in method.nets]
    hooks = []
    for k, learner in enumerate(method.nets):

        def hook(module: Any, inputs: tuple[Tensor], k: int = k) -> None:
            distances = (inputs[0].detach().flatten(1)[:, None] - plain[None]).abs().amax(dim=2)
            seen[k].extend(distances.argmin(dim=1).tolist())

        hooks.append(learner.net.register_forward_pre_hook(hook))
    method.train_epoch(epoch, lambda share: None)
    for one in hooks:
        one.remove()
    return [sorted(samples) for samples in seen]


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_each_network_is_trained_on_all_samples_but_those_that_it_judges(
    folds: int, tiny_problem: MakeProblem, tiny_params: MakeParams
) -> None:
    method = build(tiny_problem, tiny_params, **{"method.folds": folds})
    for epoch in (0, 1):
        for k, samples in enumerate(trained_on(method, epoch)):
            assert samples == torch.nonzero(method.fold != k)[:, 0].tolist()


@pytest.mark.parametrize(("count", "classes", "folds"), [(100, 3, 3), (101, 7, 4), (5, 2, 3), (2, 2, 5)])
def test_folds_are_of_nearly_equal_size_as_a_whole_and_within_each_label(count: int, classes: int, folds: int) -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, classes, count))
    fold = stratified_folds(labels, folds, np.random.default_rng(1))
    for group in (torch.ones(count, dtype=torch.bool), *(labels == c for c in range(classes))):
        sizes = torch.bincount(fold[group], minlength=folds)
        assert int(sizes.max() - sizes.min()) <= 1 and len(sizes) == folds
    assert not torch.equal(fold, stratified_folds(labels, folds, np.random.default_rng(2))) or count < 5


def test_what_is_judged_comes_from_the_network_that_has_not_seen_it(
    tiny_problem: MakeProblem, tiny_params: MakeParams
) -> None:
    method = build(tiny_problem, tiny_params)
    method.train_epoch(0, lambda share: None)
    logits, split = method.out_of_fold(), method.split()
    for k, learner in enumerate(method.nets):
        mine = method.fold == k
        torch.testing.assert_close(logits[mine], learner.predict(method.data.images)[mine])
    losses = functional.cross_entropy(logits, method.data.labels, reduction="none")
    margin = confident.normalised_margin(logits.softmax(dim=1), method.data.labels)
    for k in range(3):
        torch.testing.assert_close(split.losses[k], losses)
        torch.testing.assert_close(split.p_clean[k], margin)


def test_the_score_can_be_chosen_and_self_confidence_is_the_exponential_of_the_loss(
    tiny_problem: MakeProblem, tiny_params: MakeParams
) -> None:
    split = build(tiny_problem, tiny_params, **{"method.score": "self_confidence"}).split()
    torch.testing.assert_close(split.p_clean, (-split.losses).exp())


def test_the_ensemble_is_the_mean_probability(tiny_problem: MakeProblem, tiny_params: MakeParams) -> None:
    method = build(tiny_problem, tiny_params)
    method.train_epoch(0, lambda share: None)
    ensemble, singles = method.logits(method.data.images)
    assert singles.shape == (3, 50, 3)
    torch.testing.assert_close(ensemble.softmax(dim=1), singles.softmax(dim=2).mean(dim=0))


def test_out_of_fold_probabilities_are_kept_after_the_last_epoch_unless_there_are_too_many(
    tiny_problem: MakeProblem, tiny_params: MakeParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(tiny_problem, tiny_params)
    method.train_epoch(2, lambda share: None)
    assert set(method.split().samples) == {"issue"}
    method.train_epoch(3, lambda share: None)
    samples = method.split().samples
    p = torch.stack([samples[f"oof_{c}"] for c in range(3)], dim=1)
    torch.testing.assert_close(p, method.out_of_fold().softmax(dim=1))
    assert samples["issue"].bool().tolist() == confident.issues(p.double(), method.data.labels).tolist()
    monkeypatch.setattr(confident_learning, "KEPT", 149)
    assert set(method.split().samples) == {"issue"}
