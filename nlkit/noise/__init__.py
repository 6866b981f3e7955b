"""Label noise: generators, the shares that they come to, and labels from people and from files."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from nlkit.data.files import read_array
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


Reading = Literal["code", "paper"]


class Margins(NamedTuple):
    """The most probable class u [N], the second one s [N], and the margin Delta = eta_u - eta_s [N] in [0, 1]."""

    first: np.ndarray
    second: np.ndarray
    delta: np.ndarray


def margins(probabilities: np.ndarray) -> Margins:
    """u, s and Delta of class probabilities eta [N, C]; of equal classes the one with the smaller number is u."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    best = np.take_along_axis(probabilities, order, axis=1)
    return Margins(order[:, 0], order[:, 1], best[:, 0] - best[:, 1])


def leave_probability(delta: np.ndarray, kind: int) -> np.ndarray:
    """tau(Delta) [N], before any factor, with the exponents of the authors' code.

    Type I: 1/2 - Delta^2 / 2. Type II: 1 - Delta^3. Type III: 1 - (Delta^3 + Delta^2 + Delta) / 3.
    """
    return (0.5 - 0.5 * delta**2, 1 - delta**3, 1 - (delta**3 + delta**2 + delta) / 3)[kind - 1]


def keep_probability(delta: np.ndarray, kind: int, factor: float, reading: Reading = "code") -> np.ndarray:
    """The chance [N] that an image is labelled u, and not s, cut to [0, 1].

    `code`: (1 - tau) / factor, so that sure images are hit as well. `paper`: 1 - factor tau, so that they are not.
    """
    tau = leave_probability(delta, kind)
    return np.clip((1 - tau) / factor if reading == "code" else 1 - factor * tau, 0, 1)


def expected_rate(found: Margins, clean: np.ndarray, keep: np.ndarray) -> float:
    """The mean share of labels that will differ from the clean ones [N], for keep probabilities [N]."""
    return float((keep * (found.first != clean) + (1 - keep) * (found.second != clean)).mean())


def solve_factor(found: Margins, clean: np.ndarray, kind: int, rate: float, reading: Reading = "code") -> float:
    """The factor at which the expected rate is `rate`, by bisection of its logarithm; raises NlkitError if none is."""
    low, high = 1e-6, 1e6

    def rate_at(factor: float) -> float:
        return expected_rate(found, clean, keep_probability(found.delta, kind, factor, reading))

    least, most = rate_at(low), rate_at(high)
    if not least <= rate <= most:
        raise NlkitError(f"key 'noise.rate' is {rate}: this noise can have rates from {least:.3f} to {most:.3f} only")
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if rate_at(middle) < rate else (low, middle)
    return float(np.sqrt(low * high))


def draw(found: Margins, keep: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels int64 [N]: u with the keep probability [N], else s."""
    return np.where(rng.random(len(keep)) < keep, found.first, found.second).astype(np.int64)


def add_uniform(labels: np.ndarray, rate: float, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Labels [N], of which each moves with probability `rate` to one of the other classes."""
    hit = rng.random(len(labels)) < rate
    return np.where(hit, (labels + rng.integers(1, classes, len(labels))) % classes, labels)


def add_asymmetric(labels: np.ndarray, rate: float, flips: Mapping[int, int], rng: np.random.Generator) -> np.ndarray:
    """Labels [N], of which each moves with probability `rate` to the class that `flips` names."""
    return np.where(rng.random(len(labels)) < rate, flipped(labels, flips), labels)


def block_flips(classes: int, block: int = 5) -> dict[int, int]:
    """Each class to the next one within its block of `block` class numbers, the last to the first."""
    return {c: c - block + 1 if c % block == block - 1 else c + 1 for c in range(classes)}


def read_probabilities(path: Path, count: int, classes: int) -> np.ndarray:
    """Class probabilities float64 [count, classes] from a `.npy` or `.npz` file; raises NlkitError otherwise."""
    found = read_array(path)
    if found.shape != (count, classes):
        raise NlkitError(f"{path}: probabilities of shape {list(found.shape)}; expected [{count}, {classes}]")
    values = found.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-2)):
        raise NlkitError(f"{path}: not probabilities: each row must be at least 0 everywhere and sum to 1")
    return values
