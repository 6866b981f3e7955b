"""Generators of noise against the official code and a slow oracle, transitions, and label files that were released."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import refused
from trees import mnist_files

from nlkit import noise
from nlkit.data import load_dataset, sources, verify
from nlkit.data.dataset import FACTS
from nlkit.errors import NlkitError
from nlkit.noise import human, label_sources
from nlkit.noise.human import read_released
from nlkit.params.sections import NoiseParams, PMDNoiseParams
from nlkit.training.problem import observed_labels

RATES = {"aggregate": 9.01, "random1": 17.23, "random2": 18.12, "random3": 17.64, "worst": 40.21}
GOLDEN = [
    ("cifar10", "symmetric", 0.2, 8972, "dd932e4c763dbab9", "6 9 9 4 1 1 8 7 8 5"),
    ("cifar10", "symmetric", 0.5, 22484, "2230903491020533", "8 5 9 4 1 8 3 7 6 2"),
    ("cifar10", "symmetric", 0.8, 36036, "79de8111188e19dc", "8 5 8 3 6 2 9 7 9 7"),
    ("cifar10", "symmetric", 0.9, 40393, "0fb3467e367cd31d", "8 5 8 3 6 2 9 7 9 7"),
    ("cifar10", "asymmetric", 0.4, 10010, "46acecddb6f6e740", ""),
    ("cifar100", "symmetric", 0.2, 9890, "f8e9a0aab01a1a15", "19 29 0 11 1 86 66 28 23 46"),
    ("cifar100", "symmetric", 0.5, 24751, "f1132f38b460c7c3", "66 46 0 11 1 71 25 28 50 20"),
    ("cifar100", "symmetric", 0.8, 39611, "fad7acd0627d5158", "66 46 71 25 50 20 77 28 76 59"),
    ("cifar100", "symmetric", 0.9, 44539, "ac6af1e55e7533b0", "66 46 71 25 50 20 77 28 76 59"),
]
Clean = Callable[[str], np.ndarray]
CLASSES = {"cifar10": 10, "cifar100": 100}


def official(clean: np.ndarray, rate: float, seed: int, redraw: Callable[[random.Random, int], int]) -> list[int]:
    """DivideMix's generator as its authors wrote it, list membership and all."""
    rng = random.Random(seed)
    order = list(range(len(clean)))
    rng.shuffle(order)
    chosen = order[: int(rate * len(clean))]
    return [redraw(rng, label) if i in chosen else label for i, label in enumerate(clean.tolist())]


@pytest.mark.parametrize(("dataset", "kind", "rate", "changed", "sha256", "first"), GOLDEN)
def test_the_generator_makes_the_labels_of_the_official_code(
    dataset: str, kind: str, rate: float, changed: int, sha256: str, first: str, clean_labels: Clean
) -> None:
    clean = clean_labels(dataset)
    if kind == "symmetric":
        noisy = noise.symmetric(clean, rate, CLASSES[dataset], seed=123)
    else:
        noisy = noise.asymmetric(clean, rate, noise.CIFAR10_FLIPS, seed=123)
    assert int((noisy != clean).sum()) == changed
    assert noise.labels_sha256(noisy).startswith(sha256)
    assert " ".join(map(str, noisy[:10])).startswith(first)


def test_the_labels_of_cifar10_are_those_that_cifar10n_calls_clean(data_folder: Path, clean_labels: Clean) -> None:
    if sources()["cifar10"].missing(data_folder):
        pytest.skip("CIFAR-10 is not below the data root; NLKIT_DATA names the folder that has it")
    labels = load_dataset("cifar10", data_folder).labels
    assert noise.labels_sha256(labels).startswith("2b7cd2f244873176")
    np.testing.assert_array_equal(labels, clean_labels("cifar10"))


def test_published_noise_rates(data_folder: Path) -> None:
    try:
        dataset = load_dataset("cifar10", data_folder)
        labels = {annotator: noise.human_labels(annotator, data_folder, dataset) for annotator in RATES}
    except NlkitError as error:
        pytest.skip(f"CIFAR-10N is not here: {error}")
    for annotator, rate in RATES.items():
        assert 100 * (labels[annotator] != dataset.labels).mean() == pytest.approx(rate, abs=0.006)
    np.testing.assert_allclose(dataset.images.mean((0, 1, 2)) / 255, dataset.mean, atol=1e-3)


@pytest.mark.parametrize(("count", "rate", "classes", "seed"), [(1, 0.9, 2, 0), (37, 0.29, 3, 5), (500, 0.8, 10, 123)])
def test_the_generators_equal_a_slow_oracle(count: int, rate: float, classes: int, seed: int) -> None:
    clean = np.random.default_rng(count).integers(0, classes, count)
    before, flips = clean.copy(), {0: 1, classes: 0}  # some class may have no images

    def other(rng: random.Random, label: int) -> int:
        return (label + rng.randint(1, classes - 1)) % classes

    expected = official(clean, rate, seed, lambda rng, _: rng.randint(0, classes - 1))
    assert noise.symmetric(clean, rate, classes, seed).tolist() == expected
    assert noise.symmetric(clean, rate, classes, seed, own_class=False).tolist() == official(clean, rate, seed, other)
    expected = official(clean, rate, seed, lambda _, label: flips.get(label, label))
    assert noise.asymmetric(clean, rate, flips, seed).tolist() == expected
    np.testing.assert_array_equal(clean, before)


def test_transitions_are_counted_and_the_realised_rate_where_the_truth_is_known() -> None:
    matrix = noise.transition_matrix(np.array([0, 0, 0, 0, 1]), np.array([0, 1, 1, 2, 1]), 3)
    np.testing.assert_allclose(matrix, [[0.25, 0.5, 0.25], [0, 1, 0], [0, 0, 0]])
    for flips, own, row in (
        (None, True, [0.8, 0.1, 0.1]),
        (None, False, [0.7, 0.15, 0.15]),
        ({0: 2}, True, [0.7, 0, 0.3]),
    ):
        np.testing.assert_allclose(noise.nominal_matrix(3, 0.3, flips, own)[0], row)
    observed = noise.NoisyLabels.of(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), nominal=0.3)
    assert (observed.nominal, observed.realised) == (0.3, 0.25)
    assert noise.NoisyLabels.of(np.array([0, 1]), None, None).realised is None
    assert observed.sha256 == noise.labels_sha256(np.array([0, 1, 1, 2], dtype=np.int16))


def test_noise_that_a_data_set_does_not_have_is_refused(tmp_path: Path) -> None:
    mnist_files(tmp_path)
    dataset = load_dataset("mnist", tmp_path)

    def observed(size: int = 200, **params: Any) -> np.ndarray:
        wanted = PMDNoiseParams(**params) if params["kind"] == "pmd" else NoiseParams(**params)
        return observed_labels(dataset, size, wanted, tmp_path, torch.device("cpu"))

    half = {"kind": "symmetric", "rate": 0.5, "own_class": False}
    whole = observed(**half)
    assert (whole != dataset.labels).sum() == 100
    np.testing.assert_array_equal(observed(50, **half), whole[:50])  # a part has the labels that it has in the whole
    for params, said in (
        ({"kind": "asymmetric", "rate": 0.4}, "noise.kind 'asymmetric' is not defined for data.name 'mnist'"),
        ({"kind": "pmd", "type": 1, "rate": 0.3}, "no recipe for data.name 'mnist'.*noise.probabilities"),
    ):
        with pytest.raises(NlkitError, match=said):
            observed(**params)


@pytest.fixture
def clean_labels(data_folder: Path) -> Callable[[str], np.ndarray]:
    """A function that gives the own training labels of CIFAR, from CIFAR-N's file or from CIFAR itself, or skips."""

    def find(dataset: str) -> np.ndarray:
        path = human.human_file(f"{dataset}n", data_folder)
        if path.is_file():
            return human.read_human_file(f"{dataset}n", path, None)["clean"]
        if sources()[dataset].missing(data_folder):
            reason = "names a folder without them" if "NLKIT_DATA" in os.environ else "is not set"
            pytest.skip(f"the labels of {dataset} are needed, and NLKIT_DATA {reason}")
        return load_dataset(dataset, data_folder).labels

    return find


RELEASED = {
    Path("noise-labels", folder, f"{name}.npy"): rate
    for folder, facts in FACTS["noise-labels"].items()
    for name, rate in facts["rates"].items()
}


def released(place: Path, root: Path, clean_labels: Clean) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a file, and clean ones of the same images."""
    if not (root / place).is_file():
        pytest.skip(f"{place} is not below NLKIT_DATA")
    labels = read_released(root / place)
    return labels, clean_labels("cifar100" if "cifar100" in place.name else "cifar10")[: len(labels)]


@pytest.mark.parametrize("place", RELEASED, ids=lambda place: place.stem)
def test_a_released_file_has_the_rate_that_was_measured(place: Path, data_folder: Path, clean_labels: Clean) -> None:
    labels, clean = released(place, data_folder, clean_labels)
    assert (labels != clean).mean() == pytest.approx(RELEASED[place], abs=5e-5)


def test_released_files_are_listed_and_checked(tmp_path: Path) -> None:
    known = label_sources()
    for path in known["noise-labels"].needed(tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros(45_000 if path.parent.name == "lra" else 50_000, np.uint8))
    assert verify("noise-labels", tmp_path, known) == "noise-labels: 21 files, 990000 labels"
    np.save(path, np.full(50_000, 100))
    refused(lambda: verify("noise-labels", tmp_path, known), f"{path.name}: label 100 at index 0 is outside")


def test_the_asymmetric_file_of_tcl_uses_only_arrows_of_our_generator(data_folder: Path, clean_labels: Clean) -> None:
    labels, clean = released(Path("noise-labels/tcl/asym_noise_cifar10_40.npy"), data_folder, clean_labels)
    flips, wrong = noise.flips_of("cifar10"), labels != clean
    moved = set(zip(clean[wrong].tolist(), labels[wrong].tolist(), strict=True))
    assert all(flips[before] == after for before, after in moved)
    shares = {source: wrong[clean == source].mean() for source in range(10)}
    assert all(abs(shares[source] - 0.4) < 0.02 if source in flips else shares[source] == 0 for source in range(10))
