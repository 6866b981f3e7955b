"""Damaged copies of files, and what a reader may do with them: refuse in one line, or see the difference."""

import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nlkit.errors import NlkitError

COUNT = 500
PATIENCE = 30
"""Seconds after which a reader counts as hanging; reading takes milliseconds."""
HARMFUL = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pty.spawn", "socket.connect", "os.putenv")

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


@contextmanager
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
