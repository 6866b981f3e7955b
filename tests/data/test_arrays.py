from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlkit.data import files
from nlkit.data.arrays import parse_npy, read_npy, read_npz
from nlkit.errors import NlkitError


def npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (4, 1, 5)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "<i4", ">i8", "float32"])
def test_npy_agrees_with_numpy(shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    for stored in (array, np.asfortranarray(array)):
        found = parse_npy(npy(stored), "x.npy")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_agrees_with_numpy(tmp_path: Path, save: Callable[..., None]) -> None:
    arrays = {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}
    save(tmp_path / "x.npz", **arrays)
    found = read_npz(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize(
    "shape", ["(1000000000000,)", "(99999, 99999, 99999)", "(-1,)", "(True,)", "(2.0,)", "(1,)*99", "5"]
)
def test_headers_that_promise_something_else_are_refused(shape: str) -> None:
    with pytest.raises(NlkitError, match=r"x\.npy: not a \.npy array"):
        parse_npy(header(shape) + bytes(4), "x.npy")


@pytest.mark.parametrize("descr", ["'|O'", "'<U4'", "[('a', '<i4')]", "'<M8[s]'", "'?' * 9", "None"])
def test_dtypes_other_than_numbers_are_refused(descr: str) -> None:
    with pytest.raises(NlkitError):
        parse_npy(header("(1,)", descr) + bytes(4), "x.npy")


def test_a_pickled_object_array_is_refused() -> None:
    with pytest.raises(NlkitError):
        parse_npy(npy(np.array([{}], dtype=object), allow_pickle=True), "x.npy")


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    with pytest.raises(NlkitError, match="no such file"):
        read_npy(tmp_path / "none.npy")
    with pytest.raises(NlkitError, match="not a regular file"):
        read_npy(tmp_path)
    with pytest.raises(NlkitError, match="no such file"):
        read_npy(tmp_path / "nul\0byte.npy")


def test_large_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        file.truncate(files.MAX_ARCHIVE_BYTES + 1)
    with pytest.raises(NlkitError, match="at most"):
        read_npz(path)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(files.MAX_ARCHIVE_BYTES // 2**20 + 1):
            member.write(bytes(2**20))
    with pytest.raises(NlkitError, match="declare more than"):
        read_npz(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
        archive.writestr("a.npy", npy(np.arange(3)))
    with pytest.raises(NlkitError, match="compression method"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz(tmp_path: Path, save: Callable[..., None], damaged: Callable[..., list[bytes]]) -> None:
    path = tmp_path / "x.npz"
    save(path, a=np.arange(9), b=np.arange(3, dtype=np.uint8))
    for copy in damaged(path.read_bytes()):
        path.write_bytes(copy)
        try:
            assert all(isinstance(array, np.ndarray) for array in read_npz(path).values())
        except NlkitError as error:
            assert "\n" not in str(error)


def test_damaged_npy(damaged: Callable[..., list[bytes]]) -> None:
    for copy in damaged(npy(np.arange(9)), flips=400):
        try:
            assert isinstance(parse_npy(copy, "x.npy"), np.ndarray)
        except NlkitError as error:
            assert "\n" not in str(error)
