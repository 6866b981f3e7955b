"""MNIST and Fashion-MNIST from the idx files that torchvision keeps in `MNIST/raw` and `FashionMNIST/raw`.

The reader is our own: torchvision's takes no packed files, and answers hostile ones with assertions.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from nlkit.data.dataset import Dataset, check_labels, content_sha256
from nlkit.data.files import open_file
from nlkit.errors import NlkitError

SIDE = 28
TRAIN_COUNT = 60_000
TEST_COUNT = 10_000
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
FOLDERS = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
MOMENTS = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}
"""Mean and standard deviation of training pixels: the usual ones, recalled; they are rounded and not measured here."""


def idx_files(name: str, root: Path) -> list[Path]:
    """The files that a data set needs; each may be packed (`.gz`), and the unpacked one is taken where both are."""
    folder = root / FOLDERS[name]
    packed = [os.path.isfile(folder / f"{file}.gz") and not os.path.isfile(folder / file) for file in FILES]
    return [folder / (f"{file}.gz" if gz else file) for file, gz in zip(FILES, packed, strict=True)]


def load_idx(name: str, root: Path) -> Dataset:
    """MNIST or Fashion-MNIST from its folder under `root`: images uint8 [N, 28, 28, 1].

    Fewer images than in the original give a line in `warnings`. Raises NlkitError for files that are missing or
    damaged, headers of another kind, images and labels of different number, and labels out of range.
    """
    images, labels, test_images, test_labels = idx_files(name, root)
    arrays = *_read_part(images, labels, TRAIN_COUNT), *_read_part(test_images, test_labels, TEST_COUNT)
    counts = len(arrays[1]), len(arrays[3])
    fewer = f"{counts[0]} training and {counts[1]} test images instead of {TRAIN_COUNT} and {TEST_COUNT}"
    mean, std = MOMENTS[name]
    return Dataset(
        name,
        *arrays,
        class_names=CLASS_NAMES[name],
        mean=(mean,),
        std=(std,),
        sha256=content_sha256(arrays),
        warnings=() if counts == (TRAIN_COUNT, TEST_COUNT) else (fewer,),
    )


def _read_part(images: Path, labels: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = _read_idx(images, (SIDE, SIDE), most)[..., None]
    return pixels, check_labels(_read_idx(labels, (), most), len(pixels), 10, str(labels))


def _read_idx(path: Path, shape: tuple[int, ...], most: int) -> np.ndarray:
    """An array uint8 [N, *shape] of 1 to `most` items; raises NlkitError for a file that holds anything else.

    An idx file begins with two zero bytes, the type (8: unsigned bytes), the number of dimensions, and their sizes as
    big-endian integers of four bytes.
    """
    head, item = 8 + 4 * len(shape), math.prod(shape)
    data = _content(path, head + most * item)
    count = int.from_bytes(data[4:8])
    expected = bytes((0, 0, 8, 1 + len(shape))) + np.array((count, *shape), ">u4").tobytes()
    if data[:head] != expected or not 1 <= count <= most:
        sizes = ", ".join(str(size) for size in ("N", *shape))
        raise NlkitError(f"{path}: not an idx file of unsigned bytes [{sizes}] with N from 1 to {most}")
    if len(data) != head + count * item:
        raise NlkitError(f"{path}: holds {len(data)} bytes; its header asks for {head + count * item}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(count, *shape).copy()  # torch wants it writable


def _content(path: Path, limit: int) -> bytes:
    """The bytes of a file, unpacked; raises NlkitError for more than `limit`."""
    with open_file(path, limit + 2**20) as file:
        try:
            data = (gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file).read(limit + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise NlkitError(f"{path}: not a readable gzip file ({error})") from None
    if len(data) > limit:
        raise NlkitError(f"{path}: holds more than {limit} bytes; this is another file")
    return data
