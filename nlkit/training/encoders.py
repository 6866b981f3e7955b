"""Pre-trained encoders: made once for a data set and a network, and shared by every run that refers to them."""

import hashlib
import json
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from nlkit import parallel
from nlkit.data.files import DAMAGE, read_tensors, tensors_sha256, write_tensors
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import file_lock, locate, project_root
from nlkit.lazy import Device, Tensor
from nlkit.params import Params, load_params, registry
from nlkit.training.loop import Fit, cpu_threads, fit
from nlkit.training.problem import load_problem


@dataclass(frozen=True)
class Encoder:
    """Tensors `encoder.*` and `projector.*` on the device, where they come from, and the seconds of their training."""

    tensors: dict[str, Tensor]
    params_sha256: str
    seconds: float

    def summary(self) -> dict[str, Any]:
        """What the record of a run says of it."""
        weights = tensors_sha256(self.tensors)
        return {"params_sha256": self.params_sha256, "weights_sha256": weights, "seconds": self.seconds}


def referred(params: Params[Any]) -> Params[Any] | None:
    """The parameters of the pre-training that the method refers to, a path from the root or the current folder.

    Raises NlkitError where the file is missing or not one of pre-training, or is for other images or another network.
    """
    reference = params.method.pretraining
    if reference is None:
        return None
    key, path = reference
    here = f"key '{key}' is '{path}'"
    try:
        found = load_params(locate(path, project_root()))
    except NlkitError as error:
        raise NlkitError(f"{here}: {error}") from None
    if not found.method.pretrains:
        known = ", ".join(f"'{entry.paper}'" for entry in registry.everything() if entry.params.pretrains)
        raise NlkitError(f"{here}: holds parameters of paper '{found.paper}'; one of {known} is needed")
    size = "data.short" if hasattr(params.data, "short") else "data.train_size"
    for shared in ("data.name", size, *params.method.shared_with_pretraining()):
        section, name = shared.split(".")
        theirs, ours = (getattr(getattr(one, section), name, None) for one in (found, params))
        if theirs != ours:
            raise NlkitError(f"{here}: {shared} is {theirs} there and {ours} here; they must agree")
    return found


def for_run(params: Params[Any], problem: Problem, root: Path, progress: bool) -> Encoder | None:
    """What a run starts from: a pre-trained encoder, tensors from files, or nothing. `root` is that of the data."""
    if (pretraining := referred(params)) is not None:
        return provide(pretraining, root, problem.device, progress)
    cut = getattr(params.data, "train_size", None) is not None
    tensors = params.method.given_tensors(problem, root, cut)
    return None if tensors is None else Encoder(tensors, tensors_sha256(tensors), 0.0)


def identity(params: Params[Any]) -> str:
    """SHA-256 of what decides a pre-training: all parameters but cell and noise, since no label is read."""
    content = params.model_dump(mode="json")
    del content["cell"], content["noise"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def path_of(params: Params[Any], data_sha256: str) -> Path:
    """Where the encoder of these parameters and images is kept."""
    name = hashlib.sha256(f"{identity(params)} {data_sha256}".encode()).hexdigest()
    return project_root() / "runs" / "encoders" / f"{name}.safetensors"


def provide(params: Params[Any], root: Path, device: Device, progress: bool = True) -> Encoder:
    """The encoder of pre-training parameters: read from its file, else trained, or trained on where it was interrupted.

    A second process that asks for the same encoder waits until the first one has it. `root` is that of the data.
    """
    problem = load_problem(params, root, device, progress)
    target = path_of(params, problem.sha256)
    folder = target.with_suffix("")
    with file_lock(target) if parallel.is_first() else nullcontext():
        encoder = parallel.by_first(lambda: find(params, problem.sha256))
        if encoder is None:
            with cpu_threads(params.training.threads):
                encoder = keep(fit(problem, params, folder, progress), params, problem.sha256)
        shutil.rmtree(folder, ignore_errors=True)
        return replace(encoder, tensors={name: value.to(device) for name, value in encoder.tensors.items()})


def keep(state: Fit, params: Params[Any], data_sha256: str) -> Encoder:
    """Write the encoder of a finished pre-training where `provide` finds it, in place of any other."""
    weights: dict[str, Tensor] = state.method.shared_weights()  # type: ignore[attr-defined]
    seconds = float(sum(row["seconds"] for row in state.rows))
    name = identity(params)
    info = {"params": params.model_dump(mode="json"), "identity": name, "seconds": seconds}
    if parallel.is_first():
        write_tensors(path_of(params, data_sha256), weights, info)
    return Encoder(weights, name, seconds)


def find(params: Params[Any], data_sha256: str) -> Encoder | None:
    """The encoder of pre-training parameters, on the CPU, if it is on this machine; of a damaged file a line tells."""
    target = path_of(params, data_sha256)
    if not target.exists():
        return None
    try:
        tensors, info = read_tensors(target)
        if info["identity"] != identity(params):
            raise ValueError("it belongs to other parameters")
        return Encoder(tensors, info["identity"], info["seconds"])
    except DAMAGE as error:
        tqdm.write(f"nlkit: {target}: damaged ({' '.join(str(error).split())}); it is made again")
        return None
