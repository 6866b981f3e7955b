"""The loop around a method: epochs, evaluation, rows of the record, checkpoints and resuming."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from nlkit import parallel
from nlkit.data.files import DAMAGE, read_tensors, tensors_sha256, write_tensors
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import commit
from nlkit.lazy import Device, Tensor, torch
from nlkit.methods.base import Method, Split
from nlkit.params import Params, registry
from nlkit.parts.learner import with_prefix, without_prefix
from nlkit.training.measure import epoch_row

KEEP = 2  # checkpoints of a run


@dataclass
class Fit:
    """A method in training: the rows so far, snapshots of the split by epoch, and what happened."""

    method: Method
    rows: list[dict[str, Any]] = field(default_factory=list)
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    split: Split = field(init=False)  # of the last epoch, so that there is none before the first one
    resumed: bool = False


def fit(problem: Problem, params: Params[Any], folder: Path, progress: bool = True) -> Fit:
    """Train to the last epoch, resuming from the newest sound checkpoint below `folder`."""
    state = Fit(registry.find(params.method.name).build(problem.train, params))
    identity = {"params": params.digest, "data": problem.sha256, "labels": problem.noise.sha256}
    code = commit()
    if problem.train.encoder is not None:
        identity["encoder"] = tensors_sha256(problem.train.encoder)
    folder, total = folder / "checkpoints", params.training.epochs
    _resume(state, folder, identity, problem.device, code)
    if progress and (late := [epoch for epoch in params.training.snapshots if epoch > total]):
        tqdm.write(f"nlkit: training.snapshots: there will be none of {late}, after the last epoch, {total}")
    bar = tqdm(
        total=total,
        initial=len(state.rows),
        disable=not progress or not parallel.is_first(),
        desc=f"{params.paper} {params.cell} seed {params.seed}",
        bar_format="{l_bar}{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}{postfix}]",
    )
    with bar:
        for epoch in range(len(state.rows), total):
            _epoch(state, problem, params, epoch, bar)
            if parallel.is_first():
                _save(state, folder, identity, code)
    return state


def _epoch(state: Fit, problem: Problem, params: Params[Any], epoch: int, bar: tqdm) -> None:
    begin = time.perf_counter()
    try:
        values = state.method.train_epoch(epoch, bar.update)
        state.split = state.method.split()
        kept = (getattr(state.method, name) for name in state.method.kept)
        parallel.agree([state.split.losses, state.split.p_clean, *kept])
    except (RuntimeError, ValueError):
        _check_finite(state.method, {}, params, epoch)
        raise
    looked_at = state.split.p_clean.isfinite()
    _check_finite(state.method, {"losses": state.split.losses[looked_at]}, params, epoch)
    row = {"epoch": epoch + 1, **epoch_row(problem, state.method, state.split), **values, **state.split.epoch}
    row["seconds"] = time.perf_counter() - begin
    state.rows.append(row)
    if epoch + 1 in {*params.training.snapshots, params.training.epochs}:
        first = {"loss": state.split.losses[0], "p_clean": state.split.p_clean[0]}
        state.snapshots[epoch + 1] = first | state.split.samples
    bar.n = epoch + 1
    loss = row.get("loss", row.get("loss_1", row.get("loss_x_1")))
    shown = {"loss": loss, "acc": row["accuracy"], "auc": row["auc"]}
    bar.set_postfix({name: value for name, value in shown.items() if value is not None})


def _check_finite(method: Method, others: Mapping[str, Tensor], params: Params[Any], epoch: int) -> None:
    """Raise NlkitError where weights or losses are no longer numbers, which later epochs would not mend."""
    weights = {name: value for name, value in method.state_dict().items() if name not in method.kept}
    lost = next((name for name, value in {**weights, **others}.items() if not value.isfinite().all()), None)
    if lost is not None:
        said = f"training diverged in epoch {epoch + 1}: '{lost}' is not finite"
        raise NlkitError(f"{said}; lower optim.lr, which is {params.optim.lr:g}, or the weights of the losses")


def _save(state: Fit, folder: Path, identity: dict[str, str], code: str | None) -> None:
    tensors = with_prefix("method", state.method.state_dict())
    tensors |= {"split.losses": state.split.losses, "split.p_clean": state.split.p_clean}
    for epoch, snapshot in state.snapshots.items():
        tensors |= with_prefix(f"snapshot.{epoch}", snapshot)
    info: dict[str, Any] = {"identity": identity, "rows": state.rows, "events": state.method.events}
    info |= {"started": state.started, "snapshots": list(state.snapshots), "commit": code}
    info |= {"threshold": state.split.threshold}
    save_checkpoint(folder, len(state.rows), tensors, info)


def save_checkpoint(folder: Path, epoch: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write the checkpoint after `epoch` by atomic rename; keep the one before, remove damaged ones of later epochs."""
    target = folder / f"epoch-{epoch:05d}.safetensors"
    own = {name: value.detach().cpu().clone() for name, value in tensors.items()}  # some of them share memory
    write_tensors(target, own, info)
    found = checkpoints(folder)
    upto = found.index(target) + 1
    try:
        for old in found[: max(upto - KEEP, 0)] + found[upto:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise NlkitError(f"{target}: cannot remove an older checkpoint ({error})") from None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a folder, oldest first."""
    return sorted(path for path in folder.glob("epoch-*.safetensors") if path.is_file())


def load_latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Tensors and info of the newest sound checkpoint, empty without one, and a line for each damaged one."""
    notes: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            return *read_tensors(path), [f"{note}; using the one before it" for note in notes]
        except DAMAGE as error:
            notes.append(f"{path.name} is damaged ({' '.join(str(error).split())})")
    if notes:
        notes[-1] += "; no sound checkpoint is left, starting anew"
    return {}, {}, notes


def _resume(state: Fit, folder: Path, identity: dict[str, str], device: Device, code: str | None) -> None:
    """Take up the newest sound checkpoint of the very same run, if there is one; an event tells of other code."""
    tensors, info, notes = parallel.by_first(lambda: load_latest(folder))
    for note in notes:
        tqdm.write(f"nlkit: {folder}: {note}")
    if not info:
        return
    found, instead = f"{folder}: holds an unfinished run", "choose another --out, or --fresh to drop it"
    for key, value in identity.items():
        if info.get("identity", {}).get(key) != value:
            raise NlkitError(f"{found} with other {key}; {instead}")
    try:
        tensors = {name: value.to(device) for name, value in tensors.items()}
        state.method.load_state_dict(without_prefix("method", tensors))
        state.method.events[:] = info["events"]
        state.rows, state.started, state.resumed = info["rows"], info["started"], True
        state.split = Split(tensors["split.losses"], tensors["split.p_clean"], (), info.get("threshold", 0.5))
        state.snapshots = {epoch: without_prefix(f"snapshot.{epoch}", tensors) for epoch in info["snapshots"]}
        if (before := info.get("commit", code)) != code:
            state.method.events.append(f"after epoch {len(state.rows)}: commit {before} until here, then {code}")
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise NlkitError(f"{found} of another version; {instead}") from None


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Use `count` CPU threads inside; results on a CPU depend on it in the last bits."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
