"""Data sets in memory: read as they were written, refused where they are wrong, and found by status and verify."""

import gzip
import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import refused
from torchvision import datasets as official_sets
from trees import cifar_folder, mnist_files

from nlkit.data import cifar, data_root, dataset, load_dataset, status, verify

IMAGES, LABELS = dataset.MNIST_FILES[:2]


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLKIT_DATA", "/elsewhere")
    assert data_root("here") == data_root(Path("here")) == Path("here")
    assert data_root(None) == Path("/elsewhere")
    monkeypatch.setenv("NLKIT_DATA", "")
    assert data_root(None) == Path("data")


def test_status_and_verify_follow_the_files(tmp_path: Path, small_cifar: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"cifar10": cifar_folder(tmp_path) / "data_batch_1", "mnist": tmp_path / "MNIST/raw" / IMAGES}
    mnist_files(tmp_path)
    assert verify("digits", tmp_path).startswith("digits: 1347 training and 450 test images, 10 classes, sha256 446ec")
    said = verify("cifar10", tmp_path)
    assert said.startswith("cifar10: 50 training and 10 test images, 10 classes, sha256 ")
    assert "content differs from the official archive in 7 of 7 files" in said and "instead of" in said
    assert verify("mnist", tmp_path).endswith("; 200 training and 50 test images instead of 60000 and 10000")
    monkeypatch.setattr(dataset, "MNIST_COUNTS", {"train": 200, "t10k": 50})
    assert verify("mnist", tmp_path).endswith("; as published") and load_dataset("mnist", tmp_path).warnings == ()
    for name, path in first.items():
        for content, state in ((path.read_bytes(), "present"), (b"nonsense", "corrupt"), (None, "incomplete")):
            path.unlink() if content is None else path.write_bytes(content)
            assert {row.name: row.state for row in status(tmp_path)}[name] == state


def test_digits_have_the_images_and_the_split_that_records_were_made_with() -> None:
    dataset = load_dataset("digits", Path("unused"))
    assert dataset.images.dtype == np.uint8 and dataset.labels.dtype == dataset.test_labels.dtype == np.int64
    assert np.isclose(dataset.images.mean() / 255, dataset.mean[0], atol=1e-4)
    assert np.isclose(dataset.images.std() / 255, dataset.std[0], atol=1e-4)
    assert dataset.class_names == tuple("0123456789") and dataset.warnings == ()
    assert dataset.sha256 == "446ecec4af74bd114b3af36b0675aa5c41c6c02cea2dbdfd78e591699a6aac54"


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_has_batches_of_channel_major_rows(tmp_path: Path, small_cifar: None, name: Any, protocol: int) -> None:
    folder, layout = cifar_folder(tmp_path, name, protocol), cifar.LAYOUTS[name]
    dataset = load_dataset(name, tmp_path)
    assert dataset.name == name and len(dataset.mean) == len(dataset.std) == 3
    assert len(dataset.class_names) == layout.classes
    *train_files, test_file, _ = layout.files
    tested = dataset.test_images, dataset.test_labels, [test_file]
    for images, labels, files in ((dataset.images, dataset.labels, train_files), tested):
        batches = [pickle.loads((folder / file).read_bytes()) for file in files]
        rows = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        np.testing.assert_array_equal(images, np.moveaxis(rows, 1, 3))
        assert labels.tolist() == [label for batch in batches for label in batch[layout.label_key]]


def test_official_sums_are_those_published(tmp_path: Path, small_cifar: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in (("cifar10", official_sets.CIFAR10), ("cifar100", official_sets.CIFAR100)):
        sums = {**dict(kind.train_list + kind.test_list), kind.meta["filename"]: kind.meta["md5"]}
        assert cifar.LAYOUTS[name].files == sums and cifar.LAYOUTS[name].md5 == kind.tgz_md5
    folder = cifar_folder(tmp_path)
    assert len(load_dataset("cifar10", tmp_path).warnings) == 1
    for file in folder.iterdir():
        own = hashlib.md5(file.read_bytes()).hexdigest()
        monkeypatch.setitem(cifar.LAYOUTS["cifar10"].files, file.name, own)  # type: ignore[arg-type]
    assert load_dataset("cifar10", tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("data_batch_2", {"data": ...}, "key 'data' is missing"),
        ("data_batch_2", {"data": [1, 2]}, "'data' is a list; expected uint8 [10, 3072]"),
        ("data_batch_2", {"data": np.zeros((9, 3072), np.uint8)}, "uint8 [9, 3072]; expected"),
        ("data_batch_2", {"labels": ...}, "key 'labels' is missing"),
        ("data_batch_2", {"labels": [0] * 9 + [10]}, "label 10 at index 9 is outside 0..9"),
        *(("batches.meta", {"label_names": one}, "label_names") for one in (["a"] * 9, "abcdefghij", [1] * 10, ...)),
    ],
)  # fmt: skip
def test_wrong_cifar_is_refused(tmp_path: Path, small_cifar: None, file: str, changes: Any, message: str) -> None:
    path = cifar_folder(tmp_path) / file
    batch = pickle.loads(path.read_bytes()) | changes
    path.write_bytes(pickle.dumps({key: value for key, value in batch.items() if value is not ...}, protocol=2))
    said = refused(lambda: load_dataset("cifar10", tmp_path))
    assert file in said and message in said


@pytest.mark.parametrize(("name", "place"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_as_torchvision_reads_them(tmp_path: Path, name: Any, place: str, packed: bool) -> None:
    arrays = mnist_files(tmp_path, place=f"{place}/raw", packed=packed)
    one = load_dataset(name, tmp_path)
    found = (one.images[..., 0], one.labels, one.test_images[..., 0], one.test_labels)
    for file, array in zip(dataset.MNIST_FILES, found, strict=True):
        np.testing.assert_array_equal(array, arrays[file])
    assert one.images.dtype == np.uint8 and one.labels.dtype == np.int64 and one.images.flags.writeable
    if not packed:
        theirs = getattr(official_sets, place)(tmp_path)
        np.testing.assert_array_equal(one.images[..., 0], theirs.data.numpy())
        np.testing.assert_array_equal(one.labels, theirs.targets.numpy())
        assert [text.split(" - ")[0] for text in theirs.classes] == list(one.class_names)


def header(*sizes: int, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(sizes))) + np.array(sizes, ">u4").tobytes()


PIXELS = bytes(200 * 784)
NO_IDX = [b"", b"\x1f\x8b" + bytes(40), header(0, 28, 28), header(2**32 - 1, 28, 28) + PIXELS]
NO_IDX += [header(200, 28, 28, kind=13) + PIXELS, header(200, 784) + PIXELS]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        *((IMAGES, one, "not an idx file of unsigned bytes [N, 28, 28] with N from 1 to 60000") for one in NO_IDX),
        (IMAGES, header(200, 28, 28) + PIXELS[1:], "its header says"),
        (IMAGES, header(200, 28, 28) + PIXELS + b"\0", "its header says"),
        (LABELS, header(199) + bytes(199), "expected [200], one for each image"),
        (f"{LABELS}.gz", gzip.compress(bytes(2**24)), "its header says"),
        (f"{LABELS}.gz", gzip.compress(header(200) + bytes(200))[:-6], "not a readable gzip file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",  # a compressed one holds the time
)
def test_idx_files_that_do_not_fit_are_refused(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    mnist_files(tmp_path, packed=file.endswith(".gz"))
    (tmp_path / "MNIST/raw" / file).write_bytes(content)
    message = refused(lambda: load_dataset("mnist", tmp_path))
    assert file in message and said in message
