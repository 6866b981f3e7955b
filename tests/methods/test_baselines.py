"""mixup, ELR and confident learning: losses in closed form, targets as state, who judges what, and cleanlab."""

import numpy as np
import pytest
import tiny
import torch
from cleanlab import count as counting
from cleanlab import filter as filtering
from cleanlab import rank
from recording import Recording
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import cross_entropy as ce

from nlkit.methods import confident_learning as confident
from nlkit.methods.confident_learning import stratified_folds
from nlkit.methods.elr import early_learning, moved
from nlkit.parts import semi


def test_mixup_trains_on_the_mean_of_two_images_with_the_mean_of_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny.method("mixup", 40, **tiny.PLAIN, **{"method.alpha": 4})
    mixes, steps = tiny.spied(monkeypatch, semi, "mix"), tiny.spied(monkeypatch, method.learner, "step")
    recording = Recording(method)
    tiny.train(method, 0)
    mixes, labels = [given for given, _ in mixes[::2]], [given[0] for given, _ in mixes[1::2]]
    assert sorted(recording.samples(torch.cat([views for views, _, _ in mixes]))) == list(range(40))
    rows = zip(mixes, labels, recording.calls, steps, strict=True)
    for (views, share, order), label, call, ((loss, _), _) in rows:
        given = method.data.labels[recording.samples(views)]
        assert torch.equal(label.argmax(dim=1), given) and sorted(order.tolist()) == list(range(len(views)))
        torch.testing.assert_close(call.inputs, share * views + (1 - share) * views[order])
        expected = share * ce(call.logits, given) + (1 - share) * ce(call.logits, given[order])
        torch.testing.assert_close(loss, expected)
    shares = [share for _, share, _ in mixes]
    assert len(set(shares)) == 3 and min(shares) > 0 and max(shares) < 1


def test_the_gradient_of_the_penalty_is_that_of_the_paper() -> None:
    """For logits z: sum_c of d/dz is zero, and d/dz_c = -p_c (t_c - <p, t>) / (1 - <p, t>) / B."""
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    t = 0.9 * torch.rand(5, 4, dtype=torch.float64).softmax(dim=1)
    p = z.softmax(dim=1)
    early_learning(p, t).backward()
    inner = (p * t).sum(dim=1, keepdim=True)
    torch.testing.assert_close(z.grad, (-p * (t - inner) / (1 - inner) / 5).detach())


def test_elr_moves_the_target_of_a_sample_once_an_epoch_before_it_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny.method("elr", 24, **tiny.PLAIN, **{"training.batch_size": 24, "method.weight": 2})
    recording, steps = Recording(method), tiny.spied(monkeypatch, method.learner, "step")
    (values,) = tiny.train(method, 0)
    assert float(steps[0][0][0].detach()) == pytest.approx(values["loss"] + 2 * values["penalty"])
    torch.testing.assert_close(method.targets.sum(dim=1), torch.full((24,), 0.3))
    p = recording.calls[0].logits.softmax(dim=1).clamp(1e-4, 1 - 1e-4)
    expected = torch.log(1 - (p * 0.3 * p / p.sum(dim=1, keepdim=True)).sum(dim=1)).mean()
    assert values["penalty"] == pytest.approx(float(expected), abs=1e-6)
    tiny.train(method, 1)
    torch.testing.assert_close(method.targets.sum(dim=1), torch.full((24,), 0.51))
    torch.testing.assert_close(moved(torch.zeros(1, 2), torch.ones(1, 2), 0.7), torch.full((1, 2), 0.15))


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_each_network_is_trained_on_all_samples_but_those_that_it_judges(folds: int) -> None:
    method = tiny.method("confident_learning", 50, **tiny.PLAIN, **{"method.folds": folds})
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


@pytest.mark.parametrize("score", ["normalised_margin", "self_confidence"])
def test_each_is_judged_by_the_network_that_has_not_seen_it_and_the_ensemble_is_the_mean_probability(
    score: str,
) -> None:
    method = tiny.method("confident_learning", 50, **{"method.score": score})
    tiny.train(method, 0)
    logits, split = method.out_of_fold(), method.split()
    for k, learner in enumerate(method.nets):
        mine = method.fold == k
        torch.testing.assert_close(logits[mine], learner.predict(method.data.images)[mine])
    losses = functional.cross_entropy(logits, method.data.labels, reduction="none")
    margin = confident.normalised_margin(logits.softmax(dim=1), method.data.labels)
    for k in range(3):
        torch.testing.assert_close(split.losses[k], losses)
        torch.testing.assert_close(split.p_clean[k], (-losses).exp() if score == "self_confidence" else margin)
    ensemble, singles = method.logits(method.data.images)
    assert singles.shape == (3, 50, 3)
    torch.testing.assert_close(ensemble.softmax(dim=1), singles.softmax(dim=2).mean(dim=0))


def test_out_of_fold_probabilities_are_kept_at_the_last_epoch_unless_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny.method("confident_learning", 50)
    tiny.train(method, 2)
    assert set(method.split().samples) == {"issue"}
    tiny.train(method, 3)
    samples = method.split().samples
    p = torch.stack([samples[f"oof_{c}"] for c in range(3)], dim=1)
    torch.testing.assert_close(p, method.out_of_fold().softmax(dim=1))
    assert samples["issue"].bool().tolist() == confident.issues(p.double(), method.data.labels).tolist()
    monkeypatch.setattr(confident, "KEPT", 149)
    assert set(method.split().samples) == {"issue"}


def drawn(seed: int, count: int = 300, classes: int = 5, sharp: float = 2.0) -> tuple[Tensor, Tensor]:
    """Random probabilities [N, C] and labels that follow them, of which some were redrawn; the last class is rare."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(count, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(count) < 0.3, rng.integers(0, classes - 1, count), p.argmax(axis=1))
    return torch.from_numpy(p), torch.from_numpy(labels)


@pytest.mark.parametrize(
    "sample",
    [drawn(0), drawn(1, classes=2), drawn(2, classes=17), drawn(3, sharp=0.1), drawn(4, sharp=20), drawn(5, count=7)],
    ids=["plain", "two classes", "many classes", "flat", "sure", "few"],
)
def test_cleanlab_has_the_same_joint_issues_and_scores(sample: tuple[Tensor, Tensor]) -> None:
    p, labels = (part.numpy() for part in sample)
    joint = confident.confident_joint(*sample)
    assert joint.tolist() == counting.compute_confident_joint(labels, p, calibrate=False).tolist()
    theirs = counting.compute_confident_joint(labels, p)  # rounded
    ours = confident.calibrated(joint, sample[1]).numpy()
    assert np.abs(ours - theirs).max() < 1 and np.abs((ours - theirs).sum(axis=1)).max() < 1e-6
    assert confident.estimated_errors(*sample) == pytest.approx(ours.sum() - ours.trace())
    issues = filtering.find_label_issues(labels, p, filter_by="confident_learning", n_jobs=1)
    assert confident.issues(*sample).tolist() == issues.tolist()
    scores = {"self_confidence": confident.self_confidence, "normalized_margin": confident.normalised_margin}
    for name, score in scores.items():
        theirs = rank.get_label_quality_scores(labels, p, method=name)
        np.testing.assert_allclose(score(*sample).numpy(), theirs, atol=1e-12)
