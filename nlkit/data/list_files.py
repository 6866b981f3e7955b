"""Lists of images that come with a data set: read line by line, with bounds; no name leads out of the folder.

A list may have a million lines. Names are therefore checked by their text alone when a list is read, without a look at
the disk; `photo_files.photo_path` follows links, and refuses those that lead outside, when an image is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nlkit.data.files import open_file
from nlkit.data.listing import SUFFIXES, check_encoding
from nlkit.data.photo_list import PhotoList
from nlkit.errors import NlkitError

MAX_LIST_BYTES = 512 * 2**20
MAX_LINE_BYTES = 4096

Row = tuple[int, str, int]
"""A line number (0 where the names are those of files in a folder), the name of an image, and its label."""

_UP = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a file in UTF-8, without the white space around it; empty lines are skipped.

    Raises NlkitError for a file that is missing, unreadable or too large, a line that is too long or not UTF-8.
    """
    with open_file(path, MAX_LIST_BYTES) as file:
        for line, raw in enumerate(_raw_lines(file), 1):
            if len(raw) > MAX_LINE_BYTES:
                raise NlkitError(f"{path}, line {line}: longer than {MAX_LINE_BYTES} bytes; this is not a list")
            try:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise NlkitError(f"{path}, line {line}: not UTF-8") from None
            if text:
                yield line, text


def read_columns(path: Path, columns: Sequence[str], separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line; `columns` names the cells that a line must have.

    Cells are parted by white space where `separator` is None. Raises NlkitError as `read_lines` does, and for a line
    with another number of cells.
    """
    for line, text in read_lines(path):
        cells = text.split(separator)
        if len(cells) != len(columns):
            raise NlkitError(f"{path}, line {line}: {len(cells)} columns; expected {len(columns)}: {' '.join(columns)}")
        yield line, cells


def number(text: str, classes: int, path: Path, line: int) -> int:
    """A label in 0..classes - 1 from its digits; raises NlkitError for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise NlkitError(f"{path}, line {line}: the label is {text[:40]!r}; expected a whole number")
    label = int(text)
    if label >= classes:
        raise NlkitError(f"{path}, line {line}: label {label} is outside 0..{classes - 1}")
    return label


def check_inside(name: str, path: Path, line: int) -> None:
    """Raise NlkitError for a name that, by its text, leaves the folder of the images."""
    absolute = name[:1] in ("/", "\\") or name[1:2] == ":"
    if absolute or "\0" in name or (".." in name and _UP.search(name)):
        raise NlkitError(
            f"{_place(path, line)}: the path {name[:200]!r} leaves the folder; paths are relative to it, without '..'"
        )


def gather(root: Path, path: Path, rows: Iterable[Row]) -> tuple[PhotoList, tuple[str, ...]]:
    """The images below `root` that the rows of a list name, and a note where rows are repeated.

    A row that repeats an earlier one counts once. Raises NlkitError for a name that leaves the folder, an image with
    two labels, and where there are no rows.
    """
    found: dict[str, int] = {}
    count = 0
    for line, name, label in rows:
        check_inside(name, path, line)
        before = found.setdefault(name, label)
        if before != label:
            raise NlkitError(f"{_place(path, line)}: {name!r} has label {label} here and {before} before")
        count += 1
    return photo_list(root, path, found), repetitions(path, count - len(found))


def photo_list(root: Path, path: Path, found: dict[str, int]) -> PhotoList:
    """A list of images below `root` from their labels by name; raises NlkitError where `path` named none."""
    if not found:
        raise NlkitError(f"{path}: names no images")
    return PhotoList(Path(os.path.realpath(root)), list(found), np.fromiter(found.values(), np.int64, len(found)))


def repetitions(path: Path, count: int) -> tuple[str, ...]:
    """A note about rows that repeat earlier ones, if there are any."""
    return (f"{path}: {count} rows repeat an earlier one and count once",) if count else ()


def image_names(folder: Path) -> list[str]:
    """Sorted names of the image files in a folder; hidden files and those of other kinds are passed over.

    Raises NlkitError for a folder that is missing or unreadable, and for a name that is not UTF-8.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise NlkitError(f"{folder}: cannot read the folder ({error.strerror})") from None
    images = [name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
    for name in images:
        check_encoding(name, folder)
    return images


def _place(path: Path, line: int) -> str:
    return f"{path}, line {line}" if line else str(path)


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    # A bound on each read: a file without line ends must not become one line of half a gigabyte.
    return iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")
