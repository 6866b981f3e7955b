"""Confident learning as a method: no network sees the fold that it judges, and the record keeps what a page needs."""

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from recording import Recording
from torch.nn import functional

from nlkit.methods import confident_learning
from nlkit.methods.confident_learning import ConfidentLearning, stratified_folds


def build(**settings: Any) -> ConfidentLearning:
    return tiny.method("confident_learning", 50, **tiny.PLAIN, **settings)


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_each_network_is_trained_on_all_samples_but_those_that_it_judges(folds: int) -> None:
    method = build(**{"method.folds": folds})
    for epoch in (0, 1):
        recording = Recording(method)
        tiny.train(method, epoch)
        for k in range(folds):
            assert recording.seen(k) == torch.nonzero(method.fold != k)[:, 0].tolist()


@pytest.mark.parametrize(("count", "classes", "folds"), [(100, 3, 3), (101, 7, 4), (5, 2, 3), (2, 2, 5)])
def test_folds_are_of_nearly_equal_size_as_a_whole_and_within_each_label(count: int, classes: int, folds: int) -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, classes, count))
    fold = stratified_folds(labels, folds, np.random.default_rng(1))
    for group in (torch.ones(count, dtype=torch.bool), *(labels == c for c in range(classes))):
        sizes = torch.bincount(fold[group], minlength=folds)
        assert int(sizes.max() - sizes.min()) <= 1 and len(sizes) == folds
    assert not torch.equal(fold, stratified_folds(labels, folds, np.random.default_rng(2))) or count < 5


def test_what_is_judged_comes_from_the_network_that_has_not_seen_it() -> None:
    method = build()
    tiny.train(method, 0)
    logits, split = method.out_of_fold(), method.split()
    for k, learner in enumerate(method.nets):
        mine = method.fold == k
        torch.testing.assert_close(logits[mine], learner.predict(method.data.images)[mine])
    losses = functional.cross_entropy(logits, method.data.labels, reduction="none")
    margin = confident_learning.normalised_margin(logits.softmax(dim=1), method.data.labels)
    for k in range(3):
        torch.testing.assert_close(split.losses[k], losses)
        torch.testing.assert_close(split.p_clean[k], margin)


def test_the_score_can_be_chosen_and_self_confidence_is_the_exponential_of_the_loss() -> None:
    split = build(**{"method.score": "self_confidence"}).split()
    torch.testing.assert_close(split.p_clean, (-split.losses).exp())


def test_the_ensemble_is_the_mean_probability() -> None:
    method = build()
    tiny.train(method, 0)
    ensemble, singles = method.logits(method.data.images)
    assert singles.shape == (3, 50, 3)
    torch.testing.assert_close(ensemble.softmax(dim=1), singles.softmax(dim=2).mean(dim=0))


def test_out_of_fold_probabilities_are_kept_after_the_last_epoch_unless_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = build()
    tiny.train(method, 2)
    assert set(method.split().samples) == {"issue"}
    tiny.train(method, 3)
    samples = method.split().samples
    p = torch.stack([samples[f"oof_{c}"] for c in range(3)], dim=1)
    torch.testing.assert_close(p, method.out_of_fold().softmax(dim=1))
    assert samples["issue"].bool().tolist() == confident_learning.issues(p.double(), method.data.labels).tolist()
    monkeypatch.setattr(confident_learning, "KEPT", 149)
    assert set(method.split().samples) == {"issue"}
