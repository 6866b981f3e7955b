"""MNIST and Fashion-MNIST from the idx files that torchvision keeps in `MNIST/raw` and `FashionMNIST/raw`."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlkit.data.dataset import Dataset, check_labels, content_sha256
from nlkit.data.files import is_file, read_bytes
from nlkit.errors import NlkitError

SIDE = 28
CLASSES = 10
TRAIN_COUNT = 60_000
TEST_COUNT = 10_000
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_UNSIGNED_BYTES = 8


@dataclass(frozen=True)
class Layout:
    """Where a data set of idx files lies, its classes, and mean and standard deviation of its training pixels.

    The statistics are the usual ones, recalled; they are rounded and not measured here.
    """

    folder: str
    class_names: tuple[str, ...]
    mean: float
    std: float


LAYOUTS = {
    "mnist": Layout("MNIST/raw", tuple("0123456789"), 0.1307, 0.3081),
    "fashion_mnist": Layout(
        "FashionMNIST/raw",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        0.2860,
        0.3530,
    ),
}


def load_idx(name: str, root: Path) -> Dataset:
    """MNIST or Fashion-MNIST from its folder under `root`: images uint8 [N, 28, 28, 1].

    Each file may be packed (`.gz`); the unpacked one is taken where both are there, as torchvision does. Fewer images
    than in the original give a line in `warnings`. Raises NlkitError for files that are missing or damaged, headers
    of another kind, images and labels of different number, and labels out of range.
    """
    layout = LAYOUTS[name]
    paths = [_find(root / layout.folder, file) for file in FILES]
    arrays = (*_read_part(paths[0], paths[1], TRAIN_COUNT), *_read_part(paths[2], paths[3], TEST_COUNT))
    return Dataset(
        name,
        *arrays,
        class_names=layout.class_names,
        mean=(layout.mean,),
        std=(layout.std,),
        sha256=content_sha256(arrays),
        warnings=_fewer(len(arrays[1]), len(arrays[3])),
    )


def missing_idx(name: str, root: Path) -> list[str]:
    """Names of the files of a data set under `root` that are there neither packed nor unpacked."""
    folder = root / LAYOUTS[name].folder
    return [file for file in FILES if not is_file(_find(folder, file))]


def read_idx(path: Path, shape: tuple[int, ...], most: int) -> np.ndarray:
    """An array uint8 [N, *shape] of 1 to `most` items from an idx file, which may be packed with gzip.

    An idx file begins with two zero bytes, the type (8: unsigned bytes), the number of dimensions, and their sizes as
    big-endian integers of four bytes. Raises NlkitError for anything else, and for a file that is cut short or longer.
    """
    head = 4 + 4 * (1 + len(shape))
    data = _content(path, head + most * int(np.prod(shape)))
    if len(data) < head or data[:2] != b"\0\0":
        raise NlkitError(f"{path}: not an idx file; expected two zero bytes at its start")
    if data[2] != _UNSIGNED_BYTES or data[3] != 1 + len(shape):
        raise NlkitError(
            f"{path}: an idx file of type {data[2]} with {data[3]} dimensions; expected type {_UNSIGNED_BYTES} "
            f"(unsigned bytes) with {1 + len(shape)}"
        )
    sizes = tuple(int(size) for size in np.frombuffer(data[4:head], ">u4"))
    if sizes[1:] != shape or not 1 <= sizes[0] <= most:
        wanted = ", ".join(str(size) for size in ("N", *shape))
        raise NlkitError(f"{path}: sizes {list(sizes)} in the header; expected [{wanted}] with N from 1 to {most}")
    if len(data) != head + int(np.prod(sizes)):
        raise NlkitError(f"{path}: holds {len(data)} bytes; its header asks for {head + int(np.prod(sizes))}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(sizes).copy()  # torch wants an array that can be written


def _read_part(images: Path, labels: Path, most: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = read_idx(images, (SIDE, SIDE), most)[..., None]
    return pixels, check_labels(read_idx(labels, (), most), len(pixels), CLASSES, str(labels))


def _content(path: Path, limit: int) -> bytes:
    """The bytes of a file, unpacked; never more than one beyond `limit`."""
    data = read_bytes(path, limit + 2**20)
    if path.suffix != ".gz":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(limit + 1)
            if len(content) <= limit:
                file.read(1)  # reading past the end checks length and checksum
    except (OSError, EOFError, zlib.error) as error:
        raise NlkitError(f"{path}: not a readable gzip file ({error})") from None
    if len(content) > limit:
        raise NlkitError(f"{path}: unpacks to more than {limit} bytes; this is another file")
    return content


def _find(folder: Path, file: str) -> Path:
    packed = folder / f"{file}.gz"
    return packed if is_file(packed) and not is_file(folder / file) else folder / file


def _fewer(train: int, test: int) -> tuple[str, ...]:
    if (train, test) == (TRAIN_COUNT, TEST_COUNT):
        return ()
    return (f"{train} training and {test} test images instead of {TRAIN_COUNT} and {TEST_COUNT}",)
