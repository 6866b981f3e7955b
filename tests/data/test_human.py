from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlkit.data import Dataset, data_root, human, human_labels, load_dataset
from nlkit.errors import NlkitError

RATES = {"aggregate": 9.01, "random1": 17.23, "random2": 18.12, "random3": 17.64, "worst": 40.21}


@pytest.fixture
def cifar10(tmp_path: Path, write_cifar: Callable[..., Path]) -> Dataset:
    write_cifar(tmp_path)
    return load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("folder", ["", "cifar-n", "CIFAR-N"])
@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_each_annotator_from_each_place(
    tmp_path: Path, cifar10: Dataset, write_human: Callable[..., Path], folder: str, ending: str
) -> None:
    path = write_human(tmp_path / folder, "cifar10n", cifar10.labels, ending)
    stored = human.read_human_file("cifar10n", path, None)
    for annotator in human.HUMAN_FILES["cifar10n"].keys:
        labels = human_labels(annotator, tmp_path, cifar10)  # type: ignore[arg-type]
        assert labels.dtype == np.int64 and labels.shape == (50,)
        np.testing.assert_array_equal(labels, stored[annotator])


@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_fine_labels_of_cifar100(
    tmp_path: Path, write_cifar: Callable[..., Path], write_human: Callable[..., Path], ending: str
) -> None:
    write_cifar(tmp_path, "cifar100")
    dataset = load_dataset("cifar100", tmp_path)
    coarse = [index % 20 for index in range(50)]
    write_human(tmp_path / "cifar-n", "cifar100n", dataset.labels, ending, noisy_coarse_label=coarse)
    assert human_labels("fine", tmp_path, dataset).max() > 20


def test_misaligned_labels_are_counted(tmp_path: Path, cifar10: Dataset, write_human: Callable[..., Path]) -> None:
    clean = cifar10.labels.copy()
    clean[[3, 5, 8]] = (clean[[3, 5, 8]] + 1) % 10
    write_human(tmp_path, "cifar10n", clean, ".npz")
    with pytest.raises(NlkitError, match="disagrees with the labels of cifar10 at 3 of 50 images"):
        human_labels("worst", tmp_path, cifar10)


@pytest.mark.parametrize("ending", [".npz", ".pt"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"worse_label": np.zeros(49, int)}, r"'worse_label': labels of shape \[49\]; expected \[50\]"),
        ({"worse_label": np.zeros((50, 1), int)}, r"shape \[50, 1\]"),
        ({"worse_label": np.full(50, 10)}, r"label 10 at index 0 is outside 0\.\.9"),
        ({"worse_label": np.full(50, 255, np.uint8)}, "label 255"),
        ({"aggre_label": np.zeros(50)}, "dtype float64; expected integers"),
        ({"aggre_label": np.zeros(50, bool)}, "dtype bool"),
    ],
)
def test_wrong_labels(
    tmp_path: Path,
    cifar10: Dataset,
    write_human: Callable[..., Path],
    ending: str,
    changes: dict[str, Any],
    message: str,
) -> None:
    write_human(tmp_path, "cifar10n", cifar10.labels, ending, **changes)
    with pytest.raises(NlkitError, match=message):
        human_labels("worst", tmp_path, cifar10)


def test_missing_file_missing_key_and_wrong_data_set(tmp_path: Path, cifar10: Dataset) -> None:
    with pytest.raises(NlkitError, match=r"cifar10n\.npz or CIFAR-10_human\.pt.*`nlkit data get cifar10n`"):
        human_labels("worst", tmp_path, cifar10)
    np.savez(tmp_path / "cifar10n.npz", clean_label=cifar10.labels)
    with pytest.raises(NlkitError, match="key 'aggre_label' is missing"):
        human_labels("worst", tmp_path, cifar10)
    with pytest.raises(NlkitError, match="'fine' belongs to cifar100, not to cifar10"):
        human_labels("fine", tmp_path, cifar10)
    with pytest.raises(NlkitError, match="'nobody' is unknown; use one of aggregate"):
        human_labels("nobody", tmp_path, cifar10)  # type: ignore[arg-type]


class TouchFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "members", [{}, {"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}, {"data.pkl": b"\x80\x02}."}]
)
def test_archives_of_another_layout(tmp_path: Path, cifar10: Dataset, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(tmp_path / "CIFAR-10_human.pt", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(NlkitError, match="instead of one"):
        human_labels("worst", tmp_path, cifar10)


def test_a_hostile_archive_does_not_run(tmp_path: Path, cifar10: Dataset) -> None:
    marker = tmp_path / "it-ran"
    with zipfile.ZipFile(tmp_path / "CIFAR-10_human.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"clean_label": TouchFile(marker)}))
    with pytest.raises(NlkitError, match=r"system is not admitted"):
        human_labels("worst", tmp_path, cifar10)
    assert not marker.exists()


@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_damaged_files(
    tmp_path: Path,
    cifar10: Dataset,
    write_human: Callable[..., Path],
    damaged: Callable[..., list[bytes]],
    ending: str,
) -> None:
    path = write_human(tmp_path, "cifar10n", cifar10.labels, ending)
    for copy in damaged(path.read_bytes()):
        path.write_bytes(copy)
        try:
            assert human_labels("worst", tmp_path, cifar10).shape == (50,)
        except NlkitError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)


def test_published_noise_rates() -> None:
    root = data_root(None)
    try:
        dataset = load_dataset("cifar10", root)
        labels = {annotator: human_labels(annotator, root, dataset) for annotator in RATES}  # type: ignore[arg-type]
    except NlkitError as error:
        pytest.skip(f"CIFAR-10N is not here: {error}")
    for annotator, rate in RATES.items():
        assert 100 * (labels[annotator] != dataset.labels).mean() == pytest.approx(rate, abs=0.006)
    np.testing.assert_allclose(dataset.images.mean((0, 1, 2)) / 255, dataset.mean, atol=1e-3)
