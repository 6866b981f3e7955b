"""CIFAR-10 and CIFAR-100 from the folders of the official Python archives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlkit.data.dataset import Dataset, check_labels, content_sha256
from nlkit.data.files import is_file, read_bytes
from nlkit.data.pickles import parse_pickle
from nlkit.errors import NlkitError

TRAIN_COUNT = 50_000
TEST_COUNT = 10_000
ROW_BYTES = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """Where a CIFAR archive keeps what, and the channel statistics that DivideMix normalises with."""

    folder: str
    train_files: tuple[str, ...]
    test_file: str
    names_file: str
    label_key: str
    names_key: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is needed."""
        return (*self.train_files, self.test_file, self.names_file)


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        train_files=tuple(f"data_batch_{part}" for part in range(1, 6)),
        test_file="test_batch",
        names_file="batches.meta",
        label_key="labels",
        names_key="label_names",
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        train_files=("train",),
        test_file="test",
        names_file="meta",
        label_key="fine_labels",
        names_key="fine_label_names",
        classes=100,
        mean=(0.507, 0.487, 0.441),
        std=(0.267, 0.256, 0.276),
    ),
}


def load_cifar(name: str, root: Path) -> Dataset:
    """CIFAR-10 or CIFAR-100 (fine labels) from its folder under `root`: images uint8 [N, 32, 32, 3].

    Files that differ from the official archive give a line in `warnings`. Raises NlkitError for files that are
    missing or damaged, or hold another number of rows, another dtype or labels out of range.
    """
    layout = LAYOUTS[name]
    folder = root / layout.folder
    contents = {file: read_bytes(folder / file) for file in layout.files}
    part = TRAIN_COUNT // len(layout.train_files)
    batches = [_read_batch(contents[file], folder / file, part, layout) for file in layout.train_files]
    test = _read_batch(contents[layout.test_file], folder / layout.test_file, TEST_COUNT, layout)
    arrays = (
        np.concatenate([images for images, _ in batches]),
        np.concatenate([labels for _, labels in batches]),
        *test,
    )
    return Dataset(
        name,
        *arrays,
        class_names=_class_names(contents[layout.names_file], folder / layout.names_file, layout),
        mean=layout.mean,
        std=layout.std,
        sha256=content_sha256(arrays),
        warnings=_differences(name, contents),
    )


def missing_files(name: str, root: Path) -> list[str]:
    """Names of the files of a CIFAR folder under `root` that are not there."""
    layout = LAYOUTS[name]
    return [file for file in layout.files if not is_file(root / layout.folder / file)]


def archive_md5(name: str) -> str:
    """MD5 of the official archive."""
    return str(_official(name).tgz_md5)


def _official(name: str) -> Any:
    # Importing torchvision takes seconds, which readers of the digits need not spend.
    from torchvision import datasets

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]


def _official_md5s(name: str) -> dict[str, str]:
    official = _official(name)
    return {**dict(official.train_list + official.test_list), official.meta["filename"]: official.meta["md5"]}


def _differences(name: str, contents: dict[str, bytes]) -> tuple[str, ...]:
    official = _official_md5s(name)
    found = {file: hashlib.md5(data, usedforsecurity=False).hexdigest() for file, data in contents.items()}
    different = [file for file in contents if found[file] != official[file]]
    if not different:
        return ()
    first = different[0]
    return (
        f"content differs from the official archive in {len(different)} of {len(contents)} files "
        f"({first}: md5 {found[first]} instead of {official[first]})",
    )


def _read_batch(data: bytes, path: Path, count: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    batch = parse_pickle(data, str(path), f"a CIFAR batch: a pickled dictionary with 'data' and '{layout.label_key}'")
    rows = _value(batch, "data", path)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (count, ROW_BYTES):
        raise NlkitError(f"{path}: key 'data' is {_kind(rows)}; expected uint8 [{count}, {ROW_BYTES}]")
    labels = _value(batch, layout.label_key, path)
    images = rows.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)
    source = f"{path}, key '{layout.label_key}'"
    return np.ascontiguousarray(images), check_labels(labels, count, layout.classes, source)


def _class_names(data: bytes, path: Path, layout: Layout) -> tuple[str, ...]:
    names = _value(
        parse_pickle(data, str(path), f"a pickled dictionary with '{layout.names_key}'"), layout.names_key, path
    )
    if type(names) is not list or len(names) != layout.classes or any(type(name) is not str for name in names):
        raise NlkitError(f"{path}: key '{layout.names_key}' is not a list of {layout.classes} class names")
    return tuple(names)


def _value(content: dict[str, Any], key: str, path: Path) -> Any:
    if key not in content:
        found = ", ".join(repr(found[:40]) for found in list(content)[:8]) or "none"
        raise NlkitError(f"{path}: key '{key}' is missing (keys found: {found})")
    return content[key]


def _kind(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
