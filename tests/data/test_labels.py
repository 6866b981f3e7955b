from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlkit.data import read_label_file
from nlkit.errors import NlkitError

LABELS = [3, 0, 9, 1, 1]


def write(path: Path, values: Any, **more: Any) -> Path:
    if path.suffix == ".json":
        path.write_text(values if isinstance(values, str) else json.dumps(values))
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        np.savez(path, labels=values, **more)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint64", ">i4"])
@pytest.mark.parametrize("ending", [".npy", ".npz", ".NPY"])
def test_integer_arrays(tmp_path: Path, ending: str, dtype: str) -> None:
    path = tmp_path / f"noisy{ending}"
    with path.open("wb") as file:
        array = np.array(LABELS, dtype)
        np.savez(file, anything=array) if ending == ".npz" else np.save(file, array)
    labels = read_label_file(path, 5, 10)
    assert labels.dtype == np.int64 and labels.tolist() == LABELS


def test_json_list(tmp_path: Path) -> None:
    labels = read_label_file(write(tmp_path / "0.5_sym.json", LABELS), 5, 10)
    assert labels.dtype == np.int64 and labels.tolist() == LABELS


def test_the_key_labels_wins_in_an_npz(tmp_path: Path) -> None:
    path = write(tmp_path / "noisy.npz", np.array(LABELS), clean=np.zeros(5, int))
    assert read_label_file(path, 5, 10).tolist() == LABELS
    np.savez(path, a=np.array(LABELS), b=np.array(LABELS))
    with pytest.raises(NlkitError, match=r"noisy\.npz: holds 2 arrays; expected one"):
        read_label_file(path, 5, 10)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json"])
@pytest.mark.parametrize("count", [0, 4, 6, 50_000])
def test_another_length(tmp_path: Path, ending: str, count: int) -> None:
    path = write(tmp_path / f"noisy{ending}", LABELS)
    with pytest.raises(NlkitError, match=rf"labels of shape \[5\]; expected \[{count}\]"):
        read_label_file(path, count, 10)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json"])
@pytest.mark.parametrize("wrong", [[0, 1, 9], [-1, 0, 1]])
def test_labels_out_of_range(tmp_path: Path, ending: str, wrong: list[int]) -> None:
    path = write(tmp_path / f"noisy{ending}", wrong)
    with pytest.raises(NlkitError, match=r"is outside 0\.\.8 \(1 of 3 labels are\)"):
        read_label_file(path, 3, 9)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json"])
@pytest.mark.parametrize("wrong", [[0.0, 1.0], [True, False], ["0", "1"], [[0], [1]]])
def test_anything_but_a_row_of_integers(tmp_path: Path, ending: str, wrong: list[Any]) -> None:
    with pytest.raises(NlkitError, match=f"noisy{ending}"):
        read_label_file(write(tmp_path / f"noisy{ending}", wrong), 2, 10)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[0, 1",
        '{"0": 1}',
        "3",
        "null",
        "[0, NaN]",
        "[0, null]",
        f"[0, {10**30}]",
        "[" * 100_000,
        f"[0, {'9' * 9999}]",
        "\ud800",
    ],
)
def test_foreign_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "noisy.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(NlkitError, match=r"noisy\.json: "):
        read_label_file(path, 2, 10)


@pytest.mark.parametrize("name", ["noisy", "noisy.pt", "noisy.csv", "noisy.pkl"])
def test_other_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(NlkitError, match=r"a label file is \.npy, \.npz or \.json"):
        read_label_file(tmp_path / name, 2, 10)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json"])
def test_missing_file(tmp_path: Path, ending: str) -> None:
    with pytest.raises(NlkitError, match="no such file"):
        read_label_file(tmp_path / f"noisy{ending}", 2, 10)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".json"])
def test_damaged_files(tmp_path: Path, ending: str, damaged: Callable[..., list[bytes]]) -> None:
    path = write(tmp_path / f"noisy{ending}", LABELS)
    for copy in damaged(path.read_bytes()):
        path.write_bytes(copy)
        try:
            labels = read_label_file(path, 5, 10)
            assert labels.shape == (5,) and labels.min() >= 0 and labels.max() < 10
        except NlkitError as error:
            assert "\n" not in str(error) and str(path) in str(error)
