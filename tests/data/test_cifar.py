from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlkit.data import cifar, load_dataset
from nlkit.errors import NlkitError

NAMES = ["cifar10", "cifar100"]


def change(path: Path, **changes: Any) -> None:
    batch = {**pickle.loads(path.read_bytes()), **changes}
    path.write_bytes(pickle.dumps({key: value for key, value in batch.items() if value is not ...}))


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_dtypes_and_names(tmp_path: Path, write_cifar: Callable[..., Path], name: Any, protocol: int) -> None:
    write_cifar(tmp_path, name, protocol)
    dataset = load_dataset(name, tmp_path)
    assert dataset.name == name
    assert dataset.images.shape == (50, 32, 32, 3) and dataset.test_images.shape == (10, 32, 32, 3)
    assert dataset.images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.labels.shape == (50,) and dataset.test_labels.shape == (10,)
    assert dataset.labels.dtype == dataset.test_labels.dtype == np.int64
    assert len(dataset.class_names) == cifar.LAYOUTS[name].classes
    assert len(dataset.mean) == len(dataset.std) == 3


def test_rows_are_channel_major_and_batches_in_order(tmp_path: Path, write_cifar: Callable[..., Path]) -> None:
    folder = write_cifar(tmp_path)
    dataset = load_dataset("cifar10", tmp_path)
    batch = pickle.loads((folder / "data_batch_3").read_bytes())
    for row in range(10):
        for channel, y, x in [(0, 0, 0), (1, 5, 31), (2, 31, 7)]:
            assert dataset.images[20 + row, y, x, channel] == batch["data"][row, 1024 * channel + 32 * y + x]
    assert dataset.labels[20:30].tolist() == batch["labels"]


def test_the_hash_follows_the_content(tmp_path: Path, write_cifar: Callable[..., Path]) -> None:
    folder = write_cifar(tmp_path / "a", protocol=2)
    write_cifar(tmp_path / "b", protocol=4)
    first = load_dataset("cifar10", tmp_path / "a").sha256
    assert load_dataset("cifar10", tmp_path / "b").sha256 == first
    labels = pickle.loads((folder / "test_batch").read_bytes())["labels"]
    change(folder / "test_batch", labels=[(labels[0] + 1) % 10, *labels[1:]])
    assert load_dataset("cifar10", tmp_path / "a").sha256 != first


@pytest.mark.parametrize("name", NAMES)
def test_other_content_than_the_archive_is_a_warning(
    tmp_path: Path, write_cifar: Callable[..., Path], name: Any
) -> None:
    write_cifar(tmp_path, name)
    (warning,) = load_dataset(name, tmp_path).warnings
    assert "differs from the official archive" in warning and "instead of" in warning


def test_the_archive_itself_gives_no_warning(
    tmp_path: Path, write_cifar: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar(tmp_path)
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    monkeypatch.setattr(cifar, "_official_md5s", lambda name: sums)
    assert load_dataset("cifar10", tmp_path).warnings == ()


@pytest.mark.parametrize("name", NAMES)
def test_official_checksums_cover_every_file(name: str) -> None:
    assert set(cifar._official_md5s(name)) == set(cifar.LAYOUTS[name].files)
    assert len(cifar.archive_md5(name)) == 32


def test_missing_folder_and_missing_file(tmp_path: Path, write_cifar: Callable[..., Path]) -> None:
    with pytest.raises(
        NlkitError, match=r"cifar-10-batches-py; bring it with `nlkit data get cifar10`.*--data DIR or NLKIT_DATA"
    ):
        load_dataset("cifar10", tmp_path / "nowhere")
    folder = write_cifar(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(NlkitError, match="lacks data_batch_4"):
        load_dataset("cifar10", tmp_path)


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(NlkitError, match="'svhn' is unknown; use one of digits, cifar10, cifar100"):
        load_dataset("svhn", tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ...}, "key 'data' is missing"),
        ({"data": [1, 2]}, r"'data' is a list; expected uint8 \[10, 3072\]"),
        ({"data": np.zeros((9, 3072), np.uint8)}, r"uint8 \[9, 3072\]; expected"),
        ({"data": np.zeros((10, 3071), np.uint8)}, "expected uint8"),
        ({"data": np.zeros((10, 3072), np.int8)}, "int8"),
        ({"labels": ...}, "key 'labels' is missing"),
        ({"labels": [0] * 9}, r"shape \[9\]; expected \[10\]"),
        ({"labels": [0] * 9 + [10]}, r"label 10 at index 9 is outside 0\.\.9"),
        ({"labels": [-1] + [0] * 9}, "label -1 at index 0"),
        ({"labels": [0.0] * 10}, "is a float; expected an integer"),
        ({"labels": [True] * 10}, "is a bool"),
        ({"labels": [2**70] * 10}, "64 bits"),
        ({"labels": "0123456789"}, "are a str"),
        ({"labels": [[0]] * 10}, "is a list; expected an integer"),
    ],
)
def test_wrong_content(tmp_path: Path, write_cifar: Callable[..., Path], changes: dict[str, Any], message: str) -> None:
    folder = write_cifar(tmp_path)
    change(folder / "data_batch_2", **changes)
    with pytest.raises(NlkitError, match=f"data_batch_2.*{message}"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("names", [["a"] * 9, "abcdefghij", [1] * 10, None, ...])
def test_wrong_class_names(tmp_path: Path, write_cifar: Callable[..., Path], names: Any) -> None:
    change(write_cifar(tmp_path) / "batches.meta", label_names=names)
    with pytest.raises(NlkitError, match=r"batches\.meta.*label_names"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99, 0.99999])
def test_truncated_batches(tmp_path: Path, write_cifar: Callable[..., Path], share: float) -> None:
    path = write_cifar(tmp_path) / "data_batch_1"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(NlkitError, match="data_batch_1: not a CIFAR batch"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize(
    "foreign", [b"", b"\n", b"<html>", b"\x80\x04", b"PK\x03\x04", pickle.dumps([1]), pickle.dumps({"a": "b"})]
)
def test_foreign_files(tmp_path: Path, write_cifar: Callable[..., Path], foreign: bytes) -> None:
    path = write_cifar(tmp_path) / "test_batch"
    path.write_bytes(foreign)
    with pytest.raises(NlkitError, match="test_batch"):
        load_dataset("cifar10", tmp_path)
