"""Confident learning: which labels are contradicted by classifiers that have not seen them.

Northcutt, Jiang and Chuang, JAIR 70 (2021). All functions take class probabilities p [N, C], each row from a network
that was not trained on that sample, and the observed labels int64 [N].
"""

from nlkit.lazy import Tensor, torch

NEVER = 2.0
"""The threshold of a class that no label names: no probability reaches it."""
SLACK = 1e-6
"""A probability this much below a threshold still reaches it, as in the authors' code."""
TIE = 1e-8
"""The given label wins against a class that is not more probable by more than this, as in the authors' code."""


def self_confidence(p: Tensor, labels: Tensor) -> Tensor:
    """p_i(y_i) [N]: the probability of the observed label."""
    return p.gather(1, labels[:, None])[:, 0]


def normalised_margin(p: Tensor, labels: Tensor) -> Tensor:
    """(p_i(y_i) - max_{c != y_i} p_i(c) + 1) / 2, in [0, 1]: above one half where the observed label is predicted."""
    return (self_confidence(p, labels) - _best_other(p, labels) + 1) / 2


def _best_other(p: Tensor, labels: Tensor) -> Tensor:
    return p.scatter(1, labels[:, None], 0).amax(dim=1)


def class_thresholds(p: Tensor, labels: Tensor) -> Tensor:
    """t_c [C]: the mean probability of class c over the samples that are labelled c."""
    classes = p.shape[1]
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros_like(p[0]).scatter_add(0, labels, self_confidence(p, labels))
    return torch.where(counts > 0, sums / counts.clamp_min(1), NEVER)


def confident_class(p: Tensor, labels: Tensor) -> Tensor:
    """The class int64 [N] that each sample confidently belongs to, -1 where it belongs to none.

    A class whose probability reaches its threshold. Where there are several: the most probable of all classes, as in
    the authors' code; the paper takes the most probable one among the several.
    """
    reached = p >= class_thresholds(p, labels) - SLACK
    count = reached.sum(dim=1)
    chosen = torch.where(count > 1, p.argmax(dim=1), reached.to(torch.uint8).argmax(dim=1))
    return torch.where(count > 0, chosen, -1)


def confident_joint(p: Tensor, labels: Tensor) -> Tensor:
    """Counts int64 [C, C] of the samples that are labelled i (row) and confidently belong to j (column).

    The diagonal is at least one, so that no class vanishes.
    """
    classes, believed = p.shape[1], confident_class(p, labels)
    cell = (labels * classes + believed)[believed >= 0]
    counts = torch.bincount(cell, minlength=classes * classes).view(classes, classes)
    return counts + torch.diag((counts.diagonal() == 0).to(counts.dtype))


def calibrated(joint: Tensor, labels: Tensor) -> Tensor:
    """The joint [C, C] in float64, each row scaled to the number of samples with that label; divided by N it is Q."""
    counts = torch.bincount(labels, minlength=len(joint))
    return joint.double() / joint.sum(dim=1, keepdim=True) * counts[:, None]


def estimated_errors(p: Tensor, labels: Tensor) -> float:
    """How many of the N labels are wrong: what the calibrated joint holds beside its diagonal."""
    joint = calibrated(confident_joint(p, labels), labels)
    return float(joint.sum() - joint.diagonal().sum())


def issues(p: Tensor, labels: Tensor) -> Tensor:
    """Mask [N] of the label errors: samples of the joint beside its diagonal.

    Not those whose given label is the most probable one all the same, as in the authors' code.
    """
    believed = confident_class(p, labels)
    contradicted = _best_other(p, labels) > self_confidence(p, labels) + TIE
    return (believed >= 0) & (believed != labels) & contradicted
