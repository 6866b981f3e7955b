"""What a data set is once it is in memory, and the checks that its labels pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlkit.errors import NlkitError


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory, with what is needed to normalise and to name them.

    images, test_images: uint8 [N, H, W, C]; labels, test_labels: int64 [N], the data set's own labels.
    mean, std: per channel, of pixels in [0, 1]. sha256: hash over images and labels, training and test.
    warnings: what is unusual about the files, one line each.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    warnings: tuple[str, ...] = ()


def content_sha256(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over dtype, shape and elements of arrays, in their order and in C order, little-endian."""
    digest = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"{little.dtype.str}{little.shape}".encode())
        digest.update(little.data)
    return digest.hexdigest()


def check_labels(values: Any, count: int, classes: int, source: str) -> np.ndarray:
    """Labels int64 [count] from a list of integers or an integer array [count].

    Raises NlkitError, beginning with `source`, for another length, a non-integer, or a label outside [0, classes).
    """
    array = _integers(values, source)
    if array.ndim != 1 or len(array) != count:
        raise NlkitError(f"{source}: labels of shape {list(array.shape)}; expected [{count}], one for each image")
    outside = (array < 0) | (array >= classes)
    if outside.any():
        first = int(outside.argmax())
        raise NlkitError(
            f"{source}: label {array[first]} at index {first} is outside 0..{classes - 1} "
            f"({int(outside.sum())} of {count} labels are)"
        )
    return array.astype(np.int64)


def _integers(values: Any, source: str) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return values
    if isinstance(values, np.ndarray):
        raise NlkitError(f"{source}: labels of dtype {values.dtype}; expected integers")
    if not isinstance(values, list):
        raise NlkitError(f"{source}: labels are a {type(values).__name__}; expected a list or an array of integers")
    wrong = next((index for index, value in enumerate(values) if type(value) is not int), None)
    if wrong is not None:
        kind = type(values[wrong]).__name__
        raise NlkitError(f"{source}: the label at index {wrong} is a {kind}; expected an integer")
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise NlkitError(f"{source}: a label does not fit into 64 bits; expected small integers") from None
