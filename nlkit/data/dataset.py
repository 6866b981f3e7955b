"""Data sets in memory: what they are, the checks that their labels pass, and the digits of scikit-learn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlkit.errors import NlkitError

DIGITS_TEST_COUNT = 450


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


def load_digits() -> Dataset:
    """The handwritten digits of scikit-learn as uint8 [N, 8, 8, 1]: 1,347 for training and 450 for testing.

    The split is fixed and stratified by class, and keeps the bundled order within each part. Pixels 0..16 are
    scaled to 0..255.
    """
    from sklearn.datasets import load_digits as load_bundled_digits
    from sklearn.model_selection import train_test_split

    bundled = load_bundled_digits()
    images = np.rint(bundled.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bundled.target.astype(np.int64)
    rows = np.arange(len(labels))
    split = train_test_split(rows, test_size=DIGITS_TEST_COUNT, stratify=labels, random_state=0)
    train, test = (np.sort(part) for part in split)
    pixels = images[train] / 255
    arrays = images[train], labels[train], images[test], labels[test]
    return Dataset(
        "digits",
        *arrays,
        class_names=tuple(str(name) for name in bundled.target_names),
        mean=(round(float(pixels.mean()), 4),),
        std=(round(float(pixels.std()), 4),),
        sha256=content_sha256(arrays),
    )


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
    if isinstance(values, list) and all(type(value) is int and abs(value) < 2**63 for value in values):
        values = np.array(values, np.int64)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        kind = f"dtype {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise NlkitError(f"{source}: labels are {kind}; expected a list or an array of nothing but integers")
    if values.shape != (count,):
        raise NlkitError(f"{source}: labels of shape {list(values.shape)}; expected [{count}], one for each image")
    outside = (values < 0) | (values >= classes)
    if outside.any():
        first = int(outside.argmax())
        raise NlkitError(
            f"{source}: label {values[first]} at index {first} is outside 0..{classes - 1} "
            f"({int(outside.sum())} of {count} labels are)"
        )
    return values.astype(np.int64)
