"""The label files that papers released: they load, and their shares of wrong labels are those that were measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlkit import noise
from nlkit.noise import read_label_file

Clean = Callable[[str], np.ndarray]

CLASSES = {"cifar10": 10, "cifar100": 100}
TCL = [
    ("sym_noise_cifar10_20", 0.1786), ("sym_noise_cifar10_50", 0.4489), ("sym_noise_cifar10_80", 0.7181),
    ("sym_noise_cifar10_90", 0.8084), ("asym_noise_cifar10_40", 0.2007), ("sym_noise_cifar100_20", 0.1978),
    ("sym_noise_cifar100_50", 0.4946), ("sym_noise_cifar100_80", 0.7922), ("sym_noise_cifar100_90", 0.8906),
]  # fmt: skip
LRA = [
    ("cifar10-1-0.35", 0.3503), ("cifar10-1-0.50", 0.5024), ("cifar10-1-0.60", 0.5926), ("cifar10-1-0.70", 0.7046),
    ("cifar10-1-0.35_U_0.3", 0.5330), ("cifar10-1-0.35_U_0.6", 0.7177), ("cifar10-1-0.35_A_0.3", 0.4124),
    ("cifar100-1-0.35", 0.3526), ("cifar100-1-0.70", 0.6987), ("cifar100-1-0.35_U_0.3", 0.5474),
    ("cifar100-1-0.35_U_0.6", 0.7403), ("cifar100-1-0.35_A_0.3", 0.5433),
]  # fmt: skip


def released(name: str, root: Path, clean_labels: Clean) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a file, and clean ones of the same images."""
    places = [root / folder / f"{name}.npy" for folder in ("noise-labels/tcl", "tcl", "noise-labels/lra", "lra")]
    path = next((one for one in [*places, root / "noise-labels" / f"{name}.npy"] if one.is_file()), None)
    if path is None:
        pytest.skip(f"{name}.npy is not below NLKIT_DATA")
    dataset = "cifar100" if "cifar100" in name else "cifar10"
    clean = clean_labels(dataset)
    labels = read_label_file(path, len(clean), CLASSES[dataset], part=45_000)
    return labels, clean[: len(labels)]


@pytest.mark.parametrize(("name", "rate"), [*TCL, *LRA])
def test_a_released_file_has_the_rate_that_was_measured(
    name: str, rate: float, data_folder: Path, clean_labels: Clean
) -> None:
    labels, clean = released(name, data_folder, clean_labels)
    assert len(labels) == (45_000 if (name, rate) in LRA else 50_000)
    assert (labels != clean).mean() == pytest.approx(rate, abs=5e-5)


def test_the_asymmetric_file_of_tcl_uses_the_arrows_of_our_generator_only(
    data_folder: Path, clean_labels: Clean
) -> None:
    labels, clean = released("asym_noise_cifar10_40", data_folder, clean_labels)
    flips, wrong = noise.flips_of("cifar10"), labels != clean
    moved = set(zip(clean[wrong].tolist(), labels[wrong].tolist(), strict=True))
    assert all(flips[before] == after for before, after in moved)
    shares = {source: wrong[clean == source].mean() for source in range(10)}
    assert all(abs(shares[source] - 0.4) < 0.02 if source in flips else shares[source] == 0 for source in range(10))
