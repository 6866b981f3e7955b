"""Five hundred damaged copies of each kind of file that is read: one line, or a difference that a run notices."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from fuzzing import COUNT, damaged, fuzz, watched
from PIL import Image
from trees import clothing1m_tree, food101n_tree, mnist_files, webvision_tree

import nlkit
from nlkit.data import cifar, human, idx, load_dataset, load_photos, read_feature_file, read_label_file
from nlkit.data.dataset import content_sha256
from nlkit.data.decode import FORMATS, decode_all
from nlkit.data.feature_table import read_feature_rows
from nlkit.data.listing import read_listing
from nlkit.data.photo_list import PhotoList
from nlkit.data.store import read as stored_bytes
from nlkit.data.store_build import build
from nlkit.errors import NlkitError
from nlkit.models.weights import body_weights, weights_sha256
from nlkit.params.files import read_tree
from nlkit.training import checkpoints, records

LABELS = np.arange(60) % 10


def arrays(*found: np.ndarray) -> tuple[Any, str]:
    return [(array.shape, array.tobytes()) for array in found], content_sha256(found)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json"])
def test_files_of_labels(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"labels{ending}"
    if ending == ".npz":
        np.savez(path, labels=LABELS)
    elif ending == ".npy":
        np.save(path, LABELS)
    else:
        path.write_text(json.dumps(LABELS.tolist()))
    outcome = fuzz(path, lambda: arrays(read_label_file(path, 60, 10)))
    assert outcome["refused"] > 200


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_files_of_features(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"features{ending}"
    features = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    (np.save if ending == ".npy" else np.savez)(path, features)
    assert fuzz(path, lambda: arrays(read_feature_file(path)))["refused"] > 150


def test_tables_of_features(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    table = {"path": [f"{i}.png" for i in range(20)], "label": ["a", "b"] * 10, "x": np.arange(20.0), "y": np.ones(20)}
    pd.DataFrame(table).to_parquet(path)

    def read() -> tuple[Any, str]:
        rows = read_feature_rows(path, None, None)
        text = json.dumps([rows.names, rows.labels, rows.features.tolist()])
        return text, text

    assert fuzz(path, read)["refused"] > 200


def test_tables_of_paths_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n" + "".join(f"images/photo {i}.png,größe {i % 3}\n" for i in range(40)))

    def read() -> tuple[Any, str]:
        found = read_listing(tmp_path, path).entries
        text = json.dumps([(entry.name, entry.label) for entry in found])
        return text, text

    assert fuzz(path, read)["refused"] > 50


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_of_cifar(tmp_path: Path, write_cifar: Callable[..., Path], protocol: int) -> None:
    path = write_cifar(tmp_path, protocol=protocol) / "data_batch_1"

    def read() -> tuple[Any, str]:
        found = cifar.load_cifar("cifar10", tmp_path)
        return arrays(found.images, found.labels)[0], found.sha256

    assert fuzz(path, read)["refused"] > 100


@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_human_labels(tmp_path: Path, write_human: Callable[..., Path], ending: str) -> None:
    path = write_human(tmp_path, "cifar10n", LABELS, ending)

    def read() -> tuple[Any, str]:
        found = human.read_human_file("cifar10n", path, LABELS)
        return arrays(*(found[name] for name in sorted(found)))

    assert fuzz(path, read)["refused"] > 200


EXPLOITS = [
    b"cos\nsystem\n(S'touch ran'\ntR.",
    b"cposix\nsystem\n(S'touch ran'\ntR.",
    b'c__builtin__\neval\n(S\'open("ran","w")\'\ntR.',
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\ttouch ran\x85R.",
]


@pytest.mark.parametrize("exploit", EXPLOITS)
def test_code_that_is_planted_in_a_pickle_does_not_run(
    tmp_path: Path, write_human: Callable[..., Path], exploit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_human(tmp_path, "cifar10n", LABELS, ".pt")
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("archive/data.pkl")
    for place in range(0, len(pickled), max(1, len(pickled) // 125)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled[:place] + exploit + pickled[place:])
        with watched(), pytest.raises(NlkitError, match=r"CIFAR-10_human\.pt"):
            human.read_human_file("cifar10n", path, LABELS)
    assert not (tmp_path / "ran").exists()


def test_parameter_files(tmp_path: Path) -> None:
    path = tmp_path / "digits-sym-50.yaml"
    path.write_text(yaml.safe_dump(read_tree(Path(__file__).parents[2] / "params/dividemix/digits-sym-50.yaml")))

    def read() -> tuple[Any, str]:
        params = nlkit.load_params(path)
        return params, params.digest

    assert fuzz(path, read)["refused"] > 150


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", idx.FILES[:2])
def test_idx_files(tmp_path: Path, name: str, packed: bool) -> None:
    mnist_files(tmp_path, packed=packed)

    def read() -> tuple[Any, str]:
        found = load_dataset("mnist", tmp_path)
        return arrays(found.images, found.labels)[0], found.sha256

    fuzz(next((tmp_path / "MNIST/raw").glob(f"{name}*")), read)


LISTS = {
    "webvision": ["info/train_filelist_google.txt", "info/val_filelist.txt", "info/synsets.txt"],
    "food-101n": ["meta/classes.txt", "meta/imagelist.tsv", "../food-101/meta/test.txt"],
    "clothing1m": ["noisy_train_key_list.txt", "clean_val_key_list.txt", "noisy_label_kv.txt", "clean_label_kv.txt"],
}
TREES: dict[str, Any] = {"webvision": webvision_tree, "food-101n": food101n_tree, "clothing1m": clothing1m_tree}


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in LISTS.items() for name in names])
def test_lists_of_photographs(tmp_path: Path, folder: str, name: str) -> None:
    TREES[folder](tmp_path)

    def read() -> tuple[Any, str]:
        found = load_photos(folder.replace("-", ""), tmp_path)
        parts = {"train": found.train, **found.tests}
        listed = {part: [list(one.names), one.labels.tolist()] for part, one in parts.items()}
        text = json.dumps([listed, found.class_names])
        return text, text

    assert fuzz(tmp_path / folder / name, read)["refused"] > 100


@pytest.mark.parametrize("file", ["*.json", "*/index.safetensors"])
def test_files_of_an_image_store(tmp_path: Path, file: str) -> None:
    rng = np.random.default_rng(0)
    names = [f"{i}.png" for i in range(4)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(tmp_path / name)
    photos, folder = PhotoList(tmp_path, names, np.zeros(4, np.int64)), tmp_path / "stores"

    def read() -> tuple[Any, str]:
        store = build(photos, 8, folder, "fail", progress=False)
        return stored_bytes(store, np.arange(4))[0].tobytes(), store.sha256

    read()
    assert fuzz(next(folder.glob(file)), read, sealed=True)["same"] == COUNT  # what is damaged is made anew


@pytest.mark.parametrize("kind", FORMATS)
def test_images(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, kind)
    path = tmp_path / "image.any"
    path.write_bytes(whole.getvalue())
    faults = []
    for copy in damaged(whole.getvalue()):
        path.write_bytes(copy)
        with watched():
            decoded = decode_all([path], 16, progress=False)
        assert decoded.images.dtype == np.uint8 and decoded.images.shape[:3] == (1, 16, 16)
        if decoded.faults:
            assert not decoded.images.any()
            faults.append(decoded.faults[0])
    assert len(faults) > 100 and all(fault and "\n" not in fault for fault in faults)


@pytest.fixture
def record(tmp_path: Path, tiny_params: Callable[..., Any], tiny_problem: Callable[..., Any]) -> Path:
    from nlkit.training.runs import train

    params = tiny_params("cross_entropy", **{"training.epochs": 1})
    return train(tiny_problem(), params, tmp_path / "run", tmp_path, progress=False).folder


@pytest.mark.parametrize("name", ["record.json", "epochs.parquet", "samples.parquet"])
def test_run_records(record: Path, name: str) -> None:
    def read() -> tuple[Any, str]:
        found = records.load(record)
        tables = (found.epochs.to_json(), found.samples.to_json())
        return json.dumps([found.info, *tables]), found.info.get("sha256", "")

    outcome = fuzz(record / name, read, sealed=True)
    assert outcome["refused"] > 400


def test_checkpoints(tmp_path: Path) -> None:
    tensors = {"weight": torch.randn(6, 4), "count": torch.arange(3)}
    checkpoints.save(tmp_path, 1, tensors, {"rows": [1, 2, 3]})
    checkpoints.save(tmp_path, 2, {name: value + 1 for name, value in tensors.items()}, {"rows": [1, 2, 3, 4]})
    path = tmp_path / "epoch-00002.safetensors"
    good = path.read_bytes()
    for copy in damaged(good):
        path.write_bytes(copy)
        with watched():
            found = checkpoints.load_latest(tmp_path)
        assert found is not None
        rows = found[1]["rows"]
        assert torch.equal(found[0]["weight"], tensors["weight"] + (len(rows) - 3))
        assert (len(rows) == 3) == bool(found[2])


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_files_of_weights(tmp_path: Path, ending: str) -> None:
    import safetensors.torch

    path = tmp_path / f"weights{ending}"
    own = {"conv.weight": torch.randn(4, 3), "bn.running_mean": torch.randn(4)}
    if ending == ".pth":
        torch.save(own, path)
    else:
        safetensors.torch.save_file(own, path)

    def read() -> tuple[Any, str]:
        found = body_weights("tiny", str(path), own)
        return [(name, found[name].numpy().tobytes()) for name in sorted(found)], weights_sha256(str(path))

    fuzz(path, read)
