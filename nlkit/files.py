"""Files of the project: where they are, who writes them, and how they are replaced at once or not at all."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from nlkit.errors import NlkitError

MAX_FILE_BYTES = 600 * 2**20


def project_root() -> Path:
    """The nearest folder upwards that holds `params/` and `notebooks/`, else the current one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def commit() -> str | None:
    """The commit of the code, with `-dirty` where files differ from it; None where no repository holds the code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", Path(__file__).name)  # or it is the repository of something else
        head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("-dirty" if changed else "")


def locate(name: str, root: Path) -> Path:
    """A file by its path from `root`, else as given; where there is neither, the former."""
    return next((path for path in (root / name, Path(name)) if path.is_file()), root / name)


@contextmanager
def open_file(path: Path, limit: int = MAX_FILE_BYTES) -> Iterator[BinaryIO]:
    """A file open for reading; raises NlkitError where it is missing, unreadable, too large, or no regular file."""
    try:
        if not path.is_file():
            raise NlkitError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        size = path.stat().st_size
        if size > limit:
            raise NlkitError(f"{path}: holds {size} bytes; a file of this kind has at most {limit}")
        file = path.open("rb")
    except OSError as error:
        raise NlkitError(f"{path}: cannot read the file ({error.strerror})") from None
    with file:
        yield file


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Content of a regular file of at most `limit` bytes; raises NlkitError as `open_file` does."""
    with open_file(path, limit) as file:
        return file.read()


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to be filled inside; afterwards it is synced to the disk and takes its place.

    Where the body fails nothing is left and `path` is as it was. Errors of the file system are raised as OSError.
    """
    temporary = path.with_name(f".{path.name}.writing")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.unlink(missing_ok=True)  # of a process that was killed, or a link, which must not be written through
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def as_path(value: object, name: str) -> Path:
    """A path that a caller gave as the argument `name`; raises NlkitError for anything but a path or a text."""
    if not isinstance(value, str | os.PathLike):
        raise NlkitError(f"{name}: expected a path, not {value!r:.80}")
    return Path(value)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file at once or not at all; raises NlkitError where that cannot be done.

    Bytes of a file's name that are not UTF-8 stand escaped in a text.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    try:
        with replaced_file(path) as temporary:
            temporary.write_bytes(data)
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(path)[:200]}: cannot write there ({error})") from None


@contextmanager
def file_lock(target: Path, identity: str = "") -> Iterator[None]:
    """Inside, no other process works on `target`; a line tells of waiting, and the lock ends with its process.

    Raises NlkitError where `<target>.lock` cannot be written, or its holder makes something of another `identity`.
    """
    path = target.with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0.5)  # by then its holder has written who it is
        except Timeout:
            if identity and path.read_text() not in ("", identity):
                other = f"{path.parent}: another process is making something else there"
                raise NlkitError(f"{other}; choose another --out, or wait for its end") from None
            tqdm.write(f"nlkit: another process is making {target}; waiting for it")
            lock.acquire()
        path.write_text(identity)
    except OSError as error:
        raise NlkitError(f"{path}: cannot write there ({error.strerror})") from None
    try:
        yield
    finally:
        with suppress(OSError):
            os.truncate(path, 0)
        lock.release()


def check_place(path: Path, header: str) -> None:
    """Raise NlkitError where a table could not be written, or another file would be replaced, before any long work.

    `header` begins a table of the same kind, which may be replaced.
    """
    try:
        if path.is_dir():
            raise NlkitError(f"{path}: is a folder; expected the name of a file")
        if path.exists():
            with open_file(path) as file:
                if file.read(len(header)) != header.encode():
                    raise NlkitError(f"{path}: is not a table that begins with {header!r}; choose another name")
        temporary = path.with_name(f".{path.name}.writing")
        temporary.unlink(missing_ok=True)
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(path)[:200]}: cannot write there ({error})") from None
