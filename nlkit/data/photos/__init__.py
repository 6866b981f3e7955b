"""Lists of images that come with a data set: read line by line; no name leads out of the folder.

A list may have a million lines, so it is checked by its text alone; `PhotoList.path` follows links when one is opened.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlkit.data.files import check_relative, image_names, inside
from nlkit.errors import NlkitError
from nlkit.files import open_file

Row = tuple[str, str, int]  # where it stands, for an error message, the name of an image, and its label


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
    """A data set of photographs: what to train on with observed labels, and test sets by name, the first called 'test'.

    mean, std: per channel, of pixels in 0..1; remarks: a line with the numbers of images, and one for each thing that
    is unusual about the files; official: whether the numbers are the official ones.
    """

    train: PhotoList
    tests: Mapping[str, PhotoList]
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    remarks: tuple[str, ...]
    official: bool

    @property
    def parts(self) -> dict[str, PhotoList]:
        """Training images ('train') and test sets by name."""
        return {"train": self.train, **self.tests}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual about the set, one line each."""
        return self.remarks[1:] if self.official else self.remarks


def read_rows(
    path: Path, columns: Sequence[str], separator: str | None = None, header: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each line of a file in UTF-8; raises NlkitError for one with other cells than `columns` names.

    Cells are parted by white space where `separator` is None; with `header` the first line must name the columns.
    """
    with open_file(path) as file:
        for line, raw in enumerate(file, 1):
            place = f"{path}, line {line}"
            try:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise NlkitError(f"{place}: not UTF-8") from None
            cells = text.split(separator) if text else []
            if header and line == 1:
                if cells != list(columns):
                    raise NlkitError(f"{place}: the header is {text[:80]!r}; expected {' '.join(columns)!r}")
            elif cells and len(cells) != len(columns):
                raise NlkitError(f"{place}: {len(cells)} columns; expected {len(columns)}: {' '.join(columns)}")
            elif cells:
                yield place, cells


def read_names(path: Path, count: int, header: str = "") -> tuple[str, ...]:
    """Names of classes, one a line, after a header that may be missing; raises NlkitError for another number."""
    names = [name for _, (name,) in read_rows(path, ("CLASS",), "\t")]
    if names[:1] == [header]:
        del names[0]
    if len(names) != count or len(set(names)) != count:
        raise NlkitError(f"{path}: {len(names)} lines, {len(set(names))} different; expected {count} classes")
    return tuple(names)


def read_numbered(path: Path, classes: int) -> Iterator[Row]:
    """The rows of a list with lines 'IMAGE LABEL', labels 0 to `classes` - 1; raises NlkitError for any other line."""
    for place, (name, text) in read_rows(path, ("IMAGE", "LABEL")):
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) < classes):
            raise NlkitError(f"{place}: the label is {text[:40]!r}; expected 0 to {classes - 1}")
        yield place, name, int(text)


def labels_by_name(path: Path, rows: Iterable[Row], notes: list[str]) -> dict[str, int]:
    """Labels by name, in the order of the rows; raises NlkitError for a name that leaves its folder or has two labels.

    A row that repeats an earlier one counts once, with a note.
    """
    found, count = dict[str, int](), 0
    for place, name, label in rows:
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
