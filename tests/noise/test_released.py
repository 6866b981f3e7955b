"""The label files that papers released: they load, and their shares of wrong labels are those that were measured."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlkit import noise
from nlkit.data import verify
from nlkit.data.dataset import FACTS
from nlkit.errors import NlkitError
from nlkit.noise import label_sources
from nlkit.noise.human import read_released

Clean = Callable[[str], np.ndarray]

RATES = {
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


@pytest.mark.parametrize("place", RATES, ids=lambda place: place.stem)
def test_a_released_file_has_the_rate_that_was_measured(place: Path, data_folder: Path, clean_labels: Clean) -> None:
    labels, clean = released(place, data_folder, clean_labels)
    assert (labels != clean).mean() == pytest.approx(RATES[place], abs=5e-5)


def test_released_files_are_listed_and_checked(tmp_path: Path) -> None:
    known = label_sources()
    for path in known["noise-labels"].needed(tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros(45_000 if path.parent.name == "lra" else 50_000, np.uint8))
    assert verify("noise-labels", tmp_path, known) == "noise-labels: 21 files, 990000 labels"
    np.save(path, np.full(50_000, 100))
    with pytest.raises(NlkitError, match=f"{path.name}: label 100 at index 0 is outside"):
        verify("noise-labels", tmp_path, known)


def test_the_asymmetric_file_of_tcl_uses_only_arrows_of_our_generator(data_folder: Path, clean_labels: Clean) -> None:
    labels, clean = released(Path("noise-labels/tcl/asym_noise_cifar10_40.npy"), data_folder, clean_labels)
    flips, wrong = noise.flips_of("cifar10"), labels != clean
    moved = set(zip(clean[wrong].tolist(), labels[wrong].tolist(), strict=True))
    assert all(flips[before] == after for before, after in moved)
    shares = {source: wrong[clean == source].mean() for source in range(10)}
    assert all(abs(shares[source] - 0.4) < 0.02 if source in flips else shares[source] == 0 for source in range(10))
