"""What tells kinds of label noise apart, from clean labels [N], observed labels [N] and a classifier's margin [N]."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from nlkit.noise import transition_matrix


def wrong_spread(clean: np.ndarray, noisy: np.ndarray, classes: int) -> tuple[float | None, float | None]:
    """How the wrong labels of each of three or more classes are spread, means over wrong labels; None without any.

    First the share that names the most frequent wrong class: 1 for asymmetric noise, about 1 / (classes - 1) for
    symmetric noise. Then the entropy over log(classes - 1): 0 and about 1. A few labels have less than many.
    """
    wrong = noisy != clean
    if not wrong.any():
        return None, None
    shares = transition_matrix(clean[wrong], noisy[wrong], classes)
    counts = np.bincount(clean[wrong], minlength=classes)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    share = float(shares.max(axis=1) @ counts / counts.sum())
    return share, float(entropy @ counts / counts.sum() / np.log(classes - 1))


def within_class_auc(margin: np.ndarray, wrong: np.ndarray, clean: np.ndarray) -> tuple[float | None, float | None]:
    """The chance that of two images of one class the one with the wrong label has the smaller margin; ties count half.

    Over all such pairs of a wrong and a correct label [N]. One half for noise that does not look at the image; that
    classes differ in margin and in rate does not matter. The second number is the standard error that a value of one
    half would have without ties (Mann and Whitney's U). None without a pair.
    """
    won, variance, pairs = 0.0, 0.0, 0
    for c in np.unique(clean):
        bad, values = wrong[clean == c], margin[clean == c]
        here = int(bad.sum()) * int((~bad).sum())
        if here:
            won += here * float(roc_auc_score(bad, -values))
            variance += here * (len(bad) + 1) / 12
            pairs += here
    return (won / pairs, float(np.sqrt(variance)) / pairs) if pairs else (None, None)


def lift(clean: np.ndarray, first: np.ndarray, second: np.ndarray) -> float | None:
    """How many images two kinds of noise hit [N] both, over the number if they were independent within each class.

    None where no image would be hit by both.
    """
    expected = sum(first[clean == c].mean() * second[clean == c].sum() for c in np.unique(clean))
    return float((first & second).sum() / expected) if expected else None


def agreement(clean: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int) -> dict[str, float | None]:
    """How far two sets of labels [N] share their errors, beside independent draws from their transition matrices.

    `both`: share of images that both get wrong; `same`: of these the share with the same wrong label, None where there
    are none; `both_expected` and `same_expected`: what independence within each class would give.
    """
    prior = np.bincount(clean, minlength=classes) / len(clean)
    off = [transition_matrix(clean, labels, classes) * (1 - np.eye(classes)) for labels in (first, second)]
    both_expected = float(prior @ (off[0].sum(axis=1) * off[1].sum(axis=1)))
    same_expected = float(prior @ (off[0] * off[1]).sum(axis=1))
    both = (first != clean) & (second != clean)
    return {
        "both": float(both.mean()),
        "both_expected": both_expected,
        "same": float((first == second)[both].mean()) if both.any() else None,
        "same_expected": same_expected / both_expected if both_expected else None,
    }


def tenths(margin: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Which tenth of its class an image belongs to [N], 0 to 9 by rising margin [N]; ties by index."""
    tenth = np.zeros(len(margin), dtype=np.int64)
    for c in np.unique(clean):
        index = np.flatnonzero(clean == c)
        tenth[index[np.argsort(margin[index], kind="stable")]] = np.arange(len(index)) * 10 // len(index)
    return tenth


def rates_by_margin(margin: np.ndarray, wrong: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The noise rate of each tenth of the classes [10], by rising margin [N], over the rate of all."""
    tenth = tenths(margin, clean)
    rates = np.bincount(tenth[wrong], minlength=10) / np.maximum(np.bincount(tenth, minlength=10), 1)
    return rates / wrong.mean()
