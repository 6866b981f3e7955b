"""Files of the project: where they are, who writes them, and how they are replaced at once or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from nlkit.errors import NlkitError


def project_root() -> Path:
    """The nearest folder upwards that holds `params/` and `notebooks/`, else the current one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def locate(name: str, root: Path) -> Path:
    """A file by its path from `root`, else as given; where there is neither, the former."""
    return next((path for path in (root / name, Path(name)) if path.is_file()), root / name)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to be filled inside; afterwards it is synced to the disk and takes its place.

    Where the body fails nothing is left and `path` is as it was. Errors of the file system are raised as OSError.
    """
    temporary = path.with_name(f".{path.name}.writing")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file at once or not at all; raises NlkitError where that cannot be done."""
    data = content.encode() if isinstance(content, str) else content
    try:
        with replaced_file(path) as temporary:
            temporary.write_bytes(data)
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(path)[:200]}: cannot write there ({error})") from None


def check_writable(folder: Path, name: str) -> None:
    """Make a folder and prove that it can be written, before any long work; else NlkitError that begins with `name`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # has no name, so that whatever ends the process leaves none
    except (OSError, ValueError) as error:
        raise NlkitError(f"{name}: cannot write there ({error})") from None


@contextmanager
def file_lock(target: Path) -> Iterator[None]:
    """Inside, no other process works on `target`; a line tells of waiting, and the lock ends with its process.

    Raises NlkitError where `<target>.lock` cannot be written.
    """
    path = target.with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write(f"nlkit: another process is making {target}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise NlkitError(f"{path}: cannot write there ({error.strerror})") from None
    try:
        yield
    finally:
        lock.release()


def check_place(path: Path) -> None:
    """Raise NlkitError where `write_atomically` could not write, before the work that fills the file has begun."""
    try:
        if path.is_dir():
            raise NlkitError(f"{path}: is a folder; expected the name of a file")
        temporary = path.with_name(f".{path.name}.writing")
        temporary.touch()
        temporary.unlink()
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(path)[:200]}: cannot write there ({error})") from None
