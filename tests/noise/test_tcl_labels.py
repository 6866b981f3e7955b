"""The label files that TCL released: they load, and their shares of wrong labels are those that were measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nlkit import noise
from nlkit.data import human, load_dataset, read_label_file
from nlkit.data.cifar import missing_files

CLASSES = {"cifar10": 10, "cifar100": 100}
RELEASED = [
    ("sym", "cifar10", 20, 0.1786), ("sym", "cifar10", 50, 0.4489), ("sym", "cifar10", 80, 0.7181),
    ("sym", "cifar10", 90, 0.8084), ("asym", "cifar10", 40, 0.2007), ("sym", "cifar100", 20, 0.1978),
    ("sym", "cifar100", 50, 0.4946), ("sym", "cifar100", 80, 0.7922), ("sym", "cifar100", 90, 0.8906),
]  # fmt: skip


def labels_of(kind: str, dataset: str, percent: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Released and clean labels [50000] each."""
    name = f"{kind}_noise_{dataset}_{percent}.npy"
    path = next((one for one in (folder / "noise-labels" / "tcl" / name, folder / "tcl" / name) if one.is_file()), None)
    if path is None:
        pytest.skip(f"{name} of TCL is not below NLKIT_DATA")
    beside = human.find_human_file(f"{dataset}n", folder)
    if beside is None and missing_files(dataset, folder):
        pytest.skip(f"the labels of {dataset} are not below NLKIT_DATA")
    if beside is None:
        clean = load_dataset(dataset, folder).labels  # type: ignore[arg-type]
    else:
        clean = human.read_human_file(f"{dataset}n", beside, None)["clean"]
    return read_label_file(path, len(clean), CLASSES[dataset]), clean


@pytest.mark.parametrize(("kind", "dataset", "percent", "rate"), RELEASED)
def test_a_released_file_has_the_rate_that_was_measured(
    kind: str, dataset: str, percent: int, rate: float, data_folder: Path
) -> None:
    labels, clean = labels_of(kind, dataset, percent, data_folder)
    assert (labels != clean).mean() == pytest.approx(rate, abs=5e-5)


def test_the_asymmetric_file_uses_the_arrows_of_our_generator_only(data_folder: Path) -> None:
    labels, clean = labels_of("asym", "cifar10", 40, data_folder)
    flips = noise.flips_of("cifar10")
    wrong = labels != clean
    moved = set(zip(clean[wrong].tolist(), labels[wrong].tolist(), strict=True))
    assert all(flips[before] == after for before, after in moved)
    shares = {source: wrong[clean == source].mean() for source in range(10)}
    assert all(abs(shares[source] - 0.4) < 0.02 if source in flips else shares[source] == 0 for source in range(10))
