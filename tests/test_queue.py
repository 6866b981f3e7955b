"""The queue of the most valuable runs: it ends in time, leaves whole records, and goes on in the next call."""

from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock, Mock

import pytest
import tiny

from benchmarks import queue
from nlkit import load_params
from nlkit.training import records

QUEUE = """
- cross_entropy/digits-sym-50: [0]
- elr/digits-sym-50: [0, 1]
"""
FILES = {"record.json", "epochs.parquet", "samples.parquet"}


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
    assert len(list(adopted.rglob("record.json"))) == 3 and {path.name for path in adopted.rglob("*.*")} == FILES
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
