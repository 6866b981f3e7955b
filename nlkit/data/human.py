"""CIFAR-10N and CIFAR-100N: the labels that people gave to the CIFAR training images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nlkit.data import cifar
from nlkit.data.arrays import read_npz
from nlkit.data.dataset import Dataset, check_labels
from nlkit.data.files import is_file
from nlkit.data.pickles import read_torch_archive
from nlkit.errors import NlkitError

Annotator = Literal["aggregate", "random1", "random2", "random3", "worst", "fine"]

HUMAN_FOLDERS = ("cifar-n", "CIFAR-N", "")
CLEAN_KEY = "clean_label"


@dataclass(frozen=True)
class HumanFile:
    """A file of human annotations: its names, the data set it belongs to, and the key of each annotator."""

    files: tuple[str, str]
    dataset: str
    classes: int
    keys: dict[str, str]


HUMAN_FILES = {
    "cifar10n": HumanFile(
        files=("cifar10n.npz", "CIFAR-10_human.pt"),
        dataset="cifar10",
        classes=10,
        keys={
            "aggregate": "aggre_label",
            "random1": "random_label1",
            "random2": "random_label2",
            "random3": "random_label3",
            "worst": "worse_label",
        },
    ),
    "cifar100n": HumanFile(
        files=("cifar100n.npz", "CIFAR-100_human.pt"),
        dataset="cifar100",
        classes=100,
        keys={"fine": "noisy_label"},
    ),
}


def human_labels(annotator: Annotator, root: Path, dataset: Dataset) -> np.ndarray:
    """Labels int64 [N] that people gave to the training images: CIFAR-10N, or CIFAR-100N for 'fine'.

    The file is looked for in `root` and `root/cifar-n`. Raises NlkitError for a file that is missing or damaged,
    labels of another length or range, and a `clean_label` that disagrees with the data set's labels.
    """
    name = human_name(annotator)
    wanted = HUMAN_FILES[name].dataset
    if dataset.name != wanted:
        raise NlkitError(f"annotator '{annotator}' belongs to {wanted}, not to {dataset.name}")
    path = find_human_file(name, root)
    if path is None:
        raise NlkitError(missing_human_file(name, root))
    return read_human_file(name, path, dataset.labels)[annotator]


def human_name(annotator: str) -> str:
    """The name ('cifar10n' or 'cifar100n') of the file that holds an annotator's labels; NlkitError if none does."""
    for name, human in HUMAN_FILES.items():
        if annotator in human.keys:
            return name
    known = ", ".join(key for human in HUMAN_FILES.values() for key in human.keys)
    raise NlkitError(f"annotator '{annotator}' is unknown; use one of {known}")


def find_human_file(name: str, root: Path) -> Path | None:
    """The file of human annotations under `root`, or None."""
    places = [root / folder / file for folder in HUMAN_FOLDERS for file in HUMAN_FILES[name].files]
    return next((place for place in places if is_file(place)), None)


def missing_human_file(name: str, root: Path) -> str:
    """The message for a missing file of human annotations: where it belongs and what brings it."""
    files = " or ".join(HUMAN_FILES[name].files)
    return (
        f"{name} is missing: expected {files} in {root / HUMAN_FOLDERS[0]} or {root}; bring it with "
        f"`nlkit data get {name}`, or name the folder that has it with --data DIR or NLKIT_DATA"
    )


def read_human_file(name: str, path: Path, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Labels int64 [N] of every annotator in a file and of 'clean', checked against the data set's `labels` [N].

    Without `labels` the alignment is not checked. Raises NlkitError for a damaged file, a missing key,
    labels of another length or range, or misalignment.
    """
    human = HUMAN_FILES[name]
    content = _human_content(path)
    count = cifar.TRAIN_COUNT if labels is None else len(labels)
    checked = {
        key: check_labels(_human_value(content, key, path), count, human.classes, f"{path}, key '{key}'")
        for key in (CLEAN_KEY, *human.keys.values())
    }
    if labels is not None:
        _check_alignment(checked[CLEAN_KEY], labels, path, human.dataset)
    return {annotator: checked[key] for annotator, key in human.keys.items()} | {"clean": checked[CLEAN_KEY]}


def _human_content(path: Path) -> dict[str, Any]:
    if path.suffix == ".npz":
        return dict(read_npz(path))
    return read_torch_archive(path, "a CIFAR-N file: a zip archive with one pickled dictionary of label arrays")


def _human_value(content: dict[str, Any], key: str, path: Path) -> Any:
    if key not in content:
        raise NlkitError(f"{path}: key '{key}' is missing; this is not the file of CIFAR-N labels")
    return content[key]


def _check_alignment(clean: np.ndarray, labels: np.ndarray, path: Path, dataset: str) -> None:
    disagreements = int((clean != labels).sum())
    if disagreements:
        raise NlkitError(
            f"{path}: key '{CLEAN_KEY}' disagrees with the labels of {dataset} at {disagreements} of {len(labels)} "
            f"images; the images must be in the official order"
        )
