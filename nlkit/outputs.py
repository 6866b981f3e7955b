"""Output folders: one process at a time writes there, and a finished run takes its place as a whole."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nlkit.errors import NlkitError
from nlkit.files import file_lock, replaced_file, write_atomically

OWNER = ".nlkit.lock"  # says whose an output folder is; locked while something is written there
NEW = ".new"  # holds, in an output folder, finished files that wait for their places; `.new.writing`, unfinished ones
OLD, BESIDE = "old", "beside.csv"  # there: names of what they replace, and a table that goes beside the folder
OUTPUTS = ["record.json", "epochs.parquet", "samples.parquet", "params.yaml", "model.safetensors", "model.md"]
OUTPUTS += ["evidence.safetensors", "report.html", "dropped.csv", "test_scores.csv", "summary.json"]  # all of one run


@contextmanager
def swapped(folder: Path, old: Sequence[str] = OUTPUTS) -> Iterator[Path]:
    """A folder to be filled inside; its files then take their places in `folder`, those of a run in place of `old`.

    `folder` is one that `owned_folder` gave. Whatever ends the process, either nothing has changed, or all the new
    files are on the disk and the next process moves on. Raises NlkitError where that cannot be done.
    """
    filled = folder / f"{NEW}.writing"
    filled.mkdir(parents=True)
    try:
        yield filled
        try:
            if {"record.json", "summary.json"} & set(os.listdir(filled)):
                write_atomically(filled / OLD, " ".join(old))
            os.replace(filled, folder / NEW)
            settle(folder)
        except OSError as error:
            raise NlkitError(f"{folder}: cannot write there ({error.strerror}); the same command goes on") from None
    finally:
        shutil.rmtree(filled, ignore_errors=True)


def settle(folder: Path) -> None:
    """Move what waits in `.new` to its place, once nothing old is left there; what is half-written is deleted."""
    shutil.rmtree(folder / f"{NEW}.writing", ignore_errors=True)
    new, table = folder / NEW, folder.absolute().with_name(f"{folder.absolute().name}.csv")
    if new.is_symlink() or not new.is_dir():
        return
    if (new / OLD).exists():
        old = [folder / name for name in OUTPUTS if name.encode() in (new / OLD).read_bytes().split()]
        for path in [*old, *([table] if (new / BESIDE).exists() else [])]:
            path.unlink(missing_ok=True)
        (new / OLD).unlink()
    remove_checkpoints(folder / "checkpoints")
    for path in sorted(new.iterdir(), key=lambda path: (path.name == BESIDE, path.name == "record.json")):  # last
        if path.name == BESIDE:
            with replaced_file(table) as temporary:  # perhaps on another disk
                shutil.copyfile(path, temporary)
            path.unlink()
        else:
            os.replace(path, folder / path.name)
    new.rmdir()


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a folder, and the folder where nothing else lies in it."""
    with suppress(OSError):
        for path in [*folder.glob("epoch-*.safetensors"), *folder.glob(".epoch-*.safetensors.writing")]:
            path.unlink()
        folder.rmdir()


@contextmanager
def owned_folder(folder: Path, identity: str) -> Iterator[None]:
    """Inside, this process alone writes to an output folder; where nothing is written, nothing stays behind.

    What a process that was killed had finished is moved to its place. Raises NlkitError for a folder with files that
    are not of this package, and as `file_lock` does.
    """
    made = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    before = [] if made else _names(folder)
    if foreign := _foreign(folder, before):
        raise NlkitError(f"--out {folder}: holds {foreign!r}, which nlkit did not write there; choose another folder")
    try:  # before any long work
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # has no name, so that whatever ends the process leaves none
    except (OSError, ValueError) as error:
        raise NlkitError(f"--out {folder}: cannot write there ({error})") from None
    with file_lock(folder / ".nlkit", identity):
        try:
            settle(folder)
            yield
        finally:
            with suppress(OSError):
                if _names(folder) == sorted([OWNER, *before]):
                    (folder / OWNER).unlink()
                for place in made:
                    place.rmdir()


def _names(folder: Path) -> list[str]:
    """What lies in a folder; nothing where it cannot be read, of which the caller tells."""
    with suppress(OSError, ValueError):
        return sorted(os.listdir(folder))
    return []


def _foreign(folder: Path, names: list[str]) -> str | None:
    """A file of a folder with these names that is not an output folder of this package, else None."""
    if OWNER in names or _is_result(folder / "record.json") or _is_result(folder / "summary.json"):
        return None
    if names == ["checkpoints"]:  # of a run that was interrupted before folders had an owner
        names = [name for name in _names(folder / "checkpoints") if "epoch-" not in name]
    return names[0] if names else None


def _is_result(path: Path) -> bool:
    with suppress(OSError, ValueError, RecursionError):
        return path.is_file() and not {"params_sha256", "temperature"}.isdisjoint(json.loads(path.read_bytes()))
    return False
