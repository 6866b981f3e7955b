"""Damaged copies of each kind of file that is read: one line, or a difference that a run notices."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import tiny
import torch
from fuzzing import COUNT, damaged, fuzz, watched
from PIL import Image
from trees import TREES, cifar_folder, human_file, label_file, mnist_files

from nlkit.data import load_dataset
from nlkit.data.dataset import MNIST_FILES
from nlkit.data.files import content_sha256, tensors_sha256
from nlkit.data.listing import read_feature_file, read_feature_rows
from nlkit.data.photos import PhotoSet
from nlkit.data.photos.catalog import load_photos
from nlkit.data.photos.decode import FORMATS, decode_all
from nlkit.data.photos.layouts import LAYOUTS
from nlkit.models.photo import body_weights, weights_sha256
from nlkit.noise import human, read_label_file
from nlkit.training import loop, records, runs

LABELS = np.arange(60) % 10
FEATURES = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)

Read = Callable[[], tuple[Any, str]]
"""Content of a file, comparable, and the fingerprint by which a run would know it."""

counts = pytest.mark.parametrize("count", [60, pytest.param(COUNT, marks=pytest.mark.slow)])


def arrays(*found: np.ndarray) -> tuple[Any, str]:
    return [(array.shape, array.tobytes()) for array in found], content_sha256(found)


def text(*found: Any) -> tuple[Any, str]:
    return json.dumps(found), json.dumps(found)


def labels(path: Path) -> Read:
    label_file(path, LABELS.tolist())
    return lambda: arrays(read_label_file(path, 60, 10))


def features(path: Path) -> Read:
    np.save(path, FEATURES) if path.suffix == ".npy" else np.savez(path, FEATURES)
    return lambda: arrays(read_feature_file(path))


def feature_rows(path: Path) -> Read:
    table = {"path": [f"{i}.png" for i in range(20)], "label": ["a", "b"] * 10, "x": np.arange(20.0), "y": np.ones(20)}
    pd.DataFrame(table).to_parquet(path)

    def read() -> tuple[Any, str]:
        rows = read_feature_rows(path, None, None)
        return text(rows.names, rows.labels, rows.features.tolist())

    return read


def people(path: Path) -> Read:
    human_file(path.parent, "cifar10n", LABELS, path.suffix)
    return lambda: arrays(*dict(sorted(human.read_human_file("cifar10n", path, LABELS).items())).values())


def weights(path: Path) -> Read:
    own = {"conv.weight": torch.randn(4, 3), "bn.running_mean": torch.randn(4)}
    torch.save(own, path) if path.suffix == ".pth" else safetensors.torch.save_file(own, path)
    return lambda: (tensors_sha256(body_weights("tiny", str(path), own)), weights_sha256(str(path)))


def whole_set(path: Path) -> Read:
    name, root = ("mnist", path.parents[2]) if "MNIST" in path.parts else ("cifar10", path.parents[1])
    if name == "mnist":
        mnist_files(root, packed=path.suffix == ".gz")
    else:
        cifar_folder(root, protocol=int(root.name))

    def read() -> tuple[Any, str]:
        found = load_dataset(name, root)
        return arrays(found.images, found.labels)[0], found.sha256

    return read


FILES: dict[str, tuple[Callable[[Path], Read], float]] = {
    **{f"labels{ending}": (labels, 0.4) for ending in (".npy", ".npz", ".json")},
    **{f"features{ending}": (features, 0.3) for ending in (".npy", ".npz")},
    "features.parquet": (feature_rows, 0.4),
    "cifar10n.npz": (people, 0.4),
    "CIFAR-10_human.pt": (people, 0.4),
    **{f"{protocol}/cifar-10-batches-py/data_batch_1": (whole_set, 0.2) for protocol in (0, 2, 4)},
    **{f"MNIST/raw/{file}{ending}": (whole_set, 0.0) for file in MNIST_FILES[:2] for ending in ("", ".gz")},
    **{f"weights{ending}": (weights, 0.0) for ending in (".safetensors", ".pth")},
}
"""Name of each file, what writes and reads it, and the share of damaged copies that must be refused."""


@counts
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_or_seen(tmp_path: Path, small_cifar: None, name: str, count: int) -> None:
    prepare, least = FILES[name]
    assert fuzz(tmp_path / name, prepare(tmp_path / name), count=count) >= least * count


LISTS = [(name, place) for name in TREES if name != "animal10n" for place in range(len(LAYOUTS[name].files))]


@pytest.mark.parametrize("count", [30, pytest.param(COUNT, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "place"), LISTS)
def test_damaged_lists_are_refused_or_harm_only_what_was_hit(tmp_path: Path, name: str, place: int, count: int) -> None:
    TREES[name](tmp_path)
    whole = load_photos(name, tmp_path)

    def read() -> tuple[Any, str]:
        found = load_photos(name, tmp_path)
        check_alike(found, whole)
        listed = {part: [list(one.names), one.labels.tolist()] for part, one in found.parts.items()}
        return text(listed, found.class_names)

    assert fuzz(LAYOUTS[name].needed(tmp_path)[place], read, count=count) >= count / 5


def check_alike(found: PhotoSet, whole: PhotoSet) -> None:
    """No image that a damaged list names has another's label, and a lost row is noted."""
    assert list(found.parts) == list(whole.parts) and len(found.class_names) == len(whole.class_names)
    others = 0
    for part, images in found.parts.items():
        before = dict(zip(whole.parts[part].names, whole.parts[part].labels, strict=True))
        for image, label in zip(images.names, images.labels, strict=True):
            assert 0 <= label < len(whole.class_names) and ".." not in image.split("/")
            others += before.get(image, label) != label
        assert len(images) == len(before) or f"{part} {len(images)} of " in found.notes[0]
    assert others <= 4  # a digit of each label that was hit may have become another


@counts
@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_image_has_a_reason_or_the_right_shape(tmp_path: Path, kind: str, count: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    whole, paths = io.BytesIO(), [tmp_path / f"{number}.any" for number in range(count)]
    Image.fromarray(pixels).save(whole, kind)
    for path, copy in zip(paths, damaged(whole.getvalue(), count=count), strict=True):
        path.write_bytes(copy)
    with watched():
        images, faults = decode_all(paths, 16, progress=False)
    assert images.dtype == np.uint8 and images.shape[:3] == (count, 16, 16)
    assert not images[list(faults)].any()
    assert len(faults) > count / 5 and all(why and "\n" not in why for why in faults.values())


@counts
@pytest.mark.parametrize("name", ["record.json", "epochs.parquet", "samples.parquet"])
def test_damaged_records_are_refused(tmp_path: Path, name: str, count: int) -> None:
    params = tiny.params("cross_entropy", **{"training.epochs": 1})
    record = runs.train(tiny.problem(), params, tmp_path / "run", tmp_path, progress=False).folder

    def read() -> tuple[Any, str]:
        found = records.load(record)
        return json.dumps([found.info, found.epochs.to_json(), found.samples.to_json()]), found.info.get("sha256", "")

    assert fuzz(record / name, read, sealed=True, count=count) > 0.8 * count


@counts
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, count: int) -> None:
    tensors = {"weight": torch.randn(6, 4), "count": torch.arange(3)}
    loop.save_checkpoint(tmp_path, 1, tensors, {"rows": [1, 2, 3]})
    loop.save_checkpoint(tmp_path, 2, {name: value + 1 for name, value in tensors.items()}, {"rows": [1, 2, 3, 4]})
    path, reasons = tmp_path / "epoch-00002.safetensors", list[str]()
    for copy in [*damaged(path.read_bytes(), count=count), b""]:
        path.write_bytes(copy)
        with watched():
            found, info, notes = loop.load_latest(tmp_path)
        assert torch.equal(found["weight"], tensors["weight"] + (len(info["rows"]) - 3))
        assert len(notes) == (len(info["rows"]) == 3)
        reasons += notes
    assert all(path.name in one and "\n" not in one for one in reasons) and any("checksum" in one for one in reasons)
