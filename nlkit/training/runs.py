"""From parameters to a run: load its record, resume it, or train it."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nlkit import parallel
from nlkit.data import data_root, load_dataset
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import as_path, project_root
from nlkit.lazy import Device, torch
from nlkit.outputs import NEW, OWNER, owned_folder, remove_checkpoints, swapped
from nlkit.params import Params, deviation, first_difference, make_params
from nlkit.params.sections import DataParams, NoiseParams
from nlkit.training import encoders, records
from nlkit.training.loop import Fit, cpu_threads, fit
from nlkit.training.problem import load_problem
from nlkit.training.provenance import keep_freed_memory, write_record
from nlkit.training.records import run_path

MODEST_WIDTH, MODEST_PIXELS = 128, 2**24
"""Channels of the first stage, and pixels of a batch, that need no estimate of the memory."""


@dataclass(frozen=True)
class Run(records.Record):
    """A finished run: its record, its parameters, and where it came from."""

    params: Params[Any] = field(repr=False)
    origin: Literal["trained", "resumed", "loaded"]

    @property
    def record(self) -> dict[str, Any]:
        """What record.json holds."""
        return self.info

    def problem(self, data: str | Path | None = None) -> Problem:
        """The images of the run with the labels in its record, on the CPU; needed for galleries only."""
        unspoilt = self.params.model_copy(update={"noise": NoiseParams(kind="none")})
        whole = load_problem(unspoilt, data_root(data), torch.device("cpu"))
        labels = torch.from_numpy(self.samples["noisy"].to_numpy(np.int64))
        return replace(whole, train=replace(whole.train, labels=labels))

    def images(self, data: str | Path | None = None) -> Any:
        """The training images alone, for galleries: item i is uint8 [H, W, C]; NlkitError where they are not here."""
        own = self.params.data
        if isinstance(own, DataParams):
            found = load_dataset(own.name, data_root(data))
            if found.sha256 != self.record["data"]["sha256"]:
                raise NlkitError(f"{own.name} in {data_root(data)} is not what the record was made from")
            return found.images[: own.train_size]
        return self.problem(data).train.images


def run(
    params: Params[Any],
    out: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "auto",
    fresh: bool = False,
    progress: bool = True,
) -> Run:
    """Train, resume what was interrupted, or load the record of the very same parameters.

    Without `out` the run lies in `usual_folder`; where the parameters are not those of their cell's file, as in a
    notebook that was changed, in a folder beside it whose name tells their hash. `fresh` starts from nothing and
    replaces the run in the output folder; a pre-trained encoder that the parameters refer to is made where it is
    missing. A second process that asks for the same waits. Raises NlkitError for missing data, a folder that belongs
    to other parameters or holds other files, or one that cannot be written.
    """
    if not isinstance(params, Params):
        raise NlkitError(f"run: expected what load_params returns, not {type(params).__name__}")
    file, usual = project_root() / "params" / params.paper / f"{params.cell}.yaml", usual_folder(params)
    if out is None and file.exists() and deviation(params):
        identity = params.model_copy(update={"seed": 0}).digest[:8]
        out = usual.parent.with_name(f"{params.cell}-{identity}") / usual.name
    return run_of_cell(params, out, data, device, fresh, progress)


def usual_folder(params: Params[Any]) -> Path:
    """`runs/<paper>/<cell>/seed-<k>` of the project."""
    return project_root() / "runs" / run_path(params)


def run_of_cell(
    params: Params[Any], out: str | Path | None, data: str | Path | None, device: str, fresh: bool, progress: bool
) -> Run:
    """The same, but that without `out` every run lies in `usual_folder`, as on the command line."""
    folder, pretraining = usual_folder(params) if out is None else as_path(out, "out"), encoders.referred(params)

    def existing() -> Run | None:
        return None if fresh else _existing(params, pretraining, folder, search_results=out is None)

    try:
        found = parallel.by_first(existing)
    except NlkitError:
        if not os.path.exists(folder / OWNER):
            raise
        found = None  # another process may be writing there
    left = (folder / "checkpoints", folder / NEW)  # by a process that was killed
    if found is not None and not parallel.by_first(lambda: any(map(os.path.exists, left))):
        return found
    root, place = data_root(data), choose_device(device)
    with owned_folder(folder, params.digest) if parallel.is_first() else nullcontext():
        if (found := parallel.by_first(existing)) is not None:  # perhaps of the process that was waited for
            remove_checkpoints(folder / "checkpoints")
            return found
        return train(load_problem(params, root, place, progress), params, folder, root, fresh, progress)


def train(
    problem: Problem,
    params: Params[Any],
    folder: Path,
    root: Path,
    fresh: bool = False,
    progress: bool = True,
    keep: Callable[[Fit], Path] | None = None,
) -> Run:
    """Train, or resume, on a problem in memory and write the record, in place of the run that is in the folder.

    `root` is that of the data. `keep` is called with the trained method and tells where the record goes instead.
    """
    _check_memory(problem, params)
    if fresh:
        remove_checkpoints(folder / "checkpoints")
    encoder = encoders.for_run(params, problem, root, progress)
    if encoder is not None:
        problem = replace(problem, train=replace(problem.train, encoder=encoder.tensors))
    if problem.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        keep_freed_memory()
    with cpu_threads(params.training.threads):
        state = fit(problem, params, folder, progress)
        if params.method.pretrains:
            encoder = encoders.keep(state, params, problem.sha256)

        def write() -> records.Record:
            with swapped(folder, records.FILES) if keep is None else nullcontext(keep(state)) as place:
                return write_record(state, problem, params, place, encoder)

        record = parallel.by_first(write)
    return _as_run(replace(record, folder=folder), params, "resumed" if state.resumed else "trained")


def _check_memory(problem: Problem, params: Params[Any]) -> None:
    """Raise NlkitError for large settings of which not even one step fits into the memory of the device."""
    from nlkit.models import least_memory

    batch, images = min(params.training.batch_size, len(problem.train.labels)), problem.train.images.shape
    side, width = getattr(params.views, "size", images[1]), getattr(params.model, "width", 0)
    if width <= MODEST_WIDTH and batch * side**2 <= MODEST_PIXELS:
        return  # to be exact takes longer than a step
    if problem.device.type == "cuda":
        has = torch.cuda.get_device_properties(problem.device).total_memory
    else:
        has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        needs = least_memory(params.model, (batch, images[3], side, side), problem.train.classes) / 2**30
    except RuntimeError:  # PyTorch cannot even count it
        needs = float("inf")
    if needs > has / 2**30:
        settings = f"model.width {width} with training.batch_size {batch}"
        needed = f"a step needs at least {needs:.3g} GiB of memory"
        raise NlkitError(f"{settings}: {needed}, and this machine has {has / 2**30:.3g}; make one of them smaller")


def load_run(folder: str | Path) -> Run:
    """The run of a folder with a record, or of its record.json; NlkitError where it is missing or damaged."""
    record = records.load(as_path(folder, "load_run"))
    return _as_run(record, make_params(record.info["params"], {}, source=str(record.folder / "record.json")), "loaded")


def choose_device(name: str) -> Device:
    """`auto` takes a GPU where there is one; raises NlkitError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise NlkitError(f"--device {name}: expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise NlkitError("--device cuda: no GPU that torch can use; take --device auto or cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", parallel.local_gpu()) if parallel.count() > 1 else torch.device("cuda")


def _existing(params: Params[Any], pretraining: Params[Any] | None, folder: Path, search_results: bool) -> Run | None:
    other = ""
    if os.path.exists(folder / "record.json"):
        record = records.load(folder)
        if record.info["params_sha256"] != params.digest:
            other = f"other parameters ({first_difference(record.info['params'], params.model_dump(mode='json'))})"
        elif not _same_encoder(record, pretraining):
            other = "a run with another encoder (what method.encoder refers to has changed since)"
        else:
            return _as_run(record, params, "loaded")
    committed = records.committed(params) if search_results else None
    if committed is not None and _same_encoder(committed, pretraining):
        return _as_run(committed, params, "loaded")
    if other:
        raise NlkitError(f"{folder}: holds the record of {other}; choose another --out, or --fresh to replace it")
    return None


def _same_encoder(record: records.Record, pretraining: Params[Any] | None) -> bool:
    """Whether a run started from an encoder of these parameters, or needs none."""
    known = record.info.get("encoder") or {}
    return pretraining is None or known.get("params_sha256") == encoders.identity(pretraining)


def _as_run(record: records.Record, params: Params[Any], origin: Literal["trained", "resumed", "loaded"]) -> Run:
    return Run(record.info, record.tables, record.folder, params, origin)
