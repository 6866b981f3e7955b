"""Label noise: generators, the shares that they come to, and labels from people and from files."""

import random
from collections.abc import Mapping

import numpy as np

from nlkit.data.problem import NoisyLabels, labels_sha256
from nlkit.errors import NlkitError
from nlkit.noise.human import human_labels, label_sources, read_label_file

__all__ = ["NoisyLabels", "human_labels", "label_sources", "labels_sha256", "read_label_file"]

CIFAR10_FLIPS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""Truck to automobile, bird to airplane, deer to horse, cat and dog exchanged (DivideMix's generator)."""

DIGITS_FLIPS = {2: 7, 3: 8, 5: 6, 6: 5, 7: 1}
"""Digits that look alike, as Patrini et al. (CVPR 2017) flip them in MNIST."""


def symmetric(clean: np.ndarray, rate: float, classes: int, seed: int, own_class: bool = True) -> np.ndarray:
    """Redraw a share `rate` of the labels [N] uniformly over the classes.

    With `own_class` the true class may be drawn again, as in DivideMix's generator: the realised rate is then about
    `rate * (classes - 1) / classes`. Without it every chosen label becomes wrong.
    """
    rng = random.Random(seed)
    chosen = _chosen(len(clean), rate, rng)
    noisy = clean.copy()
    for i in np.flatnonzero(chosen):
        if own_class:
            noisy[i] = rng.randint(0, classes - 1)
        else:
            noisy[i] = (clean[i] + rng.randint(1, classes - 1)) % classes
    return noisy


def asymmetric(clean: np.ndarray, rate: float, flips: Mapping[int, int], seed: int) -> np.ndarray:
    """Flip a share `rate` of the labels [N], drawn over all classes as in DivideMix's generator, as `flips` says."""
    return np.where(_chosen(len(clean), rate, random.Random(seed)), flipped(clean, flips), clean)


def flipped(labels: np.ndarray, flips: Mapping[int, int]) -> np.ndarray:
    """Labels [N], each moved to the class that `flips` names; other classes stay."""
    target = np.arange(1 + max(int(labels.max()), *flips))
    target[list(flips)] = list(flips.values())
    return target[labels]


def _chosen(count: int, rate: float, rng: random.Random) -> np.ndarray:
    """Mask [count] of the first `int(rate * count)` entries of a shuffled index list."""
    order = list(range(count))
    rng.shuffle(order)
    mask = np.zeros(count, dtype=bool)
    mask[order[: int(rate * count)]] = True
    return mask


def transition_matrix(clean: np.ndarray, noisy: np.ndarray, classes: int) -> np.ndarray:
    """T[i, j]: the share of samples of class i that are observed as class j; rows [classes, classes] sum to 1."""
    counts = np.bincount(clean * classes + noisy, minlength=classes * classes).reshape(classes, classes)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def nominal_matrix(classes: int, rate: float, flips: Mapping[int, int] | None, own_class: bool = True) -> np.ndarray:
    """The transition matrix [classes, classes] that a generator aims at; `flips` None means symmetric."""
    eye = np.eye(classes)
    if flips is None and own_class:
        return (1 - rate) * eye + rate / classes
    if flips is None:
        return (1 - rate) * eye + rate / (classes - 1) * (1 - eye)
    return (1 - rate) * eye + rate * eye[flipped(np.arange(classes), flips)]


def flips_of(dataset: str) -> Mapping[int, int]:
    """The asymmetric flips of a data set; raises NlkitError where none are defined."""
    try:
        return {"cifar10": CIFAR10_FLIPS, "digits": DIGITS_FLIPS}[dataset]
    except KeyError:
        raise NlkitError(f"noise.kind 'asymmetric' is not defined for data.name '{dataset}'") from None
