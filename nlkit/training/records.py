"""Run records: what a finished run leaves behind, written at once or not at all, and never edited."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from nlkit.errors import NlkitError
from nlkit.files import file_lock, project_root, read_bytes, replaced_file
from nlkit.params import Params, deviation, first_problem, make_params

FORMAT = 2
UNSEALED = 1  # the format of the first records, which carry no hash of themselves
LIMIT = 2 * 1024 * 1024
FILES = ("record.json", "epochs.parquet", "samples.parquet")
LOSS_EDGES = np.concatenate([[0.0], np.logspace(-4, 1.25, 64), [np.inf]])  # [66], of the loss histograms of an epoch
TIMES = ("seconds", "peak_memory_mb", "started", "finished", "commit", "files", "versions", "device")


class RecordInfo(BaseModel):
    """What record.json holds: these keys must be there and of this kind; more may be."""

    model_config = ConfigDict(extra="allow", strict=True)

    paper: str
    cell: str
    seed: int
    params: dict[str, Any]
    params_sha256: str
    accuracy: dict[str, float | None]
    split: dict[str, float | None]
    noise: dict[str, Any]
    data: dict[str, Any]
    network: dict[str, Any]
    device: dict[str, Any]
    precision: str
    seconds: float
    peak_memory_mb: float
    versions: dict[str, str]
    commit: str | None
    started: str
    finished: str
    events: list[str]
    files: dict[str, str]
    encoder: dict[str, Any] | None = None


NEEDED = {
    "accuracy": ("last", "best", "last_single", "best_single"),
    "noise": ("nominal", "realised", "sha256"),
    "data": ("name", "sha256", "train", "classes", "warnings"),
    "network": ("name", "parameters"),
    "device": ("type", "name"),
}
"""What the groups in record.json hold at least."""


@dataclass(frozen=True)
class Record:
    """record.json as a dictionary, and the two tables beside it, which are decoded when they are first asked for."""

    info: dict[str, Any] = field(repr=False)
    tables: Mapping[str, bytes] = field(repr=False)
    folder: Path

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row an epoch: accuracies, the split, histograms of losses, the mixture."""
        return self._table("epochs.parquet")

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row a training image: labels, and at each snapshot loss, P(clean) and prediction."""
        return self._table("samples.parquet")

    def _table(self, name: str) -> pd.DataFrame:
        # Arrow's threads can end a process with an error, or never, if they have read from an object of Python's.
        return pd.read_parquet(pa.BufferReader(self.tables[name]), use_threads=False)


def write(
    folder: Path, info: Mapping[str, Any], epochs: pd.DataFrame, samples: pd.DataFrame, limit: int | None = LIMIT
) -> Record:
    """Write a record to a folder; raises NlkitError where it cannot be written or takes more than `limit` bytes."""
    tables = {}
    for name, frame in zip(FILES[1:], (epochs, samples), strict=True):
        # Numbers that nearly all differ take a third less space byte by byte than through a dictionary of values.
        split = [str(column) for column in frame if frame[column].dtype.kind in "iuf"]
        tables[name] = frame.to_parquet(
            index=False, compression="zstd", use_dictionary=False, use_byte_stream_split=split
        )
    files = {name: hashlib.sha256(blob).hexdigest() for name, blob in tables.items()}
    complete = _sealed({"format": FORMAT, **info, "files": files})
    blobs = tables | {"record.json": (json.dumps(complete, indent=1, sort_keys=True) + "\n").encode()}
    if limit is not None and (total := sum(map(len, blobs.values()))) > limit:
        raise NlkitError(f"{folder}: the record takes {total} bytes, more than {limit}; record fewer snapshots")
    try:
        _put(folder, blobs)
    except OSError as error:
        raise NlkitError(f"{folder}: cannot write the record ({error.strerror})") from None
    return Record(complete, tables, folder)


def _put(folder: Path, blobs: Mapping[str, bytes]) -> None:
    """Write all FILES, then put them into place; record.json comes last and marks the record as complete."""
    with ExitStack() as places:  # are left in reverse order
        for name in FILES:
            places.enter_context(replaced_file(folder / name)).write_bytes(blobs[name])
        (folder / "record.json").unlink(missing_ok=True)


def _sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """The same with `sha256`, a hash over everything else, by which a damaged value is noticed."""
    rest = {key: value for key, value in json.loads(json.dumps(info)).items() if key != "sha256"}
    return {**rest, "sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def load(folder: Path) -> Record:
    """Read and check the record of a folder, or of its record.json; NlkitError where it is missing or damaged."""
    folder = folder.parent if folder.name == "record.json" and os.path.isfile(folder) else folder
    path = folder / "record.json"
    if not os.path.exists(path):
        raise NlkitError(f"{path}: no record there")
    try:
        info = json.loads(read_bytes(path))
    except (ValueError, RecursionError):
        raise NlkitError(f"{path}: not valid JSON; the record is damaged, run it again") from None
    if not isinstance(info, dict) or info.get("format") not in (UNSEALED, FORMAT):
        raise NlkitError(f"{path}: not a run record of format {UNSEALED} or {FORMAT}")
    try:
        RecordInfo.model_validate(info)
    except ValidationError as error:
        raise NlkitError(f"{path}: {first_problem(error)}; the record is damaged, run it again") from None
    if lacking := [f"{group}.{key}" for group, keys in NEEDED.items() for key in keys if key not in info[group]]:
        raise NlkitError(f"{path}: key '{lacking[0]}' is missing; the record is damaged, run it again")
    if (info["format"] != UNSEALED or "sha256" in info) and info != _sealed(info):
        raise NlkitError(f"{path}: content does not match its own sha256; the record is damaged, run it again")
    return Record(info, {name: _table(folder / name, info) for name in FILES[1:]}, folder)


def run_path(params: Params[Any]) -> Path:
    """Where a run belongs below `runs/` or `results/`."""
    return Path(params.paper) / params.cell / f"seed-{params.seed}"


def committed(params: Params[Any]) -> Record | None:
    """The committed record of the very same parameters, if there is one."""
    folder = project_root() / "results" / run_path(params)
    record = load(folder) if (folder / "record.json").exists() else None
    return record if record is not None and record.info["params_sha256"] == params.digest else None


def adopt(folder: Path, results: Path) -> Path:
    """Check a finished record and copy it to `results/<paper>/<cell>/seed-<k>`; an existing one is kept.

    Raises NlkitError for a damaged record, and for one that is no run of the project's `params/<paper>/<cell>.yaml`.
    """
    record = load(folder)
    info, path = record.info, record.folder / "record.json"
    blobs = {name: read_bytes(record.folder / name) for name in FILES}
    if "sha256" not in info:
        raise NlkitError(f"{path}: carries no sha256 of itself; run it again")
    params = make_params(info["params"], {}, source=str(path))
    found = tuple(info[key] for key in ("paper", "cell", "seed", "params_sha256"))
    if found != (params.paper, params.cell, params.seed, params.digest):
        raise NlkitError(f"{path}: paper, cell, seed or hash are not those of its own params")
    if why := deviation(params):
        raise NlkitError(f"{path}: {why}; only runs of the project's parameter files are adopted")
    target = results / run_path(params)
    with file_lock(results.parent / "runs" / "adopt"):
        if (target / "record.json").exists():
            raise NlkitError(f"{target}: a record is there already and is never edited; remove it first")
        for name in FILES[1:]:
            if (target / name).exists() and read_bytes(target / name) != blobs[name]:
                raise NlkitError(f"{target / name}: is there already and belongs to another run; remove it first")
        try:
            _put(target, blobs)
        except OSError as error:
            raise NlkitError(f"{target}: cannot write there ({error.strerror})") from None
    return target


def shown(value: float | None, form: str) -> str:
    """A value of a record for readers, in Python's format `form`."""
    return "unknown" if value is None else format(value, form)


def facts(record: Record) -> list[tuple[str, str]]:
    """What a reader of a record asks first, by name; raises NlkitError for values of another kind than ours."""
    info = record.info
    noise, split, accuracy = info["noise"], info["split"], info["accuracy"]
    try:
        rates = ", ".join(f"{name} {shown(noise[name], '.4f')}" for name in ("nominal", "realised"))
        percent = (f"{name} {shown(value, '.2f')}" for name, value in accuracy.items() if name != "best_epoch")
        rows = {
            "run": f"{info['paper']} {info['cell']} seed {info['seed']}",
            "accuracy": ", ".join(percent),
            "split": ", ".join(f"{name} {shown(value, '.4f')}" for name, value in split.items()),
            "noise": f"{rates}, {noise['sha256'][:16]}",
            "time": f"{info['seconds']:.0f} s on {info['device']['name']}, {info['precision']}",
            "commit": f"{info['commit']}, {info['started']} to {info['finished']}",
            "events": str(len(info["events"])),
        }
        return [*rows.items(), *(("warning", str(text)) for text in info["data"]["warnings"])]
    except (TypeError, ValueError, KeyError) as error:
        raise NlkitError(f"{record.folder / 'record.json'}: values of another kind ({error})") from None


def differences(a: Record, b: Record) -> list[str]:
    """What differs between two records apart from times, machine and versions; empty when they agree.

    Values that one of them keeps in half precision are compared in it.
    """
    found = [key for key in RecordInfo.model_fields if key not in TIMES and _fact(a, key) != _fact(b, key)]
    for name in ("epochs", "samples"):
        frames = [getattr(one, name).drop(columns="seconds", errors="ignore") for one in (a, b)]
        halved = {column for frame in frames for column in frame if frame[column].dtype == np.float16}
        halves = (frame.astype({column: np.float16 for column in halved if column in frame}) for frame in frames)
        left, right = (pa.Table.from_pandas(frame, preserve_index=False) for frame in halves)
        if left.column_names != right.column_names or len(left) != len(right):
            found.append(name)
        else:
            found += [f"{name}.{column}" for column in left.column_names if left[column] != right[column]]
    return found


def _fact(record: Record, key: str) -> Any:
    """A value of record.json, without the time that an encoder took."""
    value = record.info.get(key)
    return {name: part for name, part in value.items() if name != "seconds"} if key == "encoder" and value else value


def _table(path: Path, info: Mapping[str, Any]) -> bytes:
    blob = read_bytes(path)
    if hashlib.sha256(blob).hexdigest() != info["files"].get(path.name):
        raise NlkitError(f"{path}: content does not match record.json; the record is damaged, run it again")
    return blob
