"""CIFAR-10 and CIFAR-100 from the folders of the official Python archives."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from nlkit.data.dataset import FACTS, Dataset, check_labels
from nlkit.data.files import content_sha256
from nlkit.data.pickles import parse_pickle
from nlkit.errors import NlkitError
from nlkit.files import read_bytes

TRAIN_COUNT = 50_000
TEST_COUNT = 10_000
ROW_BYTES = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """Where a CIFAR archive keeps what; `sources.yaml` says what each field is."""

    url: str
    md5: str
    folder: str
    files: dict[str, str]
    label_key: str
    names_key: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


LAYOUTS = {name: Layout(**facts) for name, facts in FACTS["cifar"].items()}


def cifar_files(name: str, root: Path) -> list[Path]:
    """The files that a CIFAR data set needs."""
    return [root / LAYOUTS[name].folder / file for file in LAYOUTS[name].files]


def load_cifar(name: str, root: Path) -> Dataset:
    """CIFAR-10 or CIFAR-100 (fine labels) from its folder under `root`: images uint8 [N, 32, 32, 3].

    Files that differ from the official archive give a line in `warnings`. Raises NlkitError for files that are
    missing or damaged, or hold another number of rows, another dtype or labels out of range.
    """
    layout = LAYOUTS[name]
    *train, test, names = ((path, read_bytes(path)) for path in cifar_files(name, root))
    parts = [_read_batch(*batch, TRAIN_COUNT // len(train), layout) for batch in train]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    arrays = images, labels, *_read_batch(*test, TEST_COUNT, layout)
    return Dataset(
        name,
        *arrays,
        class_names=_class_names(*names, layout),
        mean=layout.mean,
        std=layout.std,
        sha256=content_sha256(arrays),
        warnings=_differences([*train, test, names], layout),
    )


def _differences(contents: list[tuple[Path, bytes]], layout: Layout) -> tuple[str, ...]:
    found = {path.name: hashlib.md5(data, usedforsecurity=False).hexdigest() for path, data in contents}
    different = [file for file in found if found[file] != layout.files[file]]
    if not different:
        return ()
    first = f"{different[0]}: md5 {found[different[0]]} instead of {layout.files[different[0]]}"
    return (f"content differs from the official archive in {len(different)} of {len(contents)} files ({first})",)


def _read_batch(path: Path, data: bytes, count: int, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    batch = parse_pickle(data, str(path), f"a CIFAR batch: a pickled dictionary with 'data' and '{layout.label_key}'")
    rows = _value(batch, "data", path)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (count, ROW_BYTES):
        kind = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, np.ndarray) else f"a {type(rows).__name__}"
        raise NlkitError(f"{path}: key 'data' is {kind}; expected uint8 [{count}, {ROW_BYTES}]")
    labels = _value(batch, layout.label_key, path)
    images = rows.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)
    source = f"{path}, key '{layout.label_key}'"
    return np.ascontiguousarray(images), check_labels(labels, count, layout.classes, source)


def _class_names(path: Path, data: bytes, layout: Layout) -> tuple[str, ...]:
    content = parse_pickle(data, str(path), f"a pickled dictionary with '{layout.names_key}'")
    names = _value(content, layout.names_key, path)
    if type(names) is not list or len(names) != layout.classes or any(type(name) is not str for name in names):
        raise NlkitError(f"{path}: key '{layout.names_key}' is not a list of {layout.classes} class names")
    return tuple(names)


def _value(content: dict[str, Any], key: str, path: Path) -> Any:
    if key not in content:
        found = ", ".join(repr(found[:40]) for found in list(content)[:8]) or "none"
        raise NlkitError(f"{path}: key '{key}' is missing (keys found: {found})")
    return content[key]
