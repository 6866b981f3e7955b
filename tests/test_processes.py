"""Commands that are killed at any change to the disk, fail, or are not alone: nothing is lost, nothing is mixed."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tiny
from pictures import write_images
from processes import FORK, Work, assert_nothing_is_lost, child, inside, listing, prepare, restore

from nlkit import NlkitError
from nlkit.cli import main
from nlkit.data.photos import PhotoList, store
from nlkit.files import check_place, commit, file_lock, replaced_file, write_atomically
from nlkit.outputs import OWNER, owned_folder, swapped
from nlkit.params import registry


def call(text: str) -> Work:
    return lambda: main(text.split())


def late(seconds: float, text: str) -> int:
    time.sleep(seconds)
    return main(text.split())


def stored() -> int:
    names = sorted(path.name for path in Path("images").iterdir())
    return len(store.build(PhotoList(Path("images"), names, np.zeros(20)), 8, Path("stores"), "drop", False).faults)


CLEAN = (
    "clean images --labels labels.csv --out s.csv --method cross_entropy --epochs 2 --size 8 --quiet -s model.width=4"
)
FEATURES, RUN = "clean --features f.npz --out f.csv", "run cross_entropy.yaml --out out --quiet"
CASES: dict[str, tuple[Work | None, Work]] = {
    "run": (None, call(RUN)),
    "run over another": (call(f"{RUN} -s seed=1"), call(f"{RUN} --fresh")),
    "clean": (None, call(CLEAN)),
    "clean over another": (call(f"{CLEAN} --hold-out 0.3"), call(f"{CLEAN} --overwrite")),
    "features": (None, call(FEATURES)),
    "features over others": (call(f"{FEATURES} --hold-out 0.3"), call(f"{FEATURES} --overwrite")),
    "adopt": (call(RUN), call("adopt out")),
    "store": (None, stored),
    "encoder": (None, call("run user.yaml --quiet")),
}
"""By name what is done first, undisturbed, and what is killed."""
TOGETHER: dict[str, tuple[Work | None, list[str]]] = {
    "same run": (None, [RUN] * 3),
    "other runs": (None, [RUN, f"{RUN} -s seed=1"]),
    "fresh runs": (None, [f"{RUN} --fresh", f"{RUN} --fresh -s seed=1"]),
    "clean": (None, [f"{CLEAN} --overwrite", f"{CLEAN} --overwrite --hold-out 0.3", CLEAN]),
    "features": (None, [f"{FEATURES} --overwrite", f"{FEATURES} --overwrite --hold-out 0.3", FEATURES]),
    "adopt": (call(RUN), ["adopt out"] * 3),
}
"""By name what is done first, and commands that are started at once."""
METHODS = {name: (None, call(f"run {name}.yaml --out out --quiet")) for name in registry.names()}
SLOW = pytest.mark.slow
FEW = [pytest.param(name, 3, id=name) for name in CASES]
EVERY = [pytest.param(name, 30 if name == "encoder" else 10**6, id=f"{name}, all", marks=SLOW) for name in CASES]
EVERY += [pytest.param(name, 2, id=name, marks=SLOW) for name in METHODS]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, a project with something for every command; what takes long and changes nothing is off."""
    monkeypatch.setattr("nlkit.files.subprocess.run", Mock(side_effect=OSError))  # git
    monkeypatch.setattr("nlkit.cleaning.results._figures", lambda result: {})
    monkeypatch.setattr(store, "SHARD", 5)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # a kill loses nothing that was written
    folder = write_images(tmp_path / "world", 2, 10)
    small = {"data.train_size": 64, "training.threads": 1, "training.epochs": 2}
    tiny.in_project(tiny.params("cross_entropy", **small), folder)
    for name in registry.names():
        own = tiny.params(name, **small | ({"training.epochs": 4} if name == "tcl_plus" else {}))
        tiny.write(own, folder / f"{name}.yaml")
    tiny.write(tiny.params("simclr", **small), folder / "params/simclr.yaml")
    tiny.write(tiny.params("codim", **small, **{"method.encoder": "params/simclr.yaml"}), folder / "user.yaml")
    np.savez(folder / "f.npz", features=np.random.default_rng(0).normal(size=(20, 3)), labels=np.arange(20) % 2)
    with contextlib.chdir(folder):
        yield folder


@pytest.mark.parametrize(("name", "most"), FEW + EVERY)
def test_whenever_it_is_killed_the_same_command_ends_as_if_undisturbed(world: Path, name: str, most: int) -> None:
    first, work = (CASES | METHODS)[name]
    start = prepare(world, first)
    assert work() == 0
    end = listing()
    restore(world)
    code, points = child(work, 10**9)
    assert (code, listing()) == (0, end), Path("../log").read_text()
    chance, killed = random.Random(name), 0
    for at in chance.sample(range(1, points + 1), min(most, points)):
        restore(world)
        while child(work, at)[0] == -signal.SIGKILL:
            killed += 1
            assert_nothing_is_lost(start, end)
            at = chance.randint(1, 3 * points)
            if at > points:
                break
        assert work() in (0, 2)  # it may have ended before it was killed, and says so
        assert listing() == end
    print(f"{name}: {killed} kills at {points} points")


def test_ctrl_c_leaves_a_run_to_resume(world: Path) -> None:
    work = METHODS["dividemix"][1]
    prepare(world, None)
    assert work() == 0
    end = listing()
    for at in (5, 20, 40, 60):
        restore(world)
        assert child(work, at, signal.SIGINT)[0] == 130
        (line,) = Path("../log").read_text().splitlines()
        assert line == "nlkit: interrupted; the same command resumes after the last finished epoch"
        assert work() == 0
        assert listing() == end


@pytest.mark.parametrize("rounds", [1, pytest.param(17, marks=SLOW)])
@pytest.mark.parametrize("name", TOGETHER)
def test_commands_in_one_folder_do_not_mix(world: Path, name: str, rounds: int) -> None:
    first, lines = TOGETHER[name]
    prepare(world, first)
    ends = []
    for line in lines:
        assert main(line.split()) == 0
        ends.append(listing())
        restore(world)
    chance = random.Random(name)
    for _ in range(rounds):
        works = [partial(late, chance.choice([0, 0.1 * chance.random()]), line) for line in lines]
        logs = [f"../log{i}" for i in range(len(lines))]
        processes = [FORK.Process(target=inside, args=(*one, 0, 0, None)) for one in zip(works, logs, strict=True)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        said = [[line for line in Path(log).read_text().splitlines() if "waiting" not in line] for log in logs]
        codes = [process.exitcode for process in processes]
        assert {*codes} <= {0, 2} and 0 in codes, said
        assert [text for code, text in zip(codes, said, strict=True) if code and len(text) != 1] == []
        assert listing() in [end for end, code in zip(ends, codes, strict=True) if code == 0]
        restore(world)


def enter_and_leave(target: Path, log: Path) -> None:
    with file_lock(target), log.open("ab", buffering=0) as file:
        file.write(b"<")
        time.sleep(0.01)
        file.write(b">")


def test_processes_take_turns_and_who_waits_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target, log, told = tmp_path / "new" / "target", tmp_path / "log", ""
    processes = [FORK.Process(target=enter_and_leave, args=(target, log)) for _ in range(4)]
    with file_lock(target):
        for process in processes:
            process.start()
        latest = time.monotonic() + 60
        while "waiting" not in told and all(process.is_alive() for process in processes) and time.monotonic() < latest:
            told += "".join(capfd.readouterr())
        assert "waiting" in told and not log.exists()
    for process in processes:
        process.join()
    assert log.read_bytes() == b"<>" * 4


def test_a_file_is_replaced_as_a_whole_in_a_folder_that_is_made_and_never_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    texts: dict[str | bytes, bytes] = {"ä": "ä".encode(), os.fsdecode(b"caf\xe9"): rb"caf\udce9", b"\0\xff": b"\0\xff"}
    for content, expected in texts.items():  # the second is of a name that is not UTF-8
        write_atomically(path, content)
        assert path.read_bytes() == expected
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
