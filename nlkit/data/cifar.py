"""CIFAR-10 and CIFAR-100 from the folders of the official Python archives, without running what a pickle says.

Names in a pickle are looked up in a short list of stand-ins: nothing of NumPy's is called until dtype, shape and bytes
are known.
"""

import hashlib
import io
import pickle
import pickletools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from nlkit.data.dataset import FACTS, Dataset, check_labels
from nlkit.data.files import content_sha256, reason, zip_members
from nlkit.errors import NlkitError
from nlkit.files import read_bytes

TRAIN_COUNT = 50_000
TEST_COUNT = 10_000
ROW_BYTES = 3 * 32 * 32


LAYOUTS = {name: SimpleNamespace(**facts) for name, facts in FACTS["cifar"].items()}
"""Where a CIFAR archive keeps what; `sources.yaml` says what each field is."""


def cifar_files(name: str, root: Path) -> list[Path]:
    """The files that a CIFAR data set needs."""
    return [root / LAYOUTS[name].folder / file for file in LAYOUTS[name].files]


def load_cifar(name: str, root: Path) -> Dataset:
    """CIFAR-10 or CIFAR-100 (fine labels) from its folder under `root`: images uint8 [N, 32, 32, 3].

    Content that is not the official one gives a line in `warnings`. Raises NlkitError for missing or wrong files.
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
        mean=tuple(layout.mean),
        std=tuple(layout.std),
        sha256=content_sha256(arrays),
        warnings=_differences([*train, test, names], layout),
    )


def _differences(contents: list[tuple[Path, bytes]], layout: SimpleNamespace) -> tuple[str, ...]:
    found = {path.name: hashlib.md5(data, usedforsecurity=False).hexdigest() for path, data in contents}
    different = [file for file in found if found[file] != layout.files[file]]
    if not different:
        return ()
    first = f"{different[0]}: md5 {found[different[0]]} instead of {layout.files[different[0]]}"
    return (f"content differs from the official archive in {len(different)} of {len(contents)} files ({first})",)


def _read_batch(path: Path, data: bytes, count: int, layout: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    batch = parse_pickle(data, str(path), f"a CIFAR batch: a pickled dictionary with 'data' and '{layout.label_key}'")
    rows = _value(batch, "data", path)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (count, ROW_BYTES):
        kind = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, np.ndarray) else f"a {type(rows).__name__}"
        raise NlkitError(f"{path}: key 'data' is {kind}; expected uint8 [{count}, {ROW_BYTES}]")
    labels = _value(batch, layout.label_key, path)
    images = rows.reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)
    source = f"{path}, key '{layout.label_key}'"
    return np.ascontiguousarray(images), check_labels(labels, count, layout.classes, source)


def _class_names(path: Path, data: bytes, layout: SimpleNamespace) -> tuple[str, ...]:
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


MAX_OPCODES = 5_000_000  # of a pickle; the training images of CIFAR-100 take half a million
MAX_TUPLES = 1000

_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_REFUSED = (
    *("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "DUP", "POP", "POP_MARK"),
    *("EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER"),
)
"""Opcodes that no array needs."""
_FILLING = ("BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS")
"""Opcodes that change a value; whoever writes pickles notes values down before."""


def parse_pickle(data: bytes, source: str, right: str) -> dict[str, Any]:
    """The dictionary in a pickle, its arrays as NumPy arrays, Python 2 strings as latin-1 text.

    Raises NlkitError, `<source>: not <right>`, for anything but a dictionary of arrays and plain values.
    """
    try:
        _check_opcodes(data)
        content = _Reader(io.BytesIO(data), encoding="latin1").load()
        if type(content) is not dict or any(type(key) is not str for key in content):
            raise ValueError("the top is not a dictionary with text keys")
        return {key: value.array if isinstance(value, _Array) else value for key, value in content.items()}
    except Exception as error:  # a hostile pickle can raise almost anything
        raise NlkitError(f"{source}: not {right} ({reason(error)})") from None


def read_torch_archive(path: Path, right: str) -> dict[str, Any]:
    """The dictionary of NumPy arrays in a `.pt` file, a zip file with one `<folder>/data.pkl`; raises as above."""
    members = zip_members(path, "/data.pkl", right)
    if len(members) != 1:
        raise NlkitError(f"{path}: not {right} (holds {len(members)} members '<folder>/data.pkl' instead of one)")
    return parse_pickle(next(iter(members.values())), str(path), right)


def _check_opcodes(data: bytes) -> None:
    """Raise UnpicklingError for opcodes that take memory or time without end: large memos, tuples of tuples as keys."""
    tuples: set[int] = set()
    memos, nested, top = 0, 0, ""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        nested += "TUPLE" in name
        if name in _REFUSED or count > MAX_OPCODES or nested > MAX_TUPLES:
            raise pickle.UnpicklingError(f"opcode {name} at place {count}")
        if name == "MEMOIZE" or name.endswith("PUT"):
            index = memos if argument is None else int(argument)
            if index > len(data) or top in _FILLING:
                raise pickle.UnpicklingError(f"opcode {name} at place {count}")
            memos += 1
            (tuples.add if "TUPLE" in top else tuples.discard)(index)
        elif name.endswith("GET") and int(argument or 0) in tuples:
            raise pickle.UnpicklingError("a tuple is used twice")
        elif name not in ("PROTO", "FRAME"):
            top = name


class _Dtype:
    """Stands in for a dtype of plain numbers until its byte order is known."""

    def __init__(self, code: Any, *_options: Any) -> None:
        if code not in _CODES:
            raise pickle.UnpicklingError("a dtype is not a plain number")
        self.dtype: np.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _version, order, *fields = state
        if order not in ("<", ">", "|", "=") or fields[:3] != [None] * 3:
            raise pickle.UnpicklingError("a dtype is not a plain number")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands in for an array until its state is known."""

    array: np.ndarray

    def __init__(self, _kind: Any, _shape: Any, _code: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, content = state
        plain = content.encode("latin1") if type(content) is str else content
        self.array = np.frombuffer(plain, dtype.dtype).reshape(shape, order="F" if fortran else "C")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): lambda text, _encoding: text.encode("latin1"),
    ("__builtin__", "bytes"): lambda: b"",
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows these names only."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What stands in for a name."""
        name = module_name.replace("numpy._core", "numpy.core"), global_name
        if name not in _ADMITTED:
            raise pickle.UnpicklingError(f"the name {module_name[:60]}.{global_name[:60]} is not admitted")
        return _ADMITTED[name]
