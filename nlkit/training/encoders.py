"""Pre-trained encoders: made once for a data set and a network, and shared by every run that refers to them."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm.auto import tqdm

from nlkit.data import read_feature_file
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import file_lock, locate, project_root
from nlkit.methods import SimCLR
from nlkit.params import Params, load_params, view_side
from nlkit.params.codim import CoDiMParams
from nlkit.params.data import PhotoDataParams
from nlkit.params.lra import FeatureFileParams, LRADiffusionParams, SimCLREncoderParams
from nlkit.parts.frozen import TABLE, image_keys
from nlkit.training import checkpoints
from nlkit.training.loop import Fit, cpu_threads, fit
from nlkit.training.problem import load_problem


@dataclass(frozen=True)
class Encoder:
    """Tensors `encoder.*` and `projector.*` on the device, and where they come from."""

    tensors: dict[str, Tensor]
    params_sha256: str
    weights_sha256: str
    seconds: float

    def summary(self) -> dict[str, Any]:
        """What the record of a run says of it; seconds are those of its training."""
        return {
            "params_sha256": self.params_sha256, "weights_sha256": self.weights_sha256, "seconds": self.seconds,
        }  # fmt: skip


def referred(params: Params) -> Params | None:
    """The parameters of the encoder that `method.encoder` refers to, a path from the root or the current folder.

    Raises NlkitError where the file is missing or not one of pre-training, or is for other images or another network.
    """
    own, reference = params.method, getattr(params.method, "encoder", None)
    name = "method.encoder"
    if isinstance(own, LRADiffusionParams):
        reference = own.encoder.params if isinstance(own.encoder, SimCLREncoderParams) else None
        name = "method.encoder.params"
    if reference is None:
        return None
    here = f"key '{name}' is '{reference}'"
    try:
        found = load_params(locate(reference, project_root()))
    except NlkitError as error:
        raise NlkitError(f"{here}: {error}") from None
    if found.paper != "simclr":
        raise NlkitError(f"{here}: holds parameters of paper '{found.paper}'; one of 'simclr' is needed")
    for key in _shared_keys(params):
        theirs, ours = _value(found, key), _value(params, key)
        if theirs != ours:
            raise NlkitError(f"{here}: {key} is {theirs} there and {ours} here; they must agree")
    return found


def from_files(params: Params, problem: Problem, root: Path) -> Encoder | None:
    """The table of features that `method.encoder` names, for every training and test image; None where it names none.

    Each row is found by the bytes of its image. `root` is that of the data. Raises NlkitError where a file is missing
    or damaged, has another number of rows than there are images, or where the two differ in their columns.
    """
    own = params.method
    if not isinstance(own, LRADiffusionParams) or not isinstance(own.encoder, FeatureFileParams):
        return None
    if "test" not in problem.tests:
        raise NlkitError("key 'method.encoder.kind' is 'file': it needs a test set, and nothing is held out")
    cut = getattr(params.data, "train_size", None) is not None
    parts = [_rows("train", locate(own.encoder.train, root), len(problem.train), cut)]
    for name, (images, _) in problem.tests.items():
        parts.append(_rows(*_test_file(own.encoder, name, root), len(images)))
        if parts[-1].shape[1] != parts[0].shape[1]:
            widths = f"{parts[0].shape[1]} and {parts[-1].shape[1]} columns"
            raise NlkitError(f"key 'method.encoder': the features of training and test images have {widths}")
    everything = [problem.train.images, *(images for images, _ in problem.tests.values())]
    keys = torch.cat([image_keys(images) for images in everything])
    tensors = {TABLE[0]: keys, TABLE[1]: torch.cat(parts).to(problem.device)}
    digest = checkpoints.digest({name: value.cpu() for name, value in tensors.items()})
    return Encoder(tensors, digest, digest, 0.0)


def _test_file(encoder: FeatureFileParams, name: str, root: Path) -> tuple[str, Path]:
    """The key and the file of the features of a test set."""
    if name == "test":
        return name, locate(encoder.test, root)
    if name not in encoder.others:
        raise NlkitError(f"key 'method.encoder.others.{name}' is missing: the features of the test set '{name}'")
    return f"others.{name}", locate(encoder.others[name], root)


def _rows(part: str, path: Path, count: int, cut: bool = False) -> Tensor:
    """Features [count, d] of a file; with `cut` it may hold more rows, of which the first are taken."""
    here = f"key 'method.encoder.{part}'"
    try:
        rows = torch.from_numpy(read_feature_file(path))
    except NlkitError as error:
        raise NlkitError(f"{here}: {error}") from None
    if len(rows) < count or (len(rows) > count and not cut):
        raise NlkitError(f"{here}: {path} has {len(rows)} rows; there are {count} images")
    return rows[:count]


def _shared_keys(params: Params) -> list[str]:
    """What a run and the pre-training of its encoder must have in common: images, network, and a projector it keeps."""
    keys = ["data.name", "data.short" if isinstance(params.data, PhotoDataParams) else "data.train_size"]
    if isinstance(params.method, LRADiffusionParams):  # its frozen encoder may be another network
        return keys
    keys += ["model.name", "model.width"]
    keeps = isinstance(params.method, CoDiMParams) and params.method.projector == "kept"
    return [*keys, "method.dim", "method.hidden"] if keeps else keys


def _value(params: Params, dotted: str) -> Any:
    section, key = dotted.split(".")
    return getattr(getattr(params, section), key, None)


def identity(params: Params) -> str:
    """SHA-256 of what decides a pre-training: all parameters but cell and noise, since no label is read."""
    content = params.model_dump(mode="json")
    del content["cell"], content["noise"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def path_of(params: Params, data_sha256: str) -> Path:
    """Where the encoder of these parameters and images is kept."""
    name = hashlib.sha256(f"{identity(params)} {data_sha256}".encode()).hexdigest()
    return project_root() / "runs" / "encoders" / f"{name}.safetensors"


def find(params: Params, data_sha256: str) -> Encoder | None:
    """The encoder of pre-training parameters, on the CPU, if it is on this machine; nothing is trained."""
    return _read(path_of(params, data_sha256), params, torch.device("cpu"))


def provide(params: Params, root: Path, device: torch.device, progress: bool = True) -> Encoder:
    """The encoder of pre-training parameters: read from its file, else trained, or trained on where it was interrupted.

    A second process that asks for the same encoder waits until the first one has it. `root` is that of the data.
    """
    problem = load_problem(params.data, params.noise, root, device, view_side(params), progress)
    target = path_of(params, problem.sha256)
    with file_lock(target):
        found = _read(target, params, device)
        if found is not None:
            return found
        folder = target.with_suffix("")
        with cpu_threads(params.training.threads):
            state = fit(problem, params, folder, progress)
        encoder = keep(state, params, problem.sha256)
        shutil.rmtree(folder, ignore_errors=True)
        return encoder


def keep(state: Fit, params: Params, data_sha256: str) -> Encoder:
    """Write the encoder of a finished pre-training where `provide` finds it, in place of any other."""
    assert isinstance(state.method, SimCLR)
    weights = state.method.weights()
    target = path_of(params, data_sha256)
    seconds = float(sum(row["seconds"] for row in state.rows))
    info = {"params": params.model_dump(mode="json"), "identity": identity(params), "seconds": seconds}
    try:
        checkpoints.write(target, weights, info)
    except (OSError, SafetensorError) as error:
        raise NlkitError(f"{target}: cannot write the encoder ({error})") from None
    return _encoder(weights, info)


def _read(target: Path, params: Params, device: torch.device) -> Encoder | None:
    """The encoder in a file; None where there is none, or a damaged one, of which a line tells."""
    if not target.exists():
        return None
    try:
        tensors, info = checkpoints.read(target)
        if info["identity"] != identity(params):
            raise ValueError("it belongs to other parameters")
        return _encoder({name: value.to(device) for name, value in tensors.items()}, info)
    except checkpoints.DAMAGE as error:
        tqdm.write(f"nlkit: {target}: damaged ({' '.join(str(error).split())}); it is made again")
        return None


def _encoder(tensors: dict[str, Tensor], info: dict[str, Any]) -> Encoder:
    digest = checkpoints.digest({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    return Encoder(tensors, info["identity"], digest, info["seconds"])
