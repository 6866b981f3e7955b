"""Many runs by one command that is killed, loses a job or runs out of time: it goes on, and makes nothing twice."""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import MagicMock, Mock

import pytest
import tiny

from benchmarks import queue
from nlkit import load_params
from nlkit.training import records

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
CONTROL = Path(__file__).parent / "slurm" / "cluster.sh"
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "scancel")
QUEUE = """
- cross_entropy/digits-sym-50: [0]
- elr/digits-sym-50: [0, 1]
"""


class Grid:
    """A copy of the project with parameter files of so many runs, the first `short` of which take no time."""

    def __init__(self, folder: Path, runs: int, short: int) -> None:
        self.tree = tiny.copy_of_project(folder / "tree")
        for number in range(runs):
            text = CELL.format(number=number, epochs=3 if number < short else 60)
            self.params(number).write_text(text, encoding="utf-8")
        self.records = [self.tree / f"runs/cross_entropy/digits-grid-{k}/seed-0/record.json" for k in range(runs)]

    def params(self, number: int) -> Path:
        return self.tree / f"params/cross_entropy/digits-grid-{number}.yaml"

    def said(self, number: int) -> str:
        """The log of a run."""
        return (self.tree / f"runs/logs/cross_entropy-digits-grid-{number}-seed-0.txt").read_text(encoding="utf-8")

    def begun(self) -> list[int]:
        """The runs that have a checkpoint, but no record."""
        found = enumerate(self.records)
        return [k for k, path in found if list(path.parent.glob("checkpoints/epoch-*")) and not path.exists()]

    def begin(self, profile: str, *options: str) -> subprocess.Popen[str]:
        """Start the engine, which is asked for all records."""
        wanted = [str(path.relative_to(self.tree)) for path in self.records]
        command = [sys.executable, "-m", "snakemake", "--profile", profile, "--cores", "2", "--retries", "0", *options]
        where = {"cwd": self.tree, "env": tiny.environment(self.tree), "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, "--", *wanted], stdout=subprocess.DEVNULL, start_new_session=True, **where)


@pytest.mark.slow
def test_a_killed_grid_is_finished_by_the_same_command(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 12, short=4)
    text = grid.params(11).read_text(encoding="utf-8")  # of a run that cannot be made: its labels are missing
    grid.params(11).write_text(text.replace("rate: 0.2", "kind: file\n  file: nowhere.npy"), encoding="utf-8")
    first = grid.begin("profiles/local")
    while sum(map(Path.exists, grid.records)) < 4 or not grid.begun():
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    finished = {path: path.read_bytes() for path in grid.records if path.exists()}
    halves = grid.begun()
    assert 4 <= len(finished) < 11
    marks = (grid.tree / ".snakemake/incomplete").iterdir()
    unknown = [grid.tree / base64.urlsafe_b64decode(mark.name).decode() for mark in marks]
    known = [path for path in finished if path not in unknown]  # Snakemake had yet to note what has just ended
    assert known

    second = grid.begin("profiles/local")
    errors = second.communicate()[1]
    assert second.returncode == 1 and "digits-grid-11" in errors
    assert [path.exists() for path in grid.records] == [True] * 11 + [False]
    assert [path for path in known if path.read_bytes() != finished[path]] == []
    assert halves and all("resumed: " in grid.said(number) for number in halves)
    assert "nowhere.npy" in grid.said(11)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[None]:
    """A SLURM of one machine; where none can be started there is nothing to test."""
    if lacking := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"SLURM is not installed here: {', '.join(lacking)}")
    if os.geteuid() or os.path.lexists("/etc/slurm/slurm.conf") or find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("a SLURM of one's own needs root, no other SLURM, and Snakemake's plugin")
    folder = tmp_path / "slurm"
    folder.mkdir()
    try:
        started = subprocess.run(["bash", str(CONTROL), "start", str(folder)], capture_output=True, text=True)
        if started.returncode:
            pytest.skip(f"SLURM does not start here: {started.stdout[-500:]}{started.stderr[-500:]}")
        yield
    finally:
        subprocess.run(["bash", str(CONTROL), "stop", str(folder)], capture_output=True)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_job_that_slurm_cancels_is_finished_by_the_same_command(tmp_path: Path) -> None:
    grid = Grid(tmp_path, 6, short=2)
    options = ["--latency-wait", "10", "--default-resources", "runtime=60", "mem_mb=1000"]
    options += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
    first = grid.begin("profiles/slurm", *options)
    while not (halves := grid.begun()):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
    logs = grid.tree / f".snakemake/slurm_logs/rule_train/cross_entropy_digits-grid-{halves[0]}_0"
    subprocess.run(["scancel", "--full", *(re.sub(r"\D", "", log.name) for log in logs.iterdir())], check=True)
    first.communicate()
    assert first.returncode == 1
    assert [path.exists() for path in grid.records] == [number != halves[0] for number in range(6)]
    second = grid.begin("profiles/slurm", *options)
    errors = second.communicate()[1]
    assert second.returncode == 0, errors
    assert grid.said(halves[0]).startswith("resumed: ")
    for number in (0, halves[0]):
        words = ["run", str(grid.params(number)), "--out", str(tmp_path / f"local-{number}"), "--quiet"]
        tiny.python(grid.tree, "-m", "nlkit", *words)
        local, distant = records.load(tmp_path / f"local-{number}"), records.load(grid.records[number].parent)
        assert records.differences(local, distant) == []


@pytest.mark.slow
def test_a_call_ends_in_time_and_the_next_one_goes_on(tmp_path: Path) -> None:
    runs, adopted = tmp_path / "runs", tmp_path / "results"
    for paper in ("cross_entropy", "elr"):
        short = {"training.epochs": 80, "training.snapshots": []}
        tiny.in_project(load_params(tiny.ROOT / f"params/{paper}/digits-sym-50.yaml", **short), tmp_path)
    (tmp_path / "queue.yaml").write_text(QUEUE, encoding="utf-8")

    def call(minutes: float) -> str:
        options = ["--minutes", str(minutes), "--more", "60", "--queue", "queue.yaml"]
        return tiny.python(tiny.ROOT, "-m", "benchmarks.queue", *options, folder=tmp_path)

    minutes, stopped = 0.1, list[Path]()
    while not stopped:  # on a slow machine, the first calls may end before the first epoch does
        minutes *= 2
        assert "the next call goes on" in call(minutes), "all was done before a call ended"
        stopped = [one.parent for one in runs.rglob("checkpoints") if list(one.glob("epoch-*"))]
    ended = datetime.now(UTC)
    assert len(stopped) == 1 and not (stopped[0] / "record.json").exists()
    first = {path: path.stat().st_mtime_ns for path in adopted.rglob("*.*")}

    said = call(20)
    assert "finished" in said and "goes on" not in said and call(20) == ""
    assert len(list(adopted.rglob("record.json"))) == 3 and {path.name for path in adopted.rglob("*.*")} == {
        *records.FILES
    }
    assert all(path.stat().st_mtime_ns == when for path, when in first.items())
    resumed = records.load(adopted / stopped[0].relative_to(runs))
    assert datetime.fromisoformat(resumed.info["started"]) < ended


def test_a_run_that_has_failed_is_not_said_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = MagicMock(returncode=2, **{"poll.side_effect": [None, 2, 2]})
    process.__enter__.return_value = process
    monkeypatch.setattr(queue, "subprocess", Mock(Popen=Mock(return_value=process)))
    monkeypatch.setattr(queue, "time", Mock(monotonic=Mock(side_effect=[0, 0, 1e9])))
    monkeypatch.chdir(tiny.ROOT)
    monkeypatch.setattr(queue, "cells", lambda file: [("elr/digits-sym-50", 0)])
    assert queue.main(["--minutes", "9", "--runs", str(tmp_path), "--records", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "elr/digits-sym-50 0: failed with exit status 2\n"
