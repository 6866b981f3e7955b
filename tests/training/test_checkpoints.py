from pathlib import Path

import pytest
import torch
from torch import Tensor

from nlkit.training import checkpoints
from nlkit.training.checkpoints import load_latest

ROWS = [{"epoch": 1, "loss": 0.1 + 0.2, "auc": None, "tiny": 1e-310, "large": [2**60, float("inf")]}]
INFO = {"identity": {"params": "a"}, "rows": ROWS, "events": ["naïve"]}


def tensors(value: float = 1.0) -> dict[str, Tensor]:
    return {"weight": torch.full((3, 5), value), "steps": torch.tensor([7]), "loss": torch.tensor([value]).double()}


def write_two(folder: Path) -> tuple[Path, Path]:
    for epoch in (1, 2):
        checkpoints.save(folder, epoch, tensors(float(epoch)), {**INFO, "epoch": epoch})
    older, newer = checkpoints.checkpoints(folder)
    return older, newer


def test_tensors_and_info_come_back_as_they_were(tmp_path: Path) -> None:
    stored = {
        "odd": torch.randn(7, 3)[:, 1:],
        "channels_last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "empty": torch.zeros(2, 0, 5, dtype=torch.float64),
        "scalar": torch.tensor(3),
        "mask": torch.tensor([True, False]),
        "half": torch.randn(3).bfloat16(),
        "not_finite": torch.tensor([float("inf"), float("-inf"), float("nan")]),
    }
    checkpoints.save(tmp_path, 1, stored, INFO)
    found, info, notes = load_latest(tmp_path)
    assert info == INFO and notes == []
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)
        assert found[name].dtype == value.dtype


def test_the_last_two_are_kept_and_nothing_else(tmp_path: Path) -> None:
    for epoch in range(1, 12):
        checkpoints.save(tmp_path, epoch, tensors(), INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-00010.safetensors", "epoch-00011.safetensors"]


def test_a_checkpoint_just_written_outlives_those_of_later_epochs(tmp_path: Path) -> None:
    for epoch in (8, 9, 1):
        checkpoints.save(tmp_path, epoch, tensors(), {"epoch": epoch})
    assert "epoch-00001.safetensors" in [path.name for path in checkpoints.checkpoints(tmp_path)]


def test_what_is_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "missing") == load_latest(tmp_path) == ({}, {}, [])
    write_two(tmp_path)
    (tmp_path / ".epoch-00003.safetensors.writing").write_bytes(b"half")
    (tmp_path / "epoch-00003.safetensors").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    _, info, notes = load_latest(tmp_path)
    assert info["epoch"] == 2 and notes == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99, "a flipped byte"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, share: float | str) -> None:
    _, newer = write_two(tmp_path)
    content = bytearray(newer.read_bytes())
    content[-3] ^= 0xFF
    newer.write_bytes(content[: int(share * len(content))] if isinstance(share, float) else content)
    found, info, notes = load_latest(tmp_path)
    assert info["epoch"] == 1 and found["weight"].unique().tolist() == [1.0]
    assert len(notes) == 1 and newer.name in notes[0] and "\n" not in notes[0]
    assert ("checksum" in notes[0]) == isinstance(share, str)
