import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest

from nlkit import NlkitError
from nlkit.files import check_place, commit, file_lock, replaced_file, write_atomically
from nlkit.outputs import OWNER, owned_folder, swapped

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


def test_a_file_is_replaced_as_a_whole_in_a_folder_that_is_made_and_never_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in ("ä", b"\x00\xff"):
        write_atomically(path, content)
        assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "mine").write_text("mine")
    write_atomically(tmp_path / "out" / OWNER, "")
    for name in (".new", ".new.writing"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "new")
    with owned_folder(tmp_path / "out", ""), pytest.raises(OSError), swapped(tmp_path / "out"):
        pass
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / ".file.writing").symlink_to(tmp_path / "mine")
    write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / "file").read_text() == "new"


def test_a_text_with_a_name_that_is_not_utf8_is_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_atomically(tmp_path / "report.html", f"skipped: {name}")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == r"skipped: caf\udce9.png"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replaced_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_commit_is_not_of_a_repository_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = commit()
    for words in ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m x"):
        subprocess.run(["git", "-C", str(tmp_path), *words.split()], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert commit() == own
    (tmp_path / "files.py").touch()  # a package that lies in the repository of something else
    monkeypatch.setattr("nlkit.files.__file__", str(tmp_path / "files.py"))
    assert commit() is None


@pytest.mark.parametrize("name", ["file/below", "folder", "x" * 300, "\x00"])
def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for attempt in (lambda path: write_atomically(path, ""), lambda path: check_place(path, "path,label")):
        with pytest.raises(NlkitError, match=r"cannot write there|is a folder"):
            attempt(tmp_path / name)
    with pytest.raises(NlkitError, match=r"target\.lock: cannot write there"), file_lock(tmp_path / "file" / "target"):
        pass
    if name != "folder":
        with pytest.raises(NlkitError, match=r"^--out .*: cannot write there"), owned_folder(tmp_path / name, ""):
            pass
    assert sorted(tmp_path.rglob("*")) == before
