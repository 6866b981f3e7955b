"""A table of frozen features with given labels, from a file of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nlkit.data.arrays import read_npz
from nlkit.data.features import read_feature_file
from nlkit.data.files import read_bytes, reason
from nlkit.data.listing import read_table
from nlkit.errors import NlkitError


@dataclass(frozen=True)
class FeatureRows:
    """Features float32 [N, d] with names, given labels and, where known, correct labels of their rows."""

    features: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    truth: tuple[str, ...] | None


def read_feature_rows(path: Path, table: Path | None, truth: str | None) -> FeatureRows:
    """Rows of `.parquet` (columns path, label and numbers), or of `.npz` or `.npy` with labels in a table or a key.

    A table `path,label` belongs to a parquet file by its paths, and to arrays by the order of its rows. Raises
    NlkitError for damaged files, numbers that are not finite, and rows that do not match.
    """
    if path.suffix.lower() == ".parquet":
        names, columns, features = _parquet(path)
        given = _by_path(table, truth, names) if table is not None else _own_labels(path, columns, truth)
        return FeatureRows(features, names, *given)
    features = read_feature_file(path)
    if table is not None:
        rows = [cells for _, cells in read_table(table, ("path", "label", *([truth] if truth else [])))]
        if len(rows) != len(features):
            raise NlkitError(f"{table}: {len(rows)} rows; {path} has {len(features)}, in the same order")
        return FeatureRows(features, tuple(row[0] for row in rows), *_columns(rows, truth, str(table)))
    arrays = read_npz(path) if path.suffix.lower() == ".npz" else {}
    labels = arrays.get("labels")
    if labels is None or labels.dtype.kind not in "iu" or labels.shape != (len(features),):
        raise NlkitError(f"{path}: no whole numbers 'labels' [{len(features)}] in it; name a table with --labels")
    if truth is not None:
        raise NlkitError(f"{path}: correct labels are a column of a table; name one with --labels")
    return FeatureRows(features, tuple(map(str, range(len(features)))), tuple(str(label) for label in labels), None)


def _parquet(path: Path) -> tuple[tuple[str, ...], dict[str, list[str]], np.ndarray]:
    """Paths, columns of text, and the numeric columns as features, in the order of the file."""
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(path)))
        names = [str(name) for name in table.column("path").to_pylist()] if "path" in table.column_names else None
        text, numbers = {}, []
        for name in table.column_names:
            kind = table.schema.field(name).type
            if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and name not in ("label", "truth")):
                numbers.append(table.column(name).to_numpy().astype(np.float32))
            elif name != "path":
                text[name] = [str(value) for value in table.column(name).to_pylist()]
    except NlkitError:
        raise
    except Exception as error:  # a damaged file can raise almost anything
        raise NlkitError(f"{path}: not a parquet file of paths, labels and numbers ({reason(error)})") from None
    if names is None or not numbers or not names:
        raise NlkitError(f"{path}: expected a column 'path' and columns of numbers, one row an image")
    if len(set(names)) != len(names):
        raise NlkitError(f"{path}: a path stands in two rows")
    features = np.stack(numbers, axis=1)
    if not np.isfinite(features).all():
        raise NlkitError(
            f"{path}: row {int(np.argwhere(~np.isfinite(features))[0][0])} has a number that is not finite"
        )
    return tuple(names), text, features


Labels = tuple[tuple[str, ...], tuple[str, ...] | None]


def _own_labels(path: Path, columns: dict[str, list[str]], truth: str | None) -> Labels:
    for name in ("label", *([truth] if truth else [])):
        if name not in columns:
            raise NlkitError(f"{path}: no column '{name}'; name a table with --labels")
    return tuple(columns["label"]), tuple(columns[truth]) if truth else None


def _by_path(table: Path, truth: str | None, names: tuple[str, ...]) -> Labels:
    rows = {cells[0]: cells for _, cells in read_table(table, ("path", "label", *([truth] if truth else [])))}
    missing = [name for name in names if name not in rows]
    if missing:
        raise NlkitError(f"{table}: no row for {len(missing)} paths of the features, first {missing[0]!r}")
    return _columns([rows[name] for name in names], truth, str(table))


def _columns(rows: list[tuple[str, ...]], truth: str | None, source: str) -> Labels:
    empty = next((row[0] for row in rows if not all(cell.strip() for cell in row[1:])), None)
    if empty is not None:
        raise NlkitError(f"{source}: {empty!r} has no label")
    return tuple(row[1].strip() for row in rows), tuple(row[2].strip() for row in rows) if truth else None
