"""Run records: what a finished run leaves behind, written at once or not at all, and never edited."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nlkit.errors import NlkitError

FORMAT = 1
LIMIT = 2 * 1024 * 1024
TIMES = ("seconds", "peak_memory_mb", "started", "finished", "commit", "files", "versions", "device")
KEYS = (
    "paper", "cell", "seed", "params", "params_sha256", "accuracy", "split", "noise", "data", "seconds",
    "peak_memory_mb", "device", "versions", "commit", "started", "finished", "events", "network", "files",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """record.json as a dictionary, and the two tables beside it."""

    info: dict[str, Any]
    epochs: pd.DataFrame
    samples: pd.DataFrame
    folder: Path


def write(folder: Path, info: Mapping[str, Any], epochs: pd.DataFrame, samples: pd.DataFrame) -> Record:
    """Write a record to a folder; record.json is renamed into place last and marks the record as complete.

    Raises NlkitError where the folder cannot be written or the record would exceed 2 MB.
    """
    tables = {"epochs.parquet": epochs, "samples.parquet": samples}
    blobs = {name: _parquet(table) for name, table in tables.items()}
    files = {name: hashlib.sha256(blob).hexdigest() for name, blob in blobs.items()}
    complete = {"format": FORMAT, **info, "files": files}
    blobs["record.json"] = (json.dumps(complete, indent=1, sort_keys=True) + "\n").encode()
    total = sum(map(len, blobs.values()))
    if total > LIMIT:
        raise NlkitError(f"{folder}: the record takes {total} bytes, more than {LIMIT}; record fewer snapshots")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
            for name, blob in blobs.items():
                _write_synced(Path(temporary, name), blob)
            (folder / "record.json").unlink(missing_ok=True)
            for name in blobs:
                os.replace(Path(temporary, name), folder / name)
    except OSError as error:
        raise NlkitError(f"{folder}: cannot write the record ({error.strerror})") from None
    return Record(complete, epochs, samples, folder)


def load(folder: Path) -> Record:
    """Read and check a record; raises NlkitError where it is missing, damaged or of an unknown format."""
    path = folder / "record.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NlkitError(f"{path}: no record there ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise NlkitError(f"{path}: not valid JSON; the record is damaged, run it again") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT or any(key not in info for key in KEYS):
        raise NlkitError(f"{path}: not a run record of format {FORMAT}")
    return Record(info, _table(folder, "epochs", info), _table(folder, "samples", info), folder)


def find(root: Path) -> list[Record]:
    """All records below a folder, by path."""
    return [load(path.parent) for path in sorted(root.rglob("record.json"))]


def adopt(folder: Path, results: Path) -> Path:
    """Check a finished record and copy it to `results/<paper>/<cell>/seed-<k>`; an existing one is kept."""
    record = load(folder)
    target = results / record.info["paper"] / record.info["cell"] / f"seed-{record.info['seed']}"
    if target.exists():
        raise NlkitError(f"{target}: a record is there already and is never edited; remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".adopting-") as temporary:
        copy = Path(temporary) / "record"
        copy.mkdir()
        for name in ("epochs.parquet", "samples.parquet", "record.json"):
            shutil.copy2(folder / name, copy / name)
        os.replace(copy, target)
    return target


def differences(a: Record, b: Record) -> list[str]:
    """What differs between two records apart from times, machine and versions; empty when they agree."""
    found = [key for key in KEYS if key not in TIMES and a.info.get(key) != b.info.get(key)]
    for name in ("epochs", "samples"):
        left, right = (getattr(one, name).drop(columns="seconds", errors="ignore") for one in (a, b))
        if list(left.columns) != list(right.columns) or len(left) != len(right):
            found.append(name)
        else:
            found += [f"{name}.{column}" for column in left if not _equal(left[column], right[column])]
    return found


def _equal(left: pd.Series, right: pd.Series) -> bool:
    if left.dtype == object:
        return all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))
    return bool(np.array_equal(left.to_numpy(), right.to_numpy(), equal_nan=left.dtype.kind == "f"))


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


def _write_synced(path: Path, blob: bytes) -> None:
    with path.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())


def _table(folder: Path, name: str, info: Mapping[str, Any]) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise NlkitError(f"{path}: missing from the record ({error.strerror})") from None
    if hashlib.sha256(blob).hexdigest() != info["files"].get(path.name):
        raise NlkitError(f"{path}: content does not match record.json; the record is damaged, run it again")
    return pq.read_table(BytesIO(blob)).to_pandas()
