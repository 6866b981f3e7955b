"""A process that is killed at any change to the disk, and what it may not lose or mix; for tests."""

import contextlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

import pandas as pd

from nlkit.training import records

FORK = multiprocessing.get_context("fork")
CHANGES = {"rename", "replace", "remove", "unlink", "mkdir", "rmdir", "truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Work = Callable[[], int]


def prepare(world: Path, first: Work | None) -> dict[str, Any]:
    """What lies in the world after the first work, with files of somebody else; a copy of it is kept for `restore`."""
    assert first is None or first() == 0
    for lock in world.glob("*/.nlkit.lock"):
        lock.with_name("mine.txt").write_text("mine")
        if lock.parent.name == "out":
            lock.with_name("params.yaml").write_text("mine")
    shutil.copytree(world, world.with_name("start"))
    return listing()


def restore(world: Path) -> None:
    os.chdir(world.parent)
    shutil.rmtree(world)
    shutil.copytree("start", world)
    os.chdir(world)


def content(path: Path) -> Any:
    """What a file holds, but for times."""
    blob = path.read_bytes()
    if path.suffix == ".parquet":
        return pd.read_parquet(io.BytesIO(blob)).drop(columns="seconds", errors="ignore").to_csv()
    if path.suffix == ".safetensors":
        size = 8 + int.from_bytes(blob[:8], "little")
        header = json.loads(blob[8:size])
        return {**json.loads(header.pop("__metadata__")["info"]), "seconds": 0}, header, blob[size:]
    if path.suffix == ".lock":
        return b""  # or it tells who held it
    if path.name not in ("record.json", "summary.json"):
        return blob
    info = {key: value for key, value in json.loads(blob).items() if key not in (*records.TIMES, "sha256")}
    return {key: {**value, "seconds": 0} if key == "encoder" else value for key, value in info.items()}


def listing() -> dict[str, Any]:
    """What lies in the current folder, by path."""
    return {str(path): path.is_file() and content(path) for path in Path().rglob("*")}


def assert_nothing_is_lost(start: dict[str, Any], end: dict[str, Any]) -> None:
    """What the command does not change is as it was; of what it replaces the old or the new is whole, and none mixed.

    What is new may wait in a folder `.new` for its place.
    """
    now = listing()
    changed = {path for path in {**start, **end} if start.get(path) != end.get(path)}
    waiting = {Path(path).name: value for path, value in now.items() if Path(path).parent.name == ".new"}

    def missing(state: dict[str, Any], chosen: set[str]) -> list[str]:
        waits = {path: waiting.get("beside.csv" if "/" not in path else Path(path).name) for path in chosen}
        return [path for path in chosen & state.keys() if state[path] not in (now.get(path), waits[path])]

    assert missing(start, start.keys() - changed) == []
    here = [{path for path in changed & state.keys() if now.get(path) == state[path]} for state in (start, end)]
    if here[0] != changed & start.keys() != set():
        assert missing(end, changed) == [] and not all(here)


def inside(work: Work, log: str, at: int, sign: int, count: Any) -> None:
    """Work in a process of its own, which gets a signal at one of its points; what it prints goes to `log`.

    Points are before and after each change to the disk, and amid each write.
    """

    def point() -> None:
        count.value += 1
        if count.value == at:
            os.kill(os.getpid(), sign)

    def before(event: str, given: tuple[Any, ...]) -> None:
        changes = event[:3] == "os." and event[3:] in CHANGES and os.path.lexists(given[0]) != (event == "os.mkdir")
        if changes or (event == "open" and given[2] & WRITES):
            point()

    def after(frame: Any, event: str, what: Any) -> None:
        if event not in ("c_call", "c_return") or not isinstance(what, BuiltinFunctionType):
            return
        if what.__name__ == "write" and isinstance(what.__self__, io.BufferedWriter):
            point()
            if event == "c_return":
                what.__self__.flush()
                point()
        elif event == "c_return" and what.__name__ in CHANGES and what.__module__ == "posix":
            point()

    with open(log, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may ignore it
        if at:
            sys.addaudithook(before)
            sys.setprofile(after)
        code = work()
        sys.setprofile(None)
    sys.exit(code)


def child(work: Work, at: int = 0, sign: int = signal.SIGKILL) -> tuple[int | None, int]:
    """How a process ended that works and gets a signal at one of its points, and how many it came to."""
    count = FORK.RawValue("q")
    process = FORK.Process(target=inside, args=(work, "../log", at, sign, count))
    process.start()
    process.join()
    return process.exitcode, count.value
