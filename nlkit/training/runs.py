"""From parameters to a run: load its record, resume it, or train it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nlkit.data import data_root, load_dataset
from nlkit.errors import NlkitError
from nlkit.files import check_writable, project_root
from nlkit.lazy import torch
from nlkit.params import Params, make_params, view_side
from nlkit.params.data import FolderDataParams, PhotoDataParams
from nlkit.params.noise import NoiseParams
from nlkit.training import encoders, records
from nlkit.training.allocator import keep_freed_memory
from nlkit.training.provenance import commit, describe_device, peak_memory_mb, versions

if TYPE_CHECKING:
    from nlkit.data.problem import Problem
    from nlkit.training.loop import Fit


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and where it came from."""

    params: Params[Any]
    record: dict[str, Any]
    epochs: pd.DataFrame
    samples: pd.DataFrame
    folder: Path
    origin: Literal["trained", "resumed", "loaded"]

    def problem(self, data: str | Path | None = None) -> Problem:
        """The images of the run with the labels in its record, on the CPU; needed for galleries only."""
        from nlkit.training.problem import load_problem

        whole = load_problem(
            self.params.data, NoiseParams(kind="none"), data_root(data), torch.device("cpu"), view_side(self.params)
        )
        labels = torch.from_numpy(self.samples["noisy"].to_numpy(np.int64))
        return replace(whole, train=replace(whole.train, labels=labels))

    def images(self, data: str | Path | None = None) -> Any:
        """The training images alone, for galleries: item i is uint8 [H, W, C]; NlkitError where they are not here."""
        own = self.params.data
        if isinstance(own, FolderDataParams | PhotoDataParams):
            return self.problem(data).train.images
        return load_dataset(own.name, data_root(data)).images[: own.train_size]


def run(
    params: Params[Any],
    out: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    fresh: bool = False,
    progress: bool = True,
) -> Run:
    """Train, resume what was interrupted, or load the record of the very same parameters.

    `fresh` starts from nothing and replaces what stands in the output folder; a pre-trained encoder that the
    parameters refer to is made where it is missing. Raises NlkitError for missing data, a folder that belongs to
    other parameters, or one that cannot be written.
    """
    folder = Path(out) if out is not None else project_root() / "runs" / run_path(params)
    pretraining = encoders.referred(params)
    if not fresh:
        found = _existing(params, pretraining, folder, search_results=out is None)
        if found is not None:
            return found
    from nlkit.training.problem import load_problem

    root = data_root(data)
    problem = load_problem(params.data, params.noise, root, choose_device(device), view_side(params), progress)
    return _train(problem, params, pretraining, folder, root, fresh, progress)


def train(
    problem: Problem,
    params: Params[Any],
    folder: Path,
    root: Path,
    fresh: bool = False,
    progress: bool = True,
    keep: Callable[[Fit], None] | None = None,
) -> Run:
    """Train, or resume, on a problem in memory and write the record.

    `root` is that of the data. `keep` is called with the trained method before the record marks the run as finished.
    """
    return _train(problem, params, encoders.referred(params), folder, root, fresh, progress, keep)


def _train(
    problem: Problem,
    params: Params[Any],
    pretraining: Params[Any] | None,
    folder: Path,
    root: Path,
    fresh: bool,
    progress: bool,
    keep: Callable[[Fit], None] | None = None,
) -> Run:
    from nlkit.training.loop import cpu_threads, fit

    check_writable(folder, f"--out {folder}")
    if fresh:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    encoder = encoders.for_run(params, pretraining, problem, root, progress)
    if encoder is not None:
        problem = replace(problem, train=replace(problem.train, encoder=encoder.tensors))
    if problem.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with cpu_threads(params.training.threads):
        state = fit(problem, params, folder, progress)
        if keep is not None:
            keep(state)
        if params.method.pretrains:
            encoder = encoders.keep(state, params, problem.sha256)
        record = _write_record(state, problem, params, folder, encoder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return _as_run(record, params, "resumed" if state.resumed else "trained")


def load_run(folder: str | Path) -> Run:
    """The run of a record; raises NlkitError where the record is missing or damaged."""
    record = records.load(Path(folder))
    return _as_run(record, make_params(record.info["params"], {}, source=str(record.folder / "record.json")), "loaded")


def run_path(params: Params[Any]) -> Path:
    """Where a run belongs below `runs/` or `results/`."""
    return Path(params.paper) / params.cell / f"seed-{params.seed}"


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one; raises NlkitError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise NlkitError("--device cuda: no GPU that torch can use; take --device auto or cpu")
    if name not in ("cpu", "cuda"):
        raise NlkitError(f"--device {name}: expected auto, cpu or cuda")
    return torch.device(name)


def _existing(params: Params[Any], pretraining: Params[Any] | None, folder: Path, search_results: bool) -> Run | None:
    if os.path.exists(folder / "record.json"):
        record = records.load(folder)
        if record.info["params_sha256"] != params.digest:
            key = first_difference(record.info["params"], params.model_dump(mode="json"))
            raise NlkitError(
                f"{folder}: holds the record of other parameters ({key}); "
                "choose another --out, or --fresh to replace it"
            )
        if not _same_encoder(record, pretraining):
            raise NlkitError(
                f"{folder}: holds the record of a run with another encoder (what method.encoder refers to has "
                "changed since); choose another --out, or --fresh to replace it"
            )
        records.sweep(folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return _as_run(record, params, "loaded")
    committed = project_root() / "results" / run_path(params)
    if search_results and (committed / "record.json").exists():
        record = records.load(committed)
        if record.info["params_sha256"] == params.digest and _same_encoder(record, pretraining):
            return _as_run(record, params, "loaded")
    return None


def _same_encoder(record: records.Record, pretraining: Params[Any] | None) -> bool:
    """Whether a run started from an encoder of these parameters, or needs none."""
    known = record.info.get("encoder") or {}
    return pretraining is None or known.get("params_sha256") == encoders.identity(pretraining)


def first_difference(theirs: Any, ours: Any, key: str = "") -> str:
    """The first key in which two nested parameter dictionaries differ, with both values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            if theirs.get(name) != ours.get(name):
                return first_difference(theirs.get(name), ours.get(name), f"{key}.{name}" if key else name)
    return f"{key}: {theirs} there, {ours} here"


def _as_run(record: records.Record, params: Params[Any], origin: Literal["trained", "resumed", "loaded"]) -> Run:
    return Run(params, record.info, record.epochs, record.samples, record.folder, origin)


def _write_record(
    state: Fit, problem: Problem, params: Params[Any], folder: Path, encoder: encoders.Encoder | None
) -> records.Record:
    from nlkit.parts import learner
    from nlkit.training import measure

    assert state.split is not None
    epochs = pd.DataFrame(state.rows)
    samples = measure.sample_table(problem, state.method, state.split, state.snapshots)
    device = problem.device
    last = epochs.iloc[-1]
    info: dict[str, Any] = {
        "paper": params.paper,
        "cell": params.cell,
        "seed": params.seed,
        "params": params.model_dump(mode="json"),
        "params_sha256": params.digest,
        "accuracy": measure.summary(epochs),
        "split": {name: _number(last[name]) for name in ("auc", "precision", "recall")},
        "noise": {
            "kind": params.noise.kind,
            "nominal": problem.noise.nominal,
            "realised": problem.noise.realised,
            "sha256": problem.noise.sha256,
        },
        "data": {
            "name": problem.dataset,
            "sha256": problem.sha256,
            "train": len(problem.train),
            "test": {name: len(labels) for name, (_, labels) in problem.tests.items()},
            "classes": list(problem.class_names),
            "warnings": list(problem.warnings),
        },
        "network": {"name": params.model.name, "parameters": state.method.parameters()},
        "seconds": float(epochs["seconds"].sum()),
        "peak_memory_mb": peak_memory_mb(device),
        "device": describe_device(device) | ({"allocator": keep_freed_memory()} if device.type == "cpu" else {}),
        "precision": str(learner.choose_precision(params.training.precision, device)).removeprefix("torch."),
        "versions": versions(),
        "commit": commit(),
        "started": state.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": state.method.events,
    }
    if encoder is not None:
        info["encoder"] = encoder.summary()
    weights = getattr(params.model, "weights", None)
    if weights is not None:
        from nlkit.models.weights import weights_sha256

        info["network"]["weights"] = weights_sha256(weights)
    limit = None if isinstance(params.data, FolderDataParams) else records.LIMIT
    return records.write(folder, info, epochs, samples, limit)


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
