"""NumPy's `.npy` and `.npz` files, read without pickle and without trusting their headers."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np

from nlkit.data.files import read_bytes, reason, zip_members
from nlkit.errors import NlkitError

MAX_DIMENSIONS = 32

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> np.ndarray:
    """The array of a `.npy` file, any shape, numbers or booleans only.

    Raises NlkitError for a missing or damaged file, or one with objects or records in it.
    """
    return parse_npy(read_bytes(path), str(path))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name, without the `.npy` ending.

    Raises NlkitError for a missing or damaged file, or one with objects or records in it.
    """
    members = zip_members(path, lambda name: name.endswith(".npy"), "a .npz file of plain arrays")
    return {
        name.removesuffix(".npy"): parse_npy(content, f"{path}, member {name!r}") for name, content in members.items()
    }


def parse_npy(data: bytes, source: str) -> np.ndarray:
    """The (read-only) array in the bytes of a `.npy` file; `source` names them in an error message.

    Nothing is allocated for a header that promises more than `data` holds. Raises NlkitError for damaged bytes.
    """
    try:
        return _parse_npy(data)
    except Exception as error:  # a damaged header can raise almost anything
        raise NlkitError(f"{source}: not a .npy array of plain numbers ({reason(error)})") from None


def plain_array(data: bytes, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> np.ndarray:
    """A read-only array over `data`, after a check that its shape and dtype need exactly these bytes.

    Raises ValueError for objects, records, a negative size or another number of bytes.
    """
    if dtype.kind not in "biuf":
        raise ValueError(f"dtype {dtype} is not a plain number")
    if len(shape) > MAX_DIMENSIONS or any(type(size) is not int or not 0 <= size < 2**63 for size in shape):
        raise ValueError("the shape is not a tuple of sizes")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(data):
        raise ValueError(f"shape {shape} of {dtype} needs {needed} bytes, found {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _parse_npy(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise ValueError(f"format version {version} is not for plain arrays")
    # NumPy and the parser beneath it warn about odd headers, which the checks below accept or refuse.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape, fortran, dtype = _HEADER_READERS[version](stream)
    return plain_array(data[stream.tell() :], dtype, shape, fortran)
