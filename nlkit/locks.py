"""One process at a time on a file that takes long to make."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from nlkit.errors import NlkitError


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Inside, no other process works on `target`; a line tells of waiting, and the lock ends with its process.

    Raises NlkitError where `<target>.lock` cannot be written.
    """
    lock = target.with_suffix(".lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise NlkitError(f"{lock}: cannot write there ({error.strerror})") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tqdm.write(f"nlkit: another process is making {target}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where a forked process has the file too
