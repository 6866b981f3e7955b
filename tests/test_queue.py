"""The queue of the most valuable runs: it ends in time, leaves whole records, and goes on in the next call."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nlkit.training import records

ROOT = Path(__file__).parents[1]
QUEUE = """
- cross_entropy/digits-sym-50: [0]
- elr/digits-sym-50: [0, 1]
"""
FILES = {"record.json", "epochs.parquet", "samples.parquet"}


@pytest.mark.slow
def test_a_call_ends_in_time_and_the_next_one_goes_on(tmp_path: Path) -> None:
    runs, adopted, queue = tmp_path / "runs", tmp_path / "results", tmp_path / "queue.yaml"
    queue.write_text(QUEUE, encoding="utf-8")

    def call(minutes: float) -> str:
        folders = ["--runs", str(runs), "--records", str(adopted), "--queue", str(queue)]
        short = ["--more", "60", "-s", "training.epochs=80", "-s", "training.snapshots=[]"]
        command = [sys.executable, "-m", "benchmarks.queue", "--minutes", str(minutes), *short, *folders]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

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
    assert len(list(adopted.rglob("record.json"))) == 3 and {path.name for path in adopted.rglob("*.*")} == FILES
    assert all(path.stat().st_mtime_ns == when for path, when in first.items())
    resumed = records.load(adopted / stopped[0].relative_to(runs))
    assert datetime.fromisoformat(resumed.info["started"]) < ended
