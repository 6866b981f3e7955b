"""Pickles that come from outside: arrays and plain values are read, no code in them runs.

NumPy's constructors are replaced by stand-ins that only note down what an array should be; the arrays are built
afterwards, once their dtype, shape and number of bytes agree. Every other name in a pickle is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nlkit.data.arrays import plain_array
from nlkit.data.files import reason, zip_members
from nlkit.errors import NlkitError

_BYTE_ORDERS = ("<", ">", "|", "=")
_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

_REFUSED_OPCODES = b"".join(
    (
        pickle.PERSID,
        pickle.BINPERSID,
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
        pickle.INST,
        pickle.OBJ,
        pickle.NEWOBJ,
        pickle.NEWOBJ_EX,
        pickle.EMPTY_SET,
        pickle.ADDITEMS,
        pickle.FROZENSET,
        pickle.NEXT_BUFFER,
        pickle.READONLY_BUFFER,
    )
)


def parse_pickle(data: bytes, source: str, right: str) -> dict[str, Any]:
    """The dictionary in a pickle, its arrays as read-only NumPy arrays, Python 2 strings as latin-1 text.

    `source` names the bytes in an error message and `right` says what they should be. Raises NlkitError for
    anything but a dictionary of arrays and plain values.
    """
    try:
        content = _Reader(io.BytesIO(data), encoding="latin1").load()
        if type(content) is not dict or any(type(key) is not str for key in content):
            raise ValueError("the top is not a dictionary with text keys")
        return {key: _finished(value) for key, value in content.items()}
    except Exception as error:  # a hostile pickle can raise almost anything
        raise NlkitError(f"{source}: not {right} ({reason(error)})") from None


def read_torch_archive(path: Path, right: str) -> dict[str, Any]:
    """The dictionary of NumPy arrays in a `.pt` file (a zip file with one `<folder>/data.pkl`).

    Raises NlkitError for a missing or damaged file, or one with tensors or other objects in it.
    """
    members = zip_members(path, lambda name: name.endswith("/data.pkl"), right)
    if len(members) != 1:
        raise NlkitError(f"{path}: not {right} (holds {len(members)} members '<folder>/data.pkl' instead of one)")
    return parse_pickle(next(iter(members.values())), str(path), right)


class _Callable:
    """What a pickle gets for an admitted name: it can be called, but neither altered nor looked into."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it alters a constructor")


class _Dtype:
    """Stands in for a dtype until its byte order is known."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if type(code) is not str or code not in _CODES:
            raise pickle.UnpicklingError("a dtype is not a plain number")
        self._code, self._order = code, "="

    def __setstate__(self, state: Any) -> None:
        _version, order, *parts = state
        if type(order) is not str or order not in _BYTE_ORDERS or any(part is not None for part in parts[:3]):
            raise pickle.UnpicklingError("a dtype is not a plain number")
        self._order = order

    def finished(self) -> np.dtype:
        return np.dtype(self._order + self._code)


class _Array:
    """Stands in for an array until its state is known."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, raw = state
        self._value = _array(raw, dtype, shape, bool(fortran))

    def finished(self) -> np.ndarray:
        if self._value is None:
            raise pickle.UnpicklingError("an array has no content")
        return self._value


def _array(raw: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
    content = raw.encode("latin1") if type(raw) is str else raw
    if type(content) is not bytes or type(dtype) is not _Dtype or type(shape) is not tuple:
        raise pickle.UnpicklingError("an array is not made of bytes, a dtype and a shape")
    return plain_array(content, dtype.finished(), shape, fortran)


def _finished(value: Any) -> Any:
    return value.finished() if isinstance(value, _Array) else value


def _new_array(kind: Any, shape: Any, _code: Any) -> _Array:
    if kind is not _NDARRAY or shape != (0,):
        raise pickle.UnpicklingError("an array is of a foreign kind")
    return _Array()


def _array_from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise pickle.UnpicklingError("text is encoded other than in latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _never(*_arguments: Any) -> None:
    raise pickle.UnpicklingError("it calls numpy.ndarray")


_NDARRAY = _Callable(_never)
_ADMITTED = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Callable(_Dtype),
    ("_codecs", "encode"): _Callable(_encode),
    ("__builtin__", "bytes"): _Callable(_no_bytes),
    ("numpy.core.multiarray", "_reconstruct"): _Callable(_new_array),
    ("numpy._core.multiarray", "_reconstruct"): _Callable(_new_array),
    ("numpy.core.numeric", "_frombuffer"): _Callable(_array_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): _Callable(_array_from_buffer),
}


def _without_tuple_keys(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    # Tuples of tuples, shared, take few bytes and for ever to hash.
    def checked(reader: Any) -> None:
        if any(type(key) is tuple for key in reader.stack[keys]):
            raise pickle.UnpicklingError("a key is a tuple")
        load(reader)

    return checked


class _Reader(pickle._Unpickler):
    """The unpickler in Python: unlike the one in C it can drop opcodes and allocates no more than it reads."""

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code not in _REFUSED_OPCODES}
    # The usual way to read this opcode allocates the size that it declares.
    dispatch[pickle.BYTEARRAY8[0]] = dispatch[pickle.BINBYTES8[0]]
    dispatch[pickle.SETITEM[0]] = _without_tuple_keys(dispatch[pickle.SETITEM[0]], slice(-2, -1))
    dispatch[pickle.SETITEMS[0]] = _without_tuple_keys(dispatch[pickle.SETITEMS[0]], slice(0, None, 2))
    dispatch[pickle.DICT[0]] = _without_tuple_keys(dispatch[pickle.DICT[0]], slice(0, None, 2))

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        admitted = _ADMITTED.get((module_name, global_name))
        if admitted is None:
            raise pickle.UnpicklingError(f"the name {module_name[:60]}.{global_name[:60]} is not admitted")
        return admitted
