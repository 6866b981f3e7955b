"""Arrays and pickles from outside: they come back as NumPy wrote them, or are refused in one line; no code runs."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import Call, refused, watched

from nlkit.data import files
from nlkit.data.cifar import parse_pickle
from nlkit.data.files import check_relative, inside, read_array, read_npz
from nlkit.errors import NlkitError
from nlkit.files import read_bytes

DTYPES = ["bool", "uint8", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64", ">i4"]


def npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(4)


def zipped(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a.npy", content)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (4, 1, 5)])
def test_arrays_come_back_as_numpy_wrote_them(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    for stored in (array, np.asfortranarray(array)):
        (tmp_path / "x.npy").write_bytes(npy(stored))
        np.savez(tmp_path / "x.npz", a=stored)
        np.savez_compressed(tmp_path / "y.npz", a=stored, b=np.arange(3))
        found = [read_array(tmp_path / "x.npy"), read_array(tmp_path / "x.npz"), read_array(tmp_path / "y.npz", "a")]
        found += [parse(pickle.dumps({"a": stored}, protocol=protocol))["a"] for protocol in range(5) if array.ndim]
        for one in found:
            np.testing.assert_array_equal(one, array)
            assert one.dtype == array.dtype
    assert list(read_npz(tmp_path / "y.npz")) == ["a", "b"]


HEADERS = ["(1000000000000,)", "(99999, 99999, 99999)", "(-2,)", "(2.0,)", "(1,)*99", "5", "(3,)"]
KINDS = ["'|O'", "'<U1'", "[('a', '<i4')]", "'<M8[s]'", "'?' * 9", "None"]
OUTSIDE = ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "\\\\host\\x", "..\\x", "a\\..\\x", "C:\\x", "c:x"]
LIES = [*map(header, HEADERS), *(header("(1,)", kind) for kind in KINDS), npy(np.array([{}]), allow_pickle=True)]


@pytest.mark.parametrize("content", LIES)
def test_headers_that_lie_and_arrays_of_anything_but_numbers_are_refused(tmp_path: Path, content: bytes) -> None:
    for path, data in ((tmp_path / "x.npy", content), (tmp_path / "x.npz", zipped(content))):
        path.write_bytes(data)
        said = refused(lambda path=path: read_array(path))  # type: ignore[misc]
        assert path.name in said and ": not a .npy array of plain numbers" in said


def test_files_that_are_too_large_or_no_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "bomb.npz").write_bytes(zipped(bytes(2**20 + 1)))
    (tmp_path / "lzma.npz").write_bytes(zipped(npy(np.arange(3)), zipfile.ZIP_LZMA))
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    said = {"bomb.npz": "declare more than", "lzma.npz": "compression", "none.npy": "no such file"}
    said |= {"folder.npy": "not a regular file", "pipe.npy": "not a regular file", "nul\0.npy": "no such file"}
    for name, words in said.items():
        with pytest.raises(NlkitError, match=words):
            read_array(tmp_path / name)
    (tmp_path / "large").write_bytes(bytes(11))
    refused(lambda: read_bytes(tmp_path / "large", 10), "at most 10")
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 10)
    refused(lambda: read_array(tmp_path / "large"), "at most 10")


@pytest.mark.parametrize("name", [*OUTSIDE, "a\0b", ""])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(NlkitError, match=r"^list\.txt, line 7: the path (is empty|.*leaves the folder)"):
        check_relative(name, "list.txt, line 7")


@pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "a..b", "..a/b..", "...", "a/...x", "1,2.jpg", "ü/漢.jpg"])
def test_names_within_the_folder_pass_and_so_do_links_that_stay_there(tmp_path: Path, name: str) -> None:
    check_relative(name, "list.txt, line 7")
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/link").symlink_to(tmp_path / "in/a")
    (tmp_path / "in/out").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(tmp_path / "in")
    assert inside(tmp_path / "alias", f"link/{name}", "x") == tmp_path / "in/a" / name
    refused(lambda: inside(tmp_path / "in", f"out/{name}", "x"), "is a link that leaves the folder")


def parse(data: bytes) -> dict[str, Any]:
    return parse_pickle(data, "some/file", "a dictionary")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back_as_they_were(protocol: int) -> None:
    content = {"labels": [3, 1, 2], "name": "naïve", "nothing": None, "real": 0.5, "raw": b"\0\xff", "in": {"a": (1,)}}
    content["none"] = b""
    assert parse(pickle.dumps(content, protocol=protocol)) == content


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_python_2_arrays_and_strings(core: bytes) -> None:
    raw = bytes(range(250, 256))
    data = b"\x80\x02}(U\x04datac" + core + b".multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    data += b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
    data += b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tbU\x05names]U\x03cata" + b"u."
    found = parse(data)
    np.testing.assert_array_equal(found["data"], np.arange(250, 256, dtype=np.uint8).reshape(2, 3))
    assert found["names"] == ["cat"]


WRITE = "open('it-ran', 'w')"
CALLS = [(os.system, "touch it-ran"), (exec, WRITE), (eval, WRITE), (open, "it-ran", "w"), (getattr, "os", "system")]
CALLS += [(function, "os", "system") for function in (__import__, np.load, np.frombuffer)]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0].__name__)
def test_hostile_calls_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = pickle.dumps({"data": Call(*call)}, protocol=protocol)
    refused(lambda: parse(hostile), r"some/file: not a dictionary .*is not admitted")
    assert not Path("it-ran").exists()
    if call[0] is os.system:
        pickle.loads(hostile)  # an unrestricted reader runs it
        assert Path("it-ran").exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
EMPTY = RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R"
HIDDEN = (b"", b"Nb", b"(e", b"(u", b"N0", b"(1", b"\x80\x04", b"\x95" + bytes(8))
"""What leaves a value on top of the stack as it is."""
TOWERS = [b"2\x86" * 60, b"\x85" * 100_000, *(hidden + b"q\x00h\x00\x86" for hidden in HIDDEN)]


@pytest.mark.parametrize(
    "value",
    [
        RECONSTRUCT + b"}X\x01\x00\x00\x00aK\x01sb",
        RECONSTRUCT + b"N}X\x05\x00\x00\x00_codeK\x01s\x86b",
        RECONSTRUCT + RECONSTRUCT + b"K\x00\x85C\x01b\x87R",
        EMPTY,
        EMPTY + b"(K\x01J\xff\xff\xff\x7f\x85" + DTYPE + b"\x89C\x01atb",
        EMPTY + b"(K\x01K\x00\x85" + DTYPE + b"\x89]tb",
        b"cnumpy\nndarray\nK\x02\x85R",
        b"cnumpy\nndarray\n)\x81",
        b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R",
        DTYPE + b"(K\x03X\x01\x00\x00\x00|NX\x01\x00\x00\x00a}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"c_codecs\nencode\nK\x01X\x03\x00\x00\x00hex\x86R",
        b"cnumpy.core.multiarray\nscalar\n",
        b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R",
        *(b"(inumpy\nndarray\n", b"\x8f", b"Pname\n", b"\x82\x01", b"\x96" + b"\xff" * 7 + b"\0"),
        *(b"\x8e" + b"\xff" * 7 + b"\x7f", b"\x8b\xff\xff\xff\x7f", b"r\xff\xff\xff\x7f\xff"),
    ],
)
def test_misused_names_and_opcodes_are_refused(value: bytes) -> None:
    refused(lambda: parse(b"\x80\x04}X\x04\x00\x00\x00data" + value + b"s."))


@pytest.mark.parametrize("tower", TOWERS)
def test_tuples_of_tuples_are_not_hashed(tower: bytes) -> None:
    with watched(), pytest.raises(NlkitError, match=r"opcode|a tuple is used twice"):
        parse(b"\x80\x04})" + tower * (60 if b"h" in tower else 1) + b"K\x01s.")


@pytest.mark.parametrize(
    "content",
    [
        *([1, 2], "text", None, 3, {1: 2}, {b"data": 1}, np.arange(3)),
        *({"data": array} for array in (np.array([{}, []], object), np.array(["a"]), np.zeros(2, [("x", "i4")]))),
        *({"data": np.zeros(2, dtype)} for dtype in ("M8[s]", "c8")),
    ],
)
def test_only_a_dictionary_of_numbers_with_text_keys_is_taken(content: Any) -> None:
    refused(lambda: parse(pickle.dumps(content, protocol=2)), "some/file: not a dictionary")
