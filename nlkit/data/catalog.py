"""The data sets by name: where they are kept, whether they are there, and whether they are right."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nlkit.data import cifar, human, idx, photo_catalog
from nlkit.data.dataset import Dataset
from nlkit.data.digits import load_digits
from nlkit.data.photo_check import verify_photos
from nlkit.errors import NlkitError

IN_MEMORY = ("digits", *cifar.LAYOUTS, *idx.LAYOUTS)
NAMES = (*IN_MEMORY, *human.HUMAN_FILES, *photo_catalog.SOURCES)

_OTHERWISE = {
    "digits": (),
    **dict.fromkeys(cifar.LAYOUTS, ("the same as the official archive",)),
    **dict.fromkeys(idx.LAYOUTS, ("the official counts",)),
}
"""What is said of a data set whose files gave no warning."""

State = Literal["present", "missing", "incomplete", "corrupt"]


@dataclass(frozen=True)
class Status:
    """Whether a data set is there and right: one row of `nlkit data status`."""

    name: str
    state: State
    where: str
    note: str


def data_root(option: str | Path | None) -> Path:
    """The folder of the data sets: `option`, else the environment variable NLKIT_DATA, else `data`."""
    return Path(option or os.environ.get("NLKIT_DATA") or "data").expanduser()


def load_dataset(name: Literal["digits", "cifar10", "cifar100", "mnist", "fashion_mnist"], root: Path) -> Dataset:
    """The data set in memory; `digits` needs no files.

    Raises NlkitError for an unknown name and for files that are missing, damaged or of the wrong content.
    """
    if name == "digits":
        return load_digits()
    if name not in IN_MEMORY:
        raise NlkitError(f"data set '{name}' is unknown; use one of {', '.join(IN_MEMORY)}")
    where, missing, _ = _inventory(name, root)
    if missing:
        raise NlkitError(_missing(name, Path(where), missing))
    return cifar.load_cifar(name, root) if name in cifar.LAYOUTS else idx.load_idx(name, root)


def verify(name: str, root: Path) -> str:
    """What was found and checked: counts, hash, noise rates, deviations from the original.

    One line, for photographs several, after every image was decoded. Raises NlkitError for an unknown name and for
    files that are missing, damaged or of the wrong content.
    """
    check_name(name)
    if name in photo_catalog.SOURCES:
        return verify_photos(name, root, progress=False).text
    verdict = _verify_human(name, root) if name in human.HUMAN_FILES else _verify_dataset(name, root)
    return f"{name}: {verdict}"


def status(root: Path) -> list[Status]:
    """One row for each data set.

    Files of arrays and lists of images are read, which takes a few seconds where they are present; of the photographs
    themselves, only a sample is looked for.
    """
    return [status_of(name, root) for name in NAMES]


def status_of(name: str, root: Path) -> Status:
    """State of one data set; its files are read and checked where they are all there."""
    where, lacking, needed = _inventory(name, root)
    if lacking == needed and needed:
        return Status(name, "missing", where, how_to_get(name))
    if lacking:
        return Status(name, "incomplete", where, f"lacks {', '.join(lacking)}")
    try:
        if name in photo_catalog.SOURCES:
            whole, note = photo_catalog.survey(name, root)
            return Status(name, "present" if whole else "incomplete", where, note)
        return Status(name, "present", where, verify(name, root).removeprefix(f"{name}: "))
    except NlkitError as error:
        return Status(name, "corrupt", where, str(error))


def check_name(name: str) -> None:
    """Raise NlkitError for a name that no data set and no set of human labels has."""
    if name not in NAMES:
        raise NlkitError(f"data set '{name}' is unknown; use one of {', '.join(NAMES)}")


def how_to_get(name: str) -> str:
    """What brings a data set: a command, or, where it cannot be downloaded here, what to do by hand."""
    if name in photo_catalog.SOURCES:
        return photo_catalog.SOURCES[name].owner
    if name in idx.LAYOUTS:
        folder = idx.LAYOUTS[name].folder
        return f"put the files of torchvision.datasets.{folder.split('/')[0]} into {folder} of the data root"
    return f"bring it with `nlkit data get {name}`"


def _missing(name: str, folder: Path, missing: list[str]) -> str:
    lacking = f"{folder} lacks {', '.join(missing)}" if folder.is_dir() else f"expected the folder {folder}"
    return (
        f"{name} is missing: {lacking}; {how_to_get(name)}, or name the folder that has it with --data DIR or "
        f"NLKIT_DATA"
    )


def _verify_dataset(name: str, root: Path) -> str:
    dataset = load_dataset(name, root)  # type: ignore[arg-type]
    remarks = dataset.warnings or _OTHERWISE[name]
    counts = (
        f"{len(dataset.images)} training and {len(dataset.test_images)} test images, "
        f"{len(dataset.class_names)} classes, sha256 {dataset.sha256[:16]}"
    )
    return "; ".join((counts, *remarks))


def _verify_human(name: str, root: Path) -> str:
    path = human.find_human_file(name, root)
    if path is None:
        raise NlkitError(human.missing_human_file(name, root))
    reference = _reference_labels(name, root)
    labels = human.read_human_file(name, path, reference)
    clean = labels.pop("clean")
    rates = ", ".join(f"{key} {_percent(noisy != clean)}" for key, noisy in labels.items())
    dataset = human.HUMAN_FILES[name].dataset
    remark = (
        f"{dataset} is missing or unusable, so not compared with it" if reference is None else f"aligned with {dataset}"
    )
    return f"{len(clean)} labels for each annotator, noise rates {rates}; {remark}"


def _reference_labels(name: str, root: Path) -> np.ndarray | None:
    dataset = human.HUMAN_FILES[name].dataset
    try:
        return None if cifar.missing_files(dataset, root) else cifar.load_cifar(dataset, root).labels
    except NlkitError:
        return None


def _percent(wrong: np.ndarray) -> str:
    return f"{100 * wrong.mean():.2f} %"


def _inventory(name: str, root: Path) -> tuple[str, list[str], list[str]]:
    """Where a data set is or belongs, the files that it lacks, and the files that it needs."""
    if name == "digits":
        return "comes with scikit-learn", [], []
    if name in cifar.LAYOUTS:
        layout = cifar.LAYOUTS[name]
        return str(root / layout.folder), cifar.missing_files(name, root), list(layout.files)
    if name in idx.LAYOUTS:
        return str(root / idx.LAYOUTS[name].folder), idx.missing_idx(name, root), list(idx.FILES)
    if name in photo_catalog.SOURCES:
        files = photo_catalog.needed_files(name, root)
        return photo_catalog.place(name, root), photo_catalog.missing_files(name, root), files
    path = human.find_human_file(name, root)
    place = root / human.HUMAN_FOLDERS[0] / human.HUMAN_FILES[name].files[-1]
    return str(path or place), [] if path else [place.name], [place.name]
