"""Features of images, made elsewhere, from a file of one's own; with given labels where they stand beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nlkit.data.files import read_array, read_bytes, read_npz, reason
from nlkit.data.listing import read_table
from nlkit.errors import NlkitError

Labels = tuple[tuple[str, ...], tuple[str, ...] | None]
"""Given labels and, where known, correct ones."""


@dataclass(frozen=True)
class FeatureRows:
    """Features float32 [N, d] with names, given labels and, where known, correct labels of their rows."""

    features: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    truth: tuple[str, ...] | None


def read_feature_file(path: Path) -> np.ndarray:
    """Features float32 [N, d] from `.npy`, or from `.npz` with one array or a key 'features'.

    Raises NlkitError for a missing or damaged file, another ending, another number of axes, an empty array, integers,
    or values that are not finite.
    """
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
    if path.suffix.lower() == ".parquet":
        return _parquet_rows(path, table, truth)
    features = read_feature_file(path)
    if table is not None:
        rows = _table_rows(table, truth)
        if len(rows) != len(features):
            raise NlkitError(f"{table}: {len(rows)} rows; {path} has {len(features)}, in the same order")
        return FeatureRows(features, tuple(row[0] for row in rows), *_labels(rows, str(table)))
    labels = read_npz(path).get("labels") if path.suffix.lower() == ".npz" else None
    if labels is None or labels.dtype.kind not in "iu" or labels.shape != (len(features),):
        raise NlkitError(f"{path}: no whole numbers 'labels' [{len(features)}] in it; name a table with --labels")
    if truth is not None:
        raise NlkitError(f"{path}: correct labels are a column of a table; name one with --labels")
    return FeatureRows(features, tuple(map(str, range(len(features)))), tuple(str(label) for label in labels), None)


def _parquet_rows(path: Path, table: Path | None, truth: str | None) -> FeatureRows:
    text = ["path", "label", *([truth] if truth else [])]
    try:
        content = pq.read_table(pa.BufferReader(read_bytes(path))).to_pandas(ignore_metadata=True)
        numbers = content.drop(columns=[*text, "truth"], errors="ignore").select_dtypes("number")
        features = numbers.to_numpy(np.float32)
        columns = content.reindex(columns=text).astype(object)
        rows = list(columns.where(columns.notna(), "").astype(str).itertuples(index=False, name=None))
    except NlkitError:
        raise
    except Exception as error:  # a damaged file can raise almost anything
        raise NlkitError(f"{path}: not a parquet file of paths, labels and numbers ({reason(error)})") from None
    if "path" not in content or not features.size:
        raise NlkitError(f"{path}: expected a column 'path' and columns of numbers, one row an image")
    names = tuple(row[0] for row in rows)
    if len(set(names)) != len(names):
        raise NlkitError(f"{path}: a path stands in two rows")
    if table is not None:
        return FeatureRows(_finite(features, path), names, *_labels(_by_path(table, truth, names), str(table)))
    lacking = next((name for name in text if name not in content), None)
    if lacking is not None:
        raise NlkitError(f"{path}: no column '{lacking}'; name a table with --labels")
    return FeatureRows(_finite(features, path), names, *_labels(rows, str(path)))


def _table_rows(table: Path, truth: str | None) -> list[tuple[str, ...]]:
    return [cells for _, cells in read_table(table, ("path", "label", *([truth] if truth else [])))]


def _by_path(table: Path, truth: str | None, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    rows = {row[0]: row for row in _table_rows(table, truth)}
    missing = [name for name in names if name not in rows]
    if missing:
        raise NlkitError(f"{table}: no row for {len(missing)} paths of the features, first {missing[0]!r}")
    return [rows[name] for name in names]


def _labels(rows: list[tuple[str, ...]], source: str) -> Labels:
    """Given and correct labels of rows (path, label) or (path, label, truth)."""
    empty = next((row[0] for row in rows if not all(cell.strip() for cell in row[1:])), None)
    if empty is not None:
        raise NlkitError(f"{source}: {empty!r} has no label")
    given, *correct = zip(*(tuple(cell.strip() for cell in row[1:]) for row in rows), strict=True)
    return given, correct[0] if correct else None


def _finite(features: np.ndarray, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = features.astype(np.float32)
    if not np.isfinite(found).all():
        raise NlkitError(f"{path}: row {int(np.argwhere(~np.isfinite(found))[0][0])} is not finite in float32")
    return found
