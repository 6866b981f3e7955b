"""Lists of images that come with a data set: read line by line, with bounds; no name leads out of the folder.

A list may have a million lines. Names are therefore checked by their text alone when a list is read, without a look at
the disk; `PhotoList.path` follows links, and refuses those that lead outside, when an image is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlkit.data.files import check_relative, image_names, inside, open_file
from nlkit.errors import NlkitError

MAX_LIST_BYTES = 512 * 2**20
MAX_LINE_BYTES = 4096

Row = tuple[int, str, int]
"""A line number (0 where the names are those of files in a folder), the name of an image, and its label."""


@dataclass(frozen=True)
class PhotoList:
    """N image files below the folder `root`: names relative to it, with '/', and labels int64 [N]."""

    root: Path
    names: Sequence[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> Path:
        """Where an image lies, links followed; raises NlkitError for a link that leads out of the folder."""
        return inside(self.root, self.names[index], str(self.root))


@dataclass(frozen=True)
class PhotoSet:
    """A data set of photographs: what to train on with observed labels, test sets by name, and how to normalise.

    The first of `tests` is called 'test'. mean, std: per channel, of pixels in 0..1. `notes` say what is unusual
    about the files, one line each.
    """

    name: str
    train: PhotoList
    tests: Mapping[str, PhotoList]
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, PhotoList]:
        """Training images ('train') and test sets by name."""
        return {"train": self.train, **self.tests}


def read_rows(
    path: Path, columns: Sequence[str], separator: str | None = None, header: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line of a file in UTF-8; `columns` names the cells that a line must have.

    Cells are parted by white space where `separator` is None; with `header` the first line must name the columns.
    Raises NlkitError for a file that cannot be read, a line that is too long or not UTF-8, and other numbers of cells.
    """
    with open_file(path, MAX_LIST_BYTES) as file:
        # A bound on each read: a file without line ends must not become one line of half a gigabyte.
        for line, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            if len(raw) > MAX_LINE_BYTES:
                raise NlkitError(f"{path}, line {line}: longer than {MAX_LINE_BYTES} bytes; this is not a list")
            try:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise NlkitError(f"{path}, line {line}: not UTF-8") from None
            cells = text.split(separator) if text else []
            if header and line == 1:
                if cells != list(columns):
                    raise NlkitError(f"{path}, line 1: the header is {text[:80]!r}; expected {' '.join(columns)!r}")
            elif cells and len(cells) != len(columns):
                expected = f"expected {len(columns)}: {' '.join(columns)}"
                raise NlkitError(f"{path}, line {line}: {len(cells)} columns; {expected}")
            elif cells:
                yield line, cells


def read_names(path: Path, count: int, header: str = "") -> tuple[str, ...]:
    """Names of classes, one a line, after a header that may be missing; raises NlkitError for another number."""
    names = [name for line, (name,) in read_rows(path, ("CLASS",), "\t") if line > 1 or name != header]
    if len(names) != count or len(set(names)) != count:
        raise NlkitError(f"{path}: {len(names)} lines, {len(set(names))} different; expected {count} classes")
    return tuple(names)


def read_numbered(path: Path, classes: int) -> Iterator[Row]:
    """The rows of a list with lines 'IMAGE LABEL', labels 0 to `classes` - 1; raises NlkitError for any other line."""
    for line, (name, text) in read_rows(path, ("IMAGE", "LABEL")):
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) < classes):
            raise NlkitError(f"{path}, line {line}: the label is {text[:40]!r}; expected 0 to {classes - 1}")
        yield line, name, int(text)


def labels_by_name(path: Path, rows: Iterable[Row], notes: list[str]) -> dict[str, int]:
    """Labels of the images that a list names, in its order; a row that repeats an earlier one counts once, with a note.

    Raises NlkitError for a name that leaves its folder, and an image with two labels.
    """
    found, count = dict[str, int](), 0
    for line, name, label in rows:
        place = f"{path}, line {line}" if line else str(path)
        check_relative(name, place)
        before = found.setdefault(name, label)
        if before != label:
            raise NlkitError(f"{place}: {name!r} has label {label} here and {before} before")
        count += 1
    if count > len(found):
        notes.append(f"{path}: {count - len(found)} rows repeat an earlier one and count once")
    return found


def gather(root: Path, path: Path, rows: Iterable[Row], notes: list[str]) -> PhotoList:
    """The images below `root` that the rows of a list name; raises NlkitError as above, and where there are none."""
    found = labels_by_name(path, rows, notes)
    if not found:
        raise NlkitError(f"{path}: names no images")
    return PhotoList(Path(os.path.realpath(root)), list(found), np.fromiter(found.values(), np.int64, len(found)))


def folder_images(folder: Path) -> list[str]:
    """Sorted names of the image files in a folder; raises NlkitError for one that is missing or unreadable."""
    try:
        return image_names(os.listdir(folder), folder)
    except OSError as error:
        raise NlkitError(f"{folder}: cannot read the folder ({error.strerror})") from None
