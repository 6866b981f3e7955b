from __future__ import annotations

import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlkit.data.pickles import parse_pickle
from nlkit.errors import NlkitError

DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64", ">i4"]


def parse(data: bytes) -> dict[str, Any]:
    return parse_pickle(data, "some/file", "a dictionary")


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_as_they_were(dtype: str, protocol: int) -> None:
    array = np.random.default_rng(0).integers(0, 2, (3, 5)).astype(dtype)
    for value in (array, np.asfortranarray(array), array[:0], array[0, 0:1]):
        found = parse(pickle.dumps({"data": value}, protocol=protocol))["data"]
        np.testing.assert_array_equal(found, value)
        assert found.dtype == value.dtype


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back_as_they_were(protocol: int) -> None:
    content = {
        "labels": [3, 1, 2],
        "name": "naïve",
        "nothing": None,
        "real": 0.5,
        "raw": b"\x00\xff",
        "inner": {"a": (1,)},
    }
    assert parse(pickle.dumps(content, protocol=protocol)) == content


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_python_2_arrays_and_strings(core: str) -> None:
    raw = bytes(range(250, 256))
    data = b"".join(
        (
            b"\x80\x02}(U\x04datac"
            + core.encode()
            + b".multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tbU\x05names]U\x03cata" + b"u.",
        )
    )
    found = parse(data)
    np.testing.assert_array_equal(found["data"], np.arange(250, 256, dtype=np.uint8).reshape(2, 3))
    assert found["names"] == ["cat"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, exec, eval, getattr, open, __import__, np.load, np.frombuffer])
def test_hostile_calls_do_not_run(tmp_path: Path, function: Callable[..., Any], protocol: int) -> None:
    marker = tmp_path / "it-ran"
    arguments = {
        os.system: (f"touch {marker}",),
        exec: (f"open({str(marker)!r}, 'w')",),
        eval: (f"open({str(marker)!r}, 'w')",),
        open: (str(marker), "w"),
    }.get(function, ("os", "system"))
    with pytest.raises(NlkitError, match=r"some/file: not a dictionary .*is not admitted"):
        parse(pickle.dumps({"data": Call(function, *arguments)}, protocol=protocol))
    assert not marker.exists()


def test_the_hostile_example_runs_in_an_unrestricted_reader(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    pickle.loads(pickle.dumps({"data": Call(os.system, f"touch {marker}")}))
    assert marker.exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"


@pytest.mark.parametrize(
    "value",
    [
        RECONSTRUCT + b"}X\x01\x00\x00\x00aK\x01sb",
        RECONSTRUCT + b"N}X\x05\x00\x00\x00_codeK\x01s\x86b",
        RECONSTRUCT + RECONSTRUCT + b"K\x00\x85C\x01b\x87R",
        RECONSTRUCT + b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85C\x01b\x87R",
        RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R",
        b"cnumpy\nndarray\nK\x02\x85R",
        b"cnumpy\nndarray\n)\x81",
        b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R",
        DTYPE + b"(K\x03X\x01\x00\x00\x00|NX\x01\x00\x00\x00a}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R",
        b"cnumpy.core.numeric\n_frombuffer\n(C\x01a" + DTYPE + b"J\xff\xff\xff\x7f\x85X\x01\x00\x00\x00CtR",
        b"cnumpy.core.numeric\n_frombuffer\n(]" + DTYPE + b"K\x00\x85X\x01\x00\x00\x00CtR",
        b"cnumpy.core.multiarray\nscalar\n",
        b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R",
        b"(inumpy\nndarray\n",
        b"\x8f",
        b"Pname\n",
        b"\x82\x01",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x00",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"r\xff\xff\xff\x7f\xff",
    ],
)
def test_misused_names_and_opcodes_are_refused(value: bytes) -> None:
    with pytest.raises(NlkitError):
        parse(b"\x80\x04}X\x04\x00\x00\x00data" + value + b"s.")


def test_a_tower_of_tuples_ends_at_once() -> None:
    tower = b")" + b"2\x86" * 200
    for body in (tower + b"K\x01s", b"X\x01\x00\x00\x00acnumpy\ndtype\n" + tower + b"\x85Rs"):
        with pytest.raises(NlkitError):
            parse(b"\x80\x02}" + body + b".")
    state = b"(K\x01" + tower + DTYPE + b"\x89C\x00tb"
    with pytest.raises(NlkitError):
        parse(b"\x80\x03}X\x01\x00\x00\x00a" + RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R" + state + b"s.")


@pytest.mark.parametrize("content", [[1, 2], "text", None, 3, {1: 2}, {b"data": 1}, np.arange(3)])
def test_only_a_dictionary_with_text_keys_is_taken(content: Any) -> None:
    with pytest.raises(NlkitError, match="some/file: not a dictionary"):
        parse(pickle.dumps(content))


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, []], dtype=object),
        np.array(["a", "b"]),
        np.zeros(2, [("x", "i4")]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, complex),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(array: np.ndarray) -> None:
    with pytest.raises(NlkitError):
        parse(pickle.dumps({"data": array}))


@pytest.mark.parametrize("protocol", range(6))
def test_damage_gives_one_clear_error_or_a_dictionary(protocol: int, damaged: Callable[..., list[bytes]]) -> None:
    content = {"labels": list(range(20)), "data": np.arange(60, dtype=np.uint8).reshape(20, 3), "name": "x"}
    data = pickletools.optimize(pickle.dumps(content, protocol=protocol))
    for copy in damaged(data, flips=200):
        try:
            assert isinstance(parse(copy), dict)
        except NlkitError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
