"""Labels from outside: what people said about the CIFAR training images (CIFAR-10N, CIFAR-100N), and own files."""

import json
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from nlkit.data import Download, Source, cifar, present_source
from nlkit.data.cifar import read_torch_archive
from nlkit.data.dataset import FACTS, Dataset, check_labels
from nlkit.data.files import read_array, read_npz, reason
from nlkit.errors import NlkitError
from nlkit.files import read_bytes

HUMAN_FOLDERS = ("cifar-n", "CIFAR-N", "")
CLEAN_KEY = "clean_label"
HUMAN_FILES = {name: SimpleNamespace(**facts) for name, facts in FACTS["people"].items()}
"""The files of human annotations; `sources.yaml` says what each field is."""


def label_sources() -> dict[str, Source]:
    """What each file of human labels, and those that papers released, needs, and how it is brought and checked."""
    found: dict[str, Source] = {}
    for name, human in HUMAN_FILES.items():
        needed = partial(lambda name, root: [human_file(name, root)], name)
        download = Download(human.url, "sha256", human.sha256, f"cifar-n/{human.files[1]}")
        found[name] = Source(needed, partial(_check, name), f"bring it with `nlkit data get {name}`", download)
    found["noise-labels"] = Source(released_files, _check_released, FACTS["noise-labels-owner"])
    return found


def human_labels(annotator: str, root: Path, dataset: Dataset) -> np.ndarray:
    """Labels int64 [N] that people gave to the training images: CIFAR-10N, or CIFAR-100N for 'fine'.

    Raises NlkitError for a missing file in `root` and `root/cifar-n`, and as `read_human_file` does.
    """
    name = next(name for name, human in HUMAN_FILES.items() if annotator in human.keys)
    present_source(name, root, label_sources())
    return read_human_file(name, human_file(name, root), dataset.labels)[annotator]


def read_human_file(name: str, path: Path, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Labels int64 [N] of every annotator in a file and of 'clean', which must be the data set's `labels` [N] if given.

    Raises NlkitError for a damaged file, a missing key, labels of another length or range, or misalignment.
    """
    human = HUMAN_FILES[name]
    right = "a CIFAR-N file: a zip archive with one pickled dictionary of label arrays"
    content: dict[str, Any] = dict(read_npz(path)) if path.suffix == ".npz" else read_torch_archive(path, right)
    count, classes = cifar.TRAIN_COUNT if labels is None else len(labels), cifar.LAYOUTS[human.dataset].classes
    found: dict[str, np.ndarray] = {}
    for annotator, key in {**human.keys, "clean": CLEAN_KEY}.items():
        if key not in content:
            raise NlkitError(f"{path}: key '{key}' is missing; this is not the file of CIFAR-N labels")
        found[annotator] = check_labels(content[key], count, classes, f"{path}, key '{key}'")
    disagreements = 0 if labels is None else int((found["clean"] != labels).sum())
    if disagreements:
        wrong = f"disagrees with the labels of {human.dataset} at {disagreements} of {count} images"
        raise NlkitError(f"{path}: key '{CLEAN_KEY}' {wrong}; the images must be in the official order")
    return found


def human_file(name: str, root: Path) -> Path:
    """Where the file of human annotations lies, or belongs."""
    files = HUMAN_FILES[name].files
    places = [root / folder / file for folder in HUMAN_FOLDERS for file in files]
    return next((place for place in places if os.path.isfile(place)), root / HUMAN_FOLDERS[0] / files[1])


def _check(name: str, root: Path) -> tuple[bool, str]:
    """Counts and noise rates, and whether the labels are those of the data set."""
    dataset = HUMAN_FILES[name].dataset
    try:
        reference, remark = cifar.load_cifar(dataset, root).labels, f"aligned with {dataset}"
    except NlkitError:
        reference, remark = None, f"{dataset} is missing or unusable, so not compared with it"
    labels = read_human_file(name, human_file(name, root), reference)
    clean = labels.pop("clean")
    rates = ", ".join(f"{key} {100 * (noisy != clean).mean():.2f} %" for key, noisy in labels.items())
    return True, f"{len(clean)} labels for each annotator, noise rates {rates}; {remark}"


def released_files(root: Path) -> list[Path]:
    """The files of labels that papers released."""
    folders = FACTS["noise-labels"].items()
    return [root / "noise-labels" / folder / f"{name}.npy" for folder, facts in folders for name in facts["rates"]]


def read_released(path: Path) -> np.ndarray:
    """Labels int64 [N] of one of these files; raises NlkitError as `read_label_file` does."""
    classes = cifar.LAYOUTS["cifar100" if "cifar100" in path.name else "cifar10"].classes
    return read_label_file(path, FACTS["noise-labels"][path.parent.name]["count"], classes)


def _check_released(root: Path) -> tuple[bool, str]:
    files = released_files(root)
    return True, f"{len(files)} files, {sum(len(read_released(path)) for path in files)} labels"


def read_label_file(path: Path, count: int, classes: int, part: int | None = None) -> np.ndarray:
    """Labels int64 [count] from a file: `.npy` [count], `.npz` with one array or a key 'labels', `.json` list.

    It may also hold the first `part` labels only. Raises NlkitError for any other file, and as `check_labels` does.
    """
    ending = path.suffix.lower()
    if ending not in (".npy", ".npz", ".json"):
        raise NlkitError(f"{path}: the ending '{path.suffix}' is unknown; a label file is .npy, .npz or .json")
    try:
        values: Any = json.loads(read_bytes(path)) if ending == ".json" else read_array(path, "labels")
    except (ValueError, RecursionError, MemoryError) as error:
        raise NlkitError(f"{path}: not a JSON list of integers ({reason(error)})") from None
    length = len(values) if isinstance(values, list) or (isinstance(values, np.ndarray) and values.ndim) else None
    expected = part if part is not None and length == part else count
    try:
        return check_labels(values, expected, classes, str(path))
    except NlkitError as error:
        if not length or length >= expected:
            raise
        raise NlkitError(f"{error}; if they belong to the first images, set data.train_size to {length}") from None
