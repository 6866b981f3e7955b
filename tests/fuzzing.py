"""Damaged copies of files and odd values, and what may come of them: one line of refusal, or sound results."""

import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from nlkit import load_classifier, load_params, load_run
from nlkit.cli import main
from nlkit.data.listing import read_table
from nlkit.errors import NlkitError

COUNT = 500
PATIENCE = 30
"""Seconds after which a reader counts as hanging; reading takes milliseconds."""
HARMFUL = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pty.spawn", "socket.connect", "os.putenv")
EXAMPLES = int(os.environ.get("NLKIT_EXAMPLES", 1000)) // 6
TEXTS = ["", " ", "é", "\u202egnp.exe", "\ufeff", "\0", "a\rb", "\n", "=1+1", "'", '"', ",", "..", "../x", "/", "~x"]
TEXTS += ["nan", "x" * 300, "\udcff", "\x1b[31m", "犬", "-1", "--", "a.b", "$x", "%s", "{}", "a/0.png", "a//0.png"]
NUMBERS = [-1, 0, 1, 2, 2**31, 2**63, 10**30, -0.0, 0.5, 1e-300, 1e9, 1e308, float("nan"), float("inf")]
texts = st.sampled_from(TEXTS) | st.text(max_size=8).filter(lambda text: "/" not in text)
leaves = st.none() | st.booleans() | st.sampled_from(NUMBERS) | texts
odd = leaves | st.lists(leaves, max_size=3) | st.dictionaries(texts, leaves, max_size=2) | st.just([[[{"a": [[]]}]]])

READ: dict[str, Callable[[Path], object]] = {
    "record.json": lambda path: load_run(path.parent), "model.safetensors": load_classifier, "params.yaml": load_params,
    "dropped.csv": pd.read_csv, ".csv": lambda path: list(read_table(path, ("path", "label"))),
}  # fmt: skip
"""How what a command writes is read back."""

_harm: list[str] = []


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    if event in HARMFUL:
        _harm.append(event)


sys.addaudithook(_notice)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


def damaged(content: bytes, count: int = COUNT) -> Iterator[bytes]:
    """Copies with one to four bytes changed (two of three) or cut short (one of three), each unlike the original."""
    rng = random.Random(0)
    for number in range(count):
        if number % 3 == 2:
            yield content[: rng.randrange(len(content))]
            continue
        copy = bytearray(content)
        for place in rng.sample(range(len(copy)), rng.randint(1, 4)):
            copy[place] ^= rng.randint(1, 255)
        yield bytes(copy)


def refused(work: Callable[[], object], match: str | None = None) -> str:
    """The one line with which something is refused, in which a pattern must be found."""
    with pytest.raises(NlkitError, match=match) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Inside, a reader that starts a process or does not come back fails the test."""

    def late(number: int, frame: Any) -> None:
        raise TimeoutError("the reader hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    _harm.clear()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not _harm, _harm


def fuzz(path: Path, read: Callable[[], tuple[Any, str]], sealed: bool = False, count: int = COUNT) -> int:
    """Read `count` damaged copies in place of `path`, which is put back; how many were refused.

    `read` returns the content, comparable, and the fingerprint by which a run would know it. A file that is `sealed`
    carries its own checksum: any difference must be refused, not only be seen.
    """
    good = path.read_bytes()
    content, fingerprint = read()
    refused = 0
    for copy in damaged(good, count):
        path.write_bytes(copy)
        try:
            with watched():
                found, mark = read()
        except NlkitError as error:
            assert "\n" not in str(error) and len(str(error)) > 20, error
            assert path.name in str(error), error
            refused += 1
            continue
        if found != content:
            assert not sealed, f"read in silence: {copy[:200]!r}"
            assert mark != fingerprint
    path.write_bytes(good)
    assert read() == (content, fingerprint)
    return refused


def door(*parts: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """A test that gives examples of these strategies to a check: a few, and many where tests may be slow."""
    plan = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))

    def wrap(check: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("count", [20, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
        def test(count: int) -> None:
            settings(plan, max_examples=count)(given(*parts)(check))()

        return test

    return wrap


@contextlib.contextmanager
def world(template: Path) -> Iterator[None]:
    """A copy of a folder, with a pipe in it, which is the current one inside."""
    with tempfile.TemporaryDirectory() as outside, contextlib.chdir(outside):
        os.mkfifo(shutil.copytree(template, "world") + "/pipe")
        os.chdir("world")
        yield


def seen(folder: Path) -> dict[Path, Any]:
    """What lies in a folder, by path; of a folder `done`, a run of ours that may be replaced, the names."""
    found = dict[Path, Any]()
    for path in folder.rglob("*"):
        read = path.is_file() and not path.is_symlink() and path.parent.name != "done"
        found[path] = path.read_bytes() if read else (path.is_symlink(), path.is_dir(), path.is_fifo())
    return found


def call(*arguments: str) -> bool:
    """Run a command, which must keep the rule; whether it did what was asked."""
    before, out, errors = (
        seen(outside := Path.cwd().parent),
        *(io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)),
    )
    with watched(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code: Any = main(arguments)
        except SystemExit as asked:  # for help
            code = asked.code
        errors.flush()
    said, after = errors.buffer.getvalue().decode(), seen(outside)  # type: ignore[attr-defined]
    event(f"exit code {code}")  # told by --hypothesis-show-statistics
    new = [path for path in after.keys() - before.keys() if not path.match("runs/adopt.lock")]
    assert code in (0, 2) and "hangs" not in said, said
    assert {name: after.get(name) for name in before} == before
    if code == 2:
        assert said.startswith("nlkit: ") and said.find("\n") == len(said) - 1 < 2000 and not new, (said, new)
    for path in new:
        READ.get(path.name, READ.get(path.suffix, Path.lstat))(path)
        assert path.suffix != ".writing"
    return code == 0
