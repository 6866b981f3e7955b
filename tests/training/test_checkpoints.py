import resource
from pathlib import Path

import torch
from processes import FORK
from torch import Tensor

from nlkit.data.files import read_tensors, write_tensors
from nlkit.training.loop import checkpoints, load_latest, save_checkpoint

ROWS = [{"epoch": 1, "loss": 0.1 + 0.2, "auc": None, "tiny": 1e-310, "large": [2**60, float("inf")]}]
INFO = {"identity": {"params": "a"}, "rows": ROWS, "events": ["naïve"]}


def tensors() -> dict[str, Tensor]:
    return {"weight": torch.ones(3, 5), "steps": torch.tensor([7])}


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
    save_checkpoint(tmp_path, 1, stored, INFO)
    found, info, notes = load_latest(tmp_path)
    assert info == INFO and notes == []
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, equal_nan=True)
        assert found[name].dtype == value.dtype


def test_the_last_two_are_kept_and_one_just_written_outlives_those_of_later_epochs(tmp_path: Path) -> None:
    for epoch in range(1, 12):
        save_checkpoint(tmp_path, epoch, tensors(), INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-00010.safetensors", "epoch-00011.safetensors"]
    save_checkpoint(tmp_path, 1, tensors(), INFO)
    assert "epoch-00001.safetensors" in [path.name for path in checkpoints(tmp_path)]


def test_what_is_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "missing") == load_latest(tmp_path) == ({}, {}, [])
    save_checkpoint(tmp_path, 2, tensors(), {"epoch": 2})
    (tmp_path / ".epoch-00003.safetensors.writing").write_bytes(b"half")
    (tmp_path / "epoch-00003.safetensors").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    _, info, notes = load_latest(tmp_path)
    assert info["epoch"] == 2 and notes == []


def test_a_large_file_is_in_memory_once(tmp_path: Path) -> None:
    path, size = tmp_path / "model.safetensors", 2**28
    write_tensors(path, {"weights": torch.zeros(size, dtype=torch.uint8)}, INFO)
    found = FORK.RawValue("q")

    def read() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read_tensors(path)
        found.value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    process = FORK.Process(target=read)
    process.start()
    process.join()
    assert process.exitcode == 0 and size // 2 < found.value * 1024 < 1.5 * size
