"""Which images of a folder have which label: from a table, or from one sub-folder a class; no path leads outside."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nlkit.data.files import check_encoding, inside, read_bytes
from nlkit.errors import NlkitError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")


@dataclass(frozen=True)
class Entry:
    """One image: its path as it was given, where it lies, its given label, and the correct one where that is known."""

    name: str
    path: Path
    label: str
    truth: str | None
    source: str


@dataclass(frozen=True)
class Listing:
    """The images of a table or a tree, and what was unusual, one line each."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def read_listing(folder: Path, table: Path | None, truth: str | None = None) -> Listing:
    """The images of `folder` that a table `path,label` names, or those of a tree with one sub-folder a class.

    Raises NlkitError for a missing folder, a table without these columns, a path that leads out of the folder, an
    image with two different labels, or where there are no images.
    """
    root = _root(folder)
    listing = _tree(root) if table is None else _table(root, table, truth)
    if not listing.entries:
        hint = " in sub-folders, one a class (or name a table with --labels)" if table is None else ""
        raise NlkitError(f"{table or folder}: no images{hint}")
    return listing


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line number and the cells of these columns, for each row of a CSV file in UTF-8; blank lines are skipped.

    Raises NlkitError for a file that is missing, damaged, or without one of the columns.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NlkitError(f"{path}: not a CSV file in UTF-8 (byte {error.start})") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [cell.strip() for cell in next(reader, [])]
        missing = [name for name in columns if header.count(name) != 1]
        if missing:
            raise NlkitError(
                f"{path}: the header is {','.join(header)[:120]!r}; expected the columns {','.join(columns)} once each"
            )
        places = [header.index(name) for name in columns]
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise NlkitError(f"{path}, line {reader.line_num}: {len(row)} cells; the header has {len(header)}")
            yield reader.line_num, tuple(row[place] for place in places)
    except csv.Error as error:
        raise NlkitError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def _root(folder: Path) -> Path:
    try:
        if not folder.is_dir():
            raise NlkitError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
        return folder.resolve()
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(folder)[:200]}: cannot read the folder ({error})") from None


def _table(root: Path, table: Path, truth: str | None) -> Listing:
    columns = ("path", "label") if truth is None else ("path", "label", truth)
    found: dict[Path, Entry] = {}
    repeated = 0
    for line, (name, label, *rest) in read_table(table, columns):
        source = f"{table}, line {line}"
        entry = Entry(name, inside(root, name, source), label.strip(), rest[0].strip() if rest else None, source)
        if not entry.label or entry.truth == "":
            raise NlkitError(f"{source}: {name!r} has no label")
        before = found.setdefault(entry.path, entry)
        if (before.label, before.truth) != (entry.label, entry.truth):
            raise NlkitError(f"{source}: {name!r} is labelled {entry.label!r} here and {before.label!r} before")
        repeated += before is not entry
    notes = (f"{table}: {repeated} rows repeat an earlier one and count once",) if repeated else ()
    return Listing(tuple(found.values()), notes)


def _tree(root: Path) -> Listing:
    """Images below each sub-folder, whose name is the label; hidden files and folders are passed over."""
    entries: list[Entry] = []
    loose = 0
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place).relative_to(root)
        for name in folders:
            if (root / here / name).is_symlink():
                inside(root, str(here / name), str(root))
        for name in sorted(files):
            if name.startswith(".") or Path(name).suffix.lower() not in SUFFIXES:
                continue
            if not here.parts:
                loose += 1
                continue
            relative = (here / name).as_posix()
            check_encoding(relative, root)
            entries.append(Entry(relative, inside(root, relative, str(root)), here.parts[0], None, relative))
    notes = (f"{root}: {loose} images lie beside the class folders and are passed over",) if loose else ()
    return Listing(tuple(entries), notes)
