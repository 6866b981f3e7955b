"""Data sets in memory: what they are, the checks that labels pass, the digits of scikit-learn, and both MNISTs."""

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nlkit.data.files import content_sha256
from nlkit.errors import NlkitError
from nlkit.files import open_file

FACTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("sources.yaml").read_text(encoding="utf-8"))
"""What is known about the public data sets: where they come from, their files, numbers and statistics."""

MNIST_COUNTS = {"train": 60_000, "t10k": 10_000}
MNIST_FILES = tuple(f"{part}-{kind}-ubyte" for part in MNIST_COUNTS for kind in ("images-idx3", "labels-idx1"))


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
        wrong = f"label {values[first]} at index {first} is outside 0..{classes - 1}"
        raise NlkitError(f"{source}: {wrong} ({int(outside.sum())} of {count} labels are)")
    return values.astype(np.int64)


def load_digits() -> Dataset:
    """The handwritten digits of scikit-learn as uint8 [N, 8, 8, 1]: 1,347 for training and 450 for testing.

    The split is fixed and stratified by class, and keeps the bundled order. Pixels 0..16 are scaled to 0..255.
    """
    from sklearn.datasets import load_digits as load_bundled_digits
    from sklearn.model_selection import train_test_split

    bundled = load_bundled_digits()
    images = np.rint(bundled.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bundled.target.astype(np.int64)
    rows = np.arange(len(labels))
    split = train_test_split(rows, test_size=450, stratify=labels, random_state=0)
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


def mnist_paths(name: str, root: Path) -> list[Path]:
    """The files that MNIST or Fashion-MNIST needs, where torchvision keeps them; each may be packed (`.gz`)."""
    folder = root / FACTS["mnist"][name]["folder"]
    packed = [os.path.isfile(folder / f"{file}.gz") and not os.path.isfile(folder / file) for file in MNIST_FILES]
    return [folder / (f"{file}.gz" if gz else file) for file, gz in zip(MNIST_FILES, packed, strict=True)]


def load_mnist(name: str, root: Path) -> Dataset:
    """MNIST or Fashion-MNIST from its folder under `root`: images uint8 [N, 28, 28, 1].

    Fewer images than in the original give a line in `warnings`. Raises NlkitError for missing or wrong files.
    """
    images, labels, test_images, test_labels = mnist_paths(name, root)
    most, most_tests = MNIST_COUNTS.values()
    arrays = *_read_part(images, labels, most), *_read_part(test_images, test_labels, most_tests)
    counts = len(arrays[1]), len(arrays[3])
    fewer = f"{counts[0]} training and {counts[1]} test images instead of {most} and {most_tests}"
    facts: dict[str, Any] = {key: tuple(FACTS["mnist"][name][key]) for key in ("class_names", "mean", "std")}
    return Dataset(
        name, *arrays, **facts, sha256=content_sha256(arrays), warnings=() if counts == (most, most_tests) else (fewer,)
    )


def _read_part(images: Path, labels: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = _read_idx(images, (28, 28), most)[..., None]
    return pixels, check_labels(_read_idx(labels, (), most), len(pixels), 10, str(labels))


def _read_idx(path: Path, shape: tuple[int, ...], most: int) -> np.ndarray:
    """An array uint8 [N, *shape] of 1 to `most` items; raises NlkitError for a file that holds anything else.

    An idx file begins with two zero bytes, the type (8: unsigned bytes), the number of dimensions, and their sizes.
    torchvision's reader takes no packed files, and answers hostile ones with assertions.
    """
    head, item = 8 + 4 * len(shape), math.prod(shape)
    longest = head + most * item
    with open_file(path, longest + 2**20) as file:
        try:
            data = (gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file).read(longest + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise NlkitError(f"{path}: not a readable gzip file ({error})") from None
    count = int.from_bytes(data[4:8])
    expected = bytes((0, 0, 8, 1 + len(shape))) + np.array((count, *shape), ">u4").tobytes()
    if data[:head] != expected or not 1 <= count <= most or len(data) != head + count * item:
        wanted = f"unsigned bytes [{', '.join(map(str, ('N', *shape)))}] with N from 1 to {most}"
        raise NlkitError(f"{path}: not an idx file of {wanted}, as long as its header says")
    return np.frombuffer(data, np.uint8, offset=head).reshape(count, *shape).copy()  # torch wants it writable
