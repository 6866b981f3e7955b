"""Confident learning against cleanlab, the authors' code, as referee."""

import numpy as np
import pytest
import torch
from cleanlab import count, filter, rank
from torch import Tensor

from nlkit.methods import confident_learning as confident

Sample = tuple[Tensor, Tensor]


def draw(seed: int, count: int = 300, classes: int = 5, sharp: float = 2.0) -> Sample:
    """Random probabilities [N, C] and labels that follow them, of which some were redrawn; the last class is rare."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(count, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(count) < 0.3, rng.integers(0, classes - 1, count), p.argmax(axis=1))
    return torch.from_numpy(p), torch.from_numpy(labels)


samples = pytest.mark.parametrize(
    "sample",
    [draw(0), draw(1, classes=2), draw(2, classes=17), draw(3, sharp=0.1), draw(4, sharp=20), draw(5, count=7)],
    ids=["plain", "two classes", "many classes", "flat", "sure", "few"],
)


def test_sure_and_right_probabilities_have_no_errors_and_flipped_labels_are_all_found() -> None:
    """With p one-hot at the true class, the issues are the flipped labels and their estimated number is exact."""
    truth = torch.arange(60) % 3
    p = torch.nn.functional.one_hot(truth, 3).double()
    assert not confident.issues(p, truth).any() and confident.estimated_errors(p, truth) == 0
    labels = truth.clone()
    labels[:9] = (labels[:9] + 1) % 3
    assert confident.issues(p, labels).tolist() == [True] * 9 + [False] * 51
    assert confident.estimated_errors(p, labels) == pytest.approx(9)


@samples
def test_cleanlab_has_the_same_joint_issues_and_scores(sample: Sample) -> None:
    p, labels = (part.numpy() for part in sample)
    joint = confident.confident_joint(*sample)
    assert joint.tolist() == count.compute_confident_joint(labels, p, calibrate=False).tolist()
    theirs = count.compute_confident_joint(labels, p)  # rounded
    ours = confident.calibrated(joint, sample[1]).numpy()
    assert np.abs(ours - theirs).max() < 1 and np.abs((ours - theirs).sum(axis=1)).max() < 1e-6
    assert confident.estimated_errors(*sample) == pytest.approx(ours.sum() - ours.trace())
    issues = filter.find_label_issues(labels, p, filter_by="confident_learning", n_jobs=1)
    assert confident.issues(*sample).tolist() == issues.tolist()
    for name, score in (
        ("self_confidence", confident.self_confidence),
        ("normalized_margin", confident.normalised_margin),
    ):
        theirs = rank.get_label_quality_scores(labels, p, method=name)
        np.testing.assert_allclose(score(*sample).numpy(), theirs, atol=1e-12)
