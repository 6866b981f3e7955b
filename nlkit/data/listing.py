"""Which images have which label: from a table, from one sub-folder a class, or beside features made elsewhere."""

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlkit.data.files import SUFFIXES, image_names, inside, read_array, read_npz, reason
from nlkit.errors import CONTROL, NlkitError
from nlkit.files import read_bytes

_Rows = list[tuple[str, ...]]
_FORMULA = re.compile(r"'*[=+@-](?!\d+(\.\d+)?$)")
"""What a spreadsheet may take for a formula, but numbers, and what may be such a cell with its guard."""


def guarded(cell: str) -> str:
    """A cell with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    """The cell that `guarded` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def _plain(text: str, source: str) -> str:
    """The same text; raises NlkitError for control characters, which would spoil other tables and figures."""
    if CONTROL.search(text):
        raise NlkitError(f"{source}: {text[:80]!r} holds a control character; remove it")
    return text


@dataclass(frozen=True)
class Entry:
    """One image: its path as it was given, where it lies, its given label, and the correct one where that is known."""

    name: str
    path: Path
    label: str
    truth: str | None
    source: str


def read_listing(folder: Path, table: Path | None, truth: str | None = None) -> tuple[list[Entry], list[str]]:
    """The images of `folder` that a table `path,label` names, or those of a tree with one sub-folder a class.

    Each image comes once, and beside them what is unusual, one line each.
    Raises NlkitError for bad tables and paths, an image with two different labels, and where there are no images.
    """
    if not os.path.isdir(folder):
        raise NlkitError(f"{str(folder)[:200]}: {'not a folder' if os.path.exists(folder) else 'no such folder'}")
    root = Path(os.path.realpath(folder))
    entries, notes = _tree(root) if table is None else (_table(root, table, truth), [])
    if not entries:
        hint = " in sub-folders, one a class (or name a table with --labels)" if table is None else ""
        raise NlkitError(f"{table or folder}: no images{hint}")
    found: dict[Path, Entry] = {}
    for entry in entries:
        before = found.setdefault(entry.path, entry)
        if (before.label, before.truth) != (entry.label, entry.truth):
            other = f"{entry.label!r} here and {before.label!r} as {before.name!r}"
            raise NlkitError(f"{entry.source}: {entry.name!r} is labelled {other}")
    if repeated := len(entries) - len(found):
        notes.append(f"{table or root}: {repeated} entries repeat an earlier one and count once")
    return list(found.values()), notes


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Place and cells of these columns of each row of a CSV file; raises NlkitError for one that is damaged."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NlkitError(f"{path}: not a CSV file in UTF-8 (byte {error.start})") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if any(header.count(name) != 1 for name in columns):
            wanted = f"expected the columns {','.join(columns)} once each"
            raise NlkitError(f"{path}: the header is {','.join(header)[:120]!r}; {wanted}")
        places = [header.index(name) for name in columns]
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            source = f"{path}, line {reader.line_num}"
            if len(row) != len(header):
                raise NlkitError(f"{source}: {len(row)} cells; the header has {len(header)}")
            yield source, tuple(_unguarded(_plain(row[place], source)) for place in places)
    except csv.Error as error:
        raise NlkitError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def _table(root: Path, table: Path, truth: str | None) -> list[Entry]:
    entries = []
    for source, (name, label, *rest) in read_table(table, _columns(truth)):
        entry = Entry(name, inside(root, name, source), label.strip(), rest[0].strip() if rest else None, source)
        if not entry.label or entry.truth == "":
            raise NlkitError(f"{source}: {name!r} has no label in the column '{truth if entry.label else 'label'}'")
        entries.append(entry)
    return entries


def _columns(truth: str | None) -> tuple[str, ...]:
    """The columns of a table of labels; raises NlkitError where that of the correct labels is one of the others."""
    if truth in ("path", "label"):
        raise NlkitError(f"--truth {truth}: must be a column other than 'path' and 'label'")
    return ("path", "label") if truth is None else ("path", "label", truth)


def _tree(root: Path) -> tuple[list[Entry], list[str]]:
    """Images below each sub-folder, whose name is the label; hidden files and folders are passed over."""
    entries, notes, classes, loose, others = list[Entry](), list[str](), list[str](), 0, list[str]()

    def unreadable(error: OSError) -> None:
        raise NlkitError(f"{error.filename}: cannot read the folder ({error.strerror})")

    for place, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place).relative_to(root)
        for name in folders:
            if (root / here / name).is_symlink():
                inside(root, str(here / name), str(root))
                notes.append(f"{root / here / name}: is a link to a folder and is passed over")
        images = image_names(files, root / here)
        if not here.parts:
            loose, classes = len(images), [name for name in folders if not (root / name).is_symlink()]
            continue
        others += [Path(name).suffix.lower() for name in {*files} - {*images} if name[0] != "."]
        for image in images:
            name = _plain((here / image).as_posix(), str(root))
            entries.append(Entry(name, inside(root, name, str(root)), here.parts[0], None, name))
    if loose:
        notes.append(f"{root}: {loose} images lie beside the class folders and are passed over")
    if empty := sorted(set(classes) - {entry.label for entry in entries}):
        notes.append(f"{root}: {len(empty)} folders hold no images ({SUFFIXES[0]}, ...), first {empty[0]!r}")
    if others:
        notes.append(f"{root}: {len(others)} files with other endings, {sorted({*others})[:5]}, are passed over")
    return entries, notes


@dataclass(frozen=True)
class FeatureRows:
    """Features float32 [N, d]; names, given labels and, where known, correct labels of their rows; what to tell."""

    features: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    truth: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def read_feature_file(path: Path) -> np.ndarray:
    """Features float32 [N, d] from `.npy`, or `.npz` with one array or a key 'features'; else raises NlkitError."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise NlkitError(f"{path}: the ending '{path.suffix}' is unknown; a file of features is .npy or .npz")
    features = read_array(path, "features")
    if features.ndim != 2 or 0 in features.shape:
        raise NlkitError(f"{path}: has the shape {features.shape}; features are one row an image, [N, d]")
    if features.dtype.kind != "f":
        raise NlkitError(f"{path}: holds {features.dtype}; features are floating-point numbers")
    return _finite(features, path)


def read_feature_rows(path: Path, table: Path | None, truth: str | None) -> FeatureRows:
    """Rows of `.parquet` (columns path, label and numbers), or of `.npz` or `.npy` with labels in a table or a key.

    A table `path,label` belongs to a parquet file by its paths, and to arrays by the order of its rows. Raises
    NlkitError for damaged files, numbers that are not finite, and rows that do not match.
    """
    columns, notes = _columns(truth), list[str]()
    listed = [] if table is None else [cells for _, cells in read_table(table, columns)]
    if path.suffix.lower() == ".parquet":
        features, rows, *notes = _parquet_rows(path, columns, needs_labels=table is None)
        if table is not None:
            labelled = {row[0]: row for row in reversed(listed)}
            if other := next((row for row in listed if row != labelled[row[0]]), None):
                raise NlkitError(f"{table}: {other[0]!r} has two labels, {other[1]!r} and {labelled[other[0]][1]!r}")
            if missing := [name for name, *_ in rows if name not in labelled]:
                raise NlkitError(f"{table}: no row for {len(missing)} paths of the features, first {missing[0]!r}")
            rows = [labelled[name] for name, *_ in rows]
    else:
        features = read_feature_file(path)
        rows = listed if table is not None else _numbered_rows(path, len(features), truth)
        if len(rows) != len(features):
            raise NlkitError(f"{table}: {len(rows)} rows; {path} has {len(features)}, in the same order")
    for row in rows:
        _plain("".join(row), str(table or path))
        if empty := [place for place, cell in enumerate(row) if place and not cell.strip()]:
            raise NlkitError(f"{table or path}: {row[0]!r} has no label in the column '{columns[empty[0]]}'")
    names, given, *correct = zip(*((row[0], *(cell.strip() for cell in row[1:])) for row in rows), strict=True)
    return FeatureRows(features, names, given, correct[0] if correct else None, tuple(notes))


def _numbered_rows(path: Path, count: int, truth: str | None) -> _Rows:
    """Rows (number, label) from the key 'labels' of a `.npz` file."""
    labels = read_npz(path).get("labels") if path.suffix.lower() == ".npz" else None
    if labels is None or labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise NlkitError(f"{path}: no whole numbers 'labels' [{count}] in it; name a table with --labels")
    if truth is not None:
        raise NlkitError(f"{path}: correct labels are a column of a table; name one with --labels")
    return [(str(row), str(label)) for row, label in enumerate(labels)]


def _parquet_rows(path: Path, columns: tuple[str, ...], needs_labels: bool) -> tuple[np.ndarray, _Rows, str]:
    """Features, the cells of these columns ('path' must be there, all where labels are needed), and a note."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = read_bytes(path)
    try:
        content = pq.read_table(pa.BufferReader(data)).to_pandas(ignore_metadata=True)
        indices = [name for name in content if re.fullmatch(r"__index_level_\d+__", name)]  # pandas adds them
        numbers = content.drop(columns=[*columns, *indices, "truth"], errors="ignore").select_dtypes("number")
        features = numbers.to_numpy(np.float32)
        text = content.reindex(columns=columns).astype(object)
        if needs_labels and "label" in content and content["label"].dtype.kind == "f":
            raise ValueError("the labels are floating-point numbers; whole numbers or texts are expected")
        rows = list(text.where(text.notna(), "").astype(str).itertuples(index=False, name=None))
    except Exception as error:  # a damaged file can raise almost anything
        raise NlkitError(f"{path}: not a parquet file of paths, labels and numbers ({reason(error)})") from None
    if "path" not in content or not features.size:
        raise NlkitError(f"{path}: expected a column 'path' and columns of numbers, one row an image")
    if len({row[0] for row in rows}) != len(rows):
        raise NlkitError(f"{path}: a path stands in two rows")
    lacking = next((name for name in columns if name not in content), None)
    if lacking is not None and needs_labels:
        raise NlkitError(f"{path}: no column '{lacking}'; name a table with --labels")
    first, last = (f"{name!r:.80}" for name in numbers.columns[[0, -1]])
    return _finite(features, path), rows, f"{path}: {features.shape[1]} numbers a row, columns {first} to {last}"


def _finite(features: np.ndarray, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = np.require(features, np.float32, "W")
    if not np.isfinite(found).all():
        raise NlkitError(f"{path}: row {int(np.argwhere(~np.isfinite(found))[0][0])} is not finite in float32")
    return found
