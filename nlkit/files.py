"""Where the project stands on this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def output_paths(path: Path, images: Path | None, overwrite: bool) -> tuple[Path, Path]:
    """A table to write and the folder of the same name beside it; raises NlkitError where that would replace others."""
    if path.suffix != ".csv":
        raise NlkitError(f"--out {path}: expected the name of a table that ends in .csv")
    target = path.with_suffix("")
    try:
        if path.is_dir() or (path.exists() and not overwrite):
            raise NlkitError(f"--out {path}: exists; choose another name, or --overwrite to replace it")
        if images is not None and target.resolve() == images.resolve():
            raise NlkitError(f"--out {path}: the folder beside it would be {images}, which holds the images")
    except (OSError, ValueError) as error:
        raise NlkitError(f"--out {str(path)[:200]}: cannot write there ({error})") from None
    return path, target


def check_place(path: Path) -> None:
    """Raise NlkitError where `replace_text` could not write, before the work that fills the file has begun."""
    try:
        if path.is_dir():
            raise NlkitError(f"{path}: is a folder; expected the name of a file")
        temporary = _temporary(path)
        temporary.touch()
        temporary.unlink()
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(path)[:200]}: cannot write there ({error})") from None


def replace_text(path: Path, text: str) -> None:
    """Write a text file by atomic rename; raises NlkitError where that cannot be done."""
    try:
        temporary = _temporary(path)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        raise NlkitError(f"{path}: cannot write there ({error})") from None


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.writing")
