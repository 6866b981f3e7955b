"""A grid of runs whose engine and jobs are killed: the same command finishes it, and makes nothing twice."""

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

CELL = """paper: cross_entropy
cell: digits-grid-{number}
base: bases/cross_entropy/digits

noise:
  rate: 0.2
data:                    # ours: short
  train_size: 256
training:
  epochs: {epochs}
  snapshots: []
"""
RUNS = 12
"""Runs, of which the last cannot be made: its labels are missing."""


def write_cells(tree: Path, count: int, short: int) -> list[Path]:
    """Write parameter files of so many runs, the first `short` of which take no time; the folders of their records."""
    for number in range(count):
        text = CELL.format(number=number, epochs=3 if number < short else 60)
        (tree / f"params/cross_entropy/digits-grid-{number}.yaml").write_text(text, encoding="utf-8")
    return [tree / f"runs/cross_entropy/digits-grid-{number}/seed-0" for number in range(count)]


def begun(folders: list[Path]) -> list[int]:
    """The runs that have a checkpoint, but no record."""
    found = enumerate(folders)
    return [i for i, run in found if list(run.glob("checkpoints/epoch-*")) and not (run / "record.json").exists()]


@pytest.mark.slow
def test_a_killed_grid_is_finished_by_the_same_command(tmp_path: Path) -> None:
    tree = tiny.copy_of_project(tmp_path / "tree")
    folders = write_cells(tree, RUNS, short=4)
    last = tree / f"params/cross_entropy/digits-grid-{RUNS - 1}.yaml"
    text = last.read_text(encoding="utf-8")
    last.write_text(text.replace("rate: 0.2", "kind: file\n  file: nowhere.npy"), encoding="utf-8")
    wanted = [str((folder / "record.json").relative_to(tree)) for folder in folders]
    profile = ["--profile", "profiles/local", "--cores", "2", "--retries", "0"]
    command = [sys.executable, "-m", "snakemake", *profile, "--", *wanted]

    def begin() -> subprocess.Popen[str]:
        where = {"cwd": tree, "env": tiny.environment(tree), "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, **where)

    first = begin()
    while sum((tree / name).exists() for name in wanted) < 4 or not begun(folders):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    finished = {name: (tree / name).read_bytes() for name in wanted if (tree / name).exists()}
    halves = begun(folders)
    assert 4 <= len(finished) < RUNS - 1
    unknown = [base64.urlsafe_b64decode(mark.name).decode() for mark in (tree / ".snakemake/incomplete").iterdir()]
    known = [name for name in finished if name not in unknown]  # Snakemake had yet to note what has just ended
    assert known

    second = begin()
    errors = second.communicate()[1]
    assert second.returncode == 1 and "digits-grid-11" in errors
    assert [(tree / name).exists() for name in wanted] == [True] * (RUNS - 1) + [False]
    assert [name for name in known if (tree / name).read_bytes() != finished[name]] == []
    logs = [tree / f"runs/logs/cross_entropy-digits-grid-{number}-seed-0.txt" for number in range(RUNS)]
    assert halves and all("resumed: " in logs[number].read_text(encoding="utf-8") for number in halves)
    assert "nowhere.npy" in logs[-1].read_text(encoding="utf-8")
