from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from nlkit import NlkitError
from nlkit.files import file_lock

FORK = multiprocessing.get_context("fork")


def enter_and_leave(target: Path, log: Path) -> None:
    with file_lock(target), log.open("ab", buffering=0) as file:
        file.write(b"<")
        time.sleep(0.01)
        file.write(b">")


def test_processes_come_one_after_the_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [FORK.Process(target=enter_and_leave, args=(tmp_path / "new" / "target", log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert log.read_bytes() == b"<>" * 4


def test_who_waits_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with file_lock(tmp_path / "target"):
        process = FORK.Process(target=enter_and_leave, args=(tmp_path / "target", tmp_path / "log"))
        process.start()
        told = ""
        while "waiting" not in told and process.is_alive():
            told += "".join(capfd.readouterr())
    process.join()
    assert "waiting" in told and (tmp_path / "log").read_bytes() == b"<>"


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def hold() -> None:
        with file_lock(tmp_path / "target"):
            log.write_bytes(b"x")
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    while not log.exists():
        time.sleep(0.001)
    process.kill()
    process.join()
    with file_lock(tmp_path / "target"):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NlkitError, match=r"target\.lock: cannot write there"), file_lock(tmp_path / "file" / "target"):
        pass
