"""Observed labels from a file of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nlkit.data.arrays import read_npy, read_npz
from nlkit.data.dataset import check_labels
from nlkit.data.files import MAX_ARCHIVE_BYTES, read_bytes, reason
from nlkit.errors import NlkitError


def read_label_file(path: Path, count: int, classes: int, part: int | None = None) -> np.ndarray:
    """Labels int64 [count] from a file: `.npy` [count], `.npz` with one array or a key 'labels', `.json` list.

    A file may also hold the first `part` labels only, as many as `data.train_size` asks for. Raises NlkitError for
    a missing or damaged file, another ending, another length, a non-integer (booleans are none), or a label outside
    [0, classes).
    """
    readers = {".npy": read_npy, ".npz": _labels_of_npz, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise NlkitError(f"{path}: the ending '{path.suffix}' is unknown; a label file is .npy, .npz or .json")
    values = reader(path)
    length = len(values) if isinstance(values, list) or (isinstance(values, np.ndarray) and values.ndim) else None
    expected = part if part is not None and length == part else count
    try:
        return check_labels(values, expected, classes, str(path))
    except NlkitError as error:
        if not length or length >= expected:
            raise
        raise NlkitError(f"{error}; if they belong to the first images, set data.train_size to {length}") from None


def _labels_of_npz(path: Path) -> np.ndarray:
    arrays = read_npz(path)
    if "labels" in arrays:
        return arrays["labels"]
    if len(arrays) != 1:
        raise NlkitError(f"{path}: holds {len(arrays)} arrays; expected one, or one of the name 'labels'")
    return next(iter(arrays.values()))


def _read_json(path: Path) -> Any:
    data = read_bytes(path, MAX_ARCHIVE_BYTES)
    try:
        return json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise NlkitError(f"{path}: not a JSON list of integers ({reason(error)})") from None
