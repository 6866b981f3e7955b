from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets
from trees import mnist_files

from nlkit.data import idx, load_dataset
from nlkit.errors import NlkitError

IMAGES, LABELS = idx.FILES[:2]


def header(*sizes: int, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(sizes))) + np.array(sizes, ">u4").tobytes()


def refused(root: Path, name: str = "mnist") -> str:
    with pytest.raises(NlkitError) as caught:
        load_dataset(name, root)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(("name", "place"), [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")])
@pytest.mark.parametrize("packed", [False, True])
def test_what_was_written_is_read(tmp_path: Path, name: Any, place: str, packed: bool) -> None:
    arrays = mnist_files(tmp_path, place=place, packed=packed)
    dataset = load_dataset(name, tmp_path)
    assert dataset.name == name and len(dataset.class_names) == 10
    assert dataset.images.dtype == np.uint8 and dataset.images.shape == (200, 28, 28, 1)
    np.testing.assert_array_equal(dataset.images[..., 0], arrays[IMAGES])
    np.testing.assert_array_equal(dataset.labels, arrays[LABELS])
    np.testing.assert_array_equal(dataset.test_images[..., 0], arrays[idx.FILES[2]])
    np.testing.assert_array_equal(dataset.test_labels, arrays[idx.FILES[3]])
    assert dataset.labels.dtype == np.int64 and dataset.images.flags.writeable
    assert dataset.warnings == ("200 training and 50 test images instead of 60000 and 10000",)


@pytest.mark.parametrize("kind", [datasets.MNIST, datasets.FashionMNIST])
def test_torchvision_reads_the_same(tmp_path: Path, kind: Any) -> None:
    mnist_files(tmp_path, place=f"{kind.__name__}/raw")
    name: Any = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist"}[kind.__name__]
    ours, theirs, test = load_dataset(name, tmp_path), kind(tmp_path), kind(tmp_path, train=False)
    np.testing.assert_array_equal(ours.images[..., 0], theirs.data.numpy())
    np.testing.assert_array_equal(ours.labels, theirs.targets.numpy())
    np.testing.assert_array_equal(ours.test_images[..., 0], test.data.numpy())
    assert [text.split(" - ")[0] for text in theirs.classes] == list(ours.class_names)


def test_files_of_the_official_size_give_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "TRAIN_COUNT", 200)
    monkeypatch.setattr(idx, "TEST_COUNT", 50)
    mnist_files(tmp_path)
    assert load_dataset("mnist", tmp_path).warnings == ()
    shutil.rmtree(tmp_path / "MNIST")
    mnist_files(tmp_path, test=51)
    assert "sizes [51, 28, 28] in the header; expected [N, 28, 28] with N from 1 to 50" in refused(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (IMAGES, b"", "not an idx file"),
        (IMAGES, b"\x1f\x8b" + bytes(40), "not an idx file"),
        (IMAGES, header(200, 28, 28, kind=13) + bytes(200 * 784), "type 13 with 3 dimensions"),
        (IMAGES, header(200, 784) + bytes(200 * 784), "with 2 dimensions"),
        (IMAGES, header(200, 32, 32) + bytes(200 * 1024), "sizes [200, 32, 32]"),
        (IMAGES, header(2**32 - 1, 28, 28) + bytes(200 * 784), "sizes [4294967295, 28, 28]"),
        (IMAGES, header(0, 28, 28), "sizes [0, 28, 28]"),
        (IMAGES, header(200, 28, 28) + bytes(200 * 784 - 1), "its header asks for"),
        (IMAGES, header(200, 28, 28) + bytes(200 * 784 + 1), "its header asks for"),
        (LABELS, header(199) + bytes(199), "expected [200], one for each image"),
        (LABELS, header(200) + bytes([10] * 200), "label 10 at index 0 is outside 0..9"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    mnist_files(tmp_path)
    (tmp_path / "MNIST/raw" / file).write_bytes(content)
    message = refused(tmp_path)
    assert file in message and said in message


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert "expected the folder" in refused(tmp_path) and "torchvision.datasets.MNIST" in refused(tmp_path)
    mnist_files(tmp_path)
    (tmp_path / "MNIST/raw" / LABELS).unlink()
    assert f"lacks {LABELS};" in refused(tmp_path)


def test_a_packed_file_unpacks_to_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "TRAIN_COUNT", 200)
    mnist_files(tmp_path, packed=True)
    bomb = gzip.compress(header(200) + bytes(2**24))
    (tmp_path / f"MNIST/raw/{LABELS}.gz").write_bytes(bomb)
    assert "unpacks to more than 208 bytes" in refused(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_refused_or_leaves_every_other_byte_as_it_was(
    tmp_path: Path, damaged: Callable[..., list[bytes]], packed: bool
) -> None:
    mnist_files(tmp_path, packed=packed, train=3, test=2)
    whole = load_dataset("mnist", tmp_path)
    for file in idx.FILES:
        path = tmp_path / "MNIST/raw" / f"{file}{'.gz' if packed else ''}"
        content = path.read_bytes()
        for copy in damaged(content, flips=40, cuts=10):
            path.write_bytes(copy)
            try:
                found = load_dataset("mnist", tmp_path)
            except NlkitError as error:
                assert "\n" not in str(error)
                continue
            # No checksum guards a file that is not packed: a byte of content may differ, and then the hash does.
            pairs = ((found.images, whole.images), (found.test_images, whole.test_images))
            pairs += ((found.labels, whole.labels), (found.test_labels, whole.test_labels))
            different = sum(int((one != other).sum()) for one, other in pairs)
            assert different == (0 if packed else 1) and (found.sha256 != whole.sha256) == (different > 0)
        path.write_bytes(content)
