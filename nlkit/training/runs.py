"""From parameters to a run: load its record, resume it, or train it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from nlkit.data import data_root, load_dataset
from nlkit.data.folder import load_folder
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import project_root
from nlkit.methods import LRADiffusion, Method
from nlkit.models import build_network
from nlkit.models.weights import weights_sha256
from nlkit.params import Params, make_params, view_side
from nlkit.params.data import FolderDataParams, PhotoDataParams
from nlkit.params.noise import NoiseParams
from nlkit.params.pretrain import PretrainParams
from nlkit.params.training import PhotoModelParams
from nlkit.parts.learner import choose_precision
from nlkit.training import encoders, measure, records
from nlkit.training.loop import Fit, cpu_threads, fit
from nlkit.training.problem import load_problem
from nlkit.training.provenance import commit, describe_device, peak_memory_mb, versions


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and where it came from."""

    params: Params
    record: dict[str, Any]
    epochs: pd.DataFrame
    samples: pd.DataFrame
    folder: Path
    origin: Literal["trained", "resumed", "loaded"]

    def problem(self, data: str | Path | None = None) -> Problem:
        """The images of the run with the labels in its record, on the CPU; needed for galleries only."""
        whole = load_problem(
            self.params.data, NoiseParams(kind="none"), data_root(data), torch.device("cpu"), view_side(self.params)
        )
        labels = torch.from_numpy(self.samples["noisy"].to_numpy(np.int64))
        return replace(whole, train=replace(whole.train, labels=labels))

    def images(self, data: str | Path | None = None) -> Any:
        """The training images of the run, one by one: item i is uint8 [H, W, C]; needed for galleries only.

        Nothing but these is loaded. Raises NlkitError where they are not on this machine.
        """
        if isinstance(self.params.data, FolderDataParams):
            return load_folder(self.params.data).train.images
        if isinstance(self.params.data, PhotoDataParams):
            return self.problem(data).train.images
        return load_dataset(self.params.data.name, data_root(data)).images[: self.params.data.train_size]


def run(
    params: Params,
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
    problem = load_problem(
        params.data, params.noise, data_root(data), choose_device(device), view_side(params), progress
    )
    return train(problem, params, folder, data_root(data), fresh, progress)


def train(
    problem: Problem,
    params: Params,
    folder: Path,
    root: Path,
    fresh: bool = False,
    progress: bool = True,
    keep: Callable[[Fit], None] | None = None,
) -> Run:
    """Train, or resume, on a problem in memory and write the record.

    `root` is that of the data. `keep` is called with the trained method before the record marks the run as finished.
    """
    prepare_folder(folder)
    if fresh:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    pretraining = encoders.referred(params)
    encoder = encoders.from_files(params, problem, root)
    if pretraining is not None:
        encoder = encoders.provide(pretraining, root, problem.device, progress)
    if encoder is not None:
        problem = replace(problem, train=replace(problem.train, encoder=encoder.tensors))
    if problem.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with cpu_threads(params.training.threads):
        state = fit(problem, params, folder, progress)
        if keep is not None:
            keep(state)
        if isinstance(params.method, PretrainParams):
            encoder = encoders.keep(state, params, problem.sha256)
        record = _write_record(state, problem, params, folder, encoder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return _as_run(record, "resumed" if state.resumed else "trained")


def load_run(folder: str | Path) -> Run:
    """The run of a record; raises NlkitError where the record is missing or damaged."""
    return _as_run(records.load(Path(folder)), "loaded")


def run_path(params: Params) -> Path:
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


def prepare_folder(folder: Path) -> None:
    """Make the output folder and prove that it can be written, before any training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        raise NlkitError(f"--out {folder}: cannot write there ({error})") from None


def _existing(params: Params, pretraining: Params | None, folder: Path, search_results: bool) -> Run | None:
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
        return _as_run(record, "loaded")
    committed = project_root() / "results" / run_path(params)
    if search_results and (committed / "record.json").exists():
        record = records.load(committed)
        if record.info["params_sha256"] == params.digest and _same_encoder(record, pretraining):
            return _as_run(record, "loaded")
    return None


def _same_encoder(record: records.Record, pretraining: Params | None) -> bool:
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


def _as_run(record: records.Record, origin: Literal["trained", "resumed", "loaded"]) -> Run:
    params = make_params(record.info["params"], {}, source=str(record.folder / "record.json"))
    return Run(params, record.info, record.epochs, record.samples, record.folder, origin)


def _write_record(
    state: Fit, problem: Problem, params: Params, folder: Path, encoder: encoders.Encoder | None
) -> records.Record:
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
        "network": {"name": params.model.name, "parameters": count_parameters(params, problem, state.method)},
        "seconds": float(epochs["seconds"].sum()),
        "peak_memory_mb": peak_memory_mb(device),
        "device": describe_device(device),
        "precision": str(choose_precision(params.training.precision, device)).removeprefix("torch."),
        "versions": versions(),
        "commit": commit(),
        "started": state.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "events": state.method.events,
    }
    if encoder is not None:
        info["encoder"] = encoder.summary()
    if isinstance(params.model, PhotoModelParams) and params.model.weights is not None:
        info["network"]["weights"] = weights_sha256(params.model.weights)
    limit = None if isinstance(params.data, FolderDataParams) else records.LIMIT
    return records.write(folder, info, epochs, samples, limit)


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def count_parameters(params: Params, problem: Problem, method: Method) -> int:
    """Parameters of one network of the run."""
    if isinstance(method, LRADiffusion):  # their number depends on the features of its frozen encoder
        return sum(weight.numel() for weight in method.learner.net.parameters())
    channels = problem.train.images.shape[3]
    net = build_network(params, channels, problem.train.classes, seed=0)
    return sum(weight.numel() for weight in net.parameters())
