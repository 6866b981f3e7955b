"""What a trained method leaves in files: a classifier for further images, and the evidence behind the scores."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nlkit.cleaning.results import Evidence, judged
from nlkit.data.files import DAMAGE, read_tensors, write_tensors
from nlkit.data.photos.decode import decode_all
from nlkit.data.problem import Problem, TrainingSet
from nlkit.errors import NlkitError
from nlkit.files import as_path
from nlkit.methods.base import Method, with_prefix, without_prefix
from nlkit.params import Params, make_params, registry
from nlkit.training.loop import Fit
from nlkit.training.runs import choose_device

MODEL = "model.safetensors"
EVIDENCE = "evidence.safetensors"


@dataclass(frozen=True)
class Classifier:
    """A trained method with the names of its classes and the side and channels of its images."""

    method: Method
    class_names: tuple[str, ...]
    side: int
    channels: int

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Probability [N, C] of each class, on the CPU, by the ensemble, of images uint8 [N, S, S, channels]."""
        return self.method.logits(images.to(self.method.device))[0].softmax(dim=1).cpu()

    def predict(self, paths: Iterable[str | Path], progress: bool = False) -> pd.DataFrame:
        """One row an image file: path, predicted label and its probability; NaN where the file is no image."""
        if isinstance(paths, str | Path):
            raise NlkitError(f"predict: expected a list of paths, not {str(paths)[:80]!r}")
        paths = list(paths)
        images, faults = decode_all([as_path(path, "predict") for path in paths], self.side, progress)
        probability = self.probabilities(torch.from_numpy(to_channels(images, self.channels))).double().numpy()
        best = probability.argmax(axis=1)
        table = pd.DataFrame({"path": [str(path) for path in paths]})
        table["predicted_label"] = [self.class_names[k] for k in best]
        table["confidence"] = probability[np.arange(len(best)), best]
        table.loc[list(faults), ["predicted_label", "confidence"]] = np.nan
        return table


def to_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Images uint8 [N, S, S, 1 or 3] as those of 1 channel (ITU-R 601 luma) or of 3."""
    if images.shape[3] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    luma = images.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.rint(luma).astype(np.uint8)


def save_classifier(folder: Path, method: Method, problem: Problem, params: Params[Any]) -> None:
    """Write `model.safetensors`: all that prediction needs, without the optimiser's momenta."""
    train = problem.train
    own = {name: value.detach().cpu().clone() for name, value in method.state_dict().items()}
    state = {name: value for name, value in own.items() if "momentum" not in name.split(".")}
    info: dict[str, Any] = {"params": params.model_dump(mode="json"), "classes": problem.class_names}
    info |= {"shape": train.images.shape, "mean": train.mean, "std": train.std}
    write_tensors(folder / MODEL, {**with_prefix("method", state), "labels": train.labels}, info)


def load_classifier(folder: str | Path, device: str = "auto") -> Classifier:
    """The classifier that `nlkit clean` left in a folder, on a device as for `nlkit clean`; else raises NlkitError."""
    path = as_path(folder, "load_classifier")
    path = path / MODEL if path.is_dir() else path
    try:
        tensors, info = read_tensors(path)
        params = make_params(info["params"], {}, source=str(path))
        shape, names = info["shape"], tuple(info["classes"])
        if len(shape) != 4 or not len(info["mean"]) == len(info["std"]) == shape[3]:
            raise ValueError("its shape, mean and std do not fit each other")
        tensors = {name: value.to(choose_device(device)) for name, value in tensors.items()}
        labels = tensors.pop("labels")
        # To predict, a method needs only the size and the channels of its training set; black stands in for pixels.
        images = torch.zeros(1, 1, 1, shape[3], dtype=torch.uint8, device=labels.device).expand(*shape)
        train = TrainingSet(images, labels, len(names), tuple(info["mean"]), tuple(info["std"]))
        method = registry.find(params.method.name).build(train, params)
        method.load_state_dict(without_prefix("method", tensors))
    except DAMAGE as error:
        raise NlkitError(f"{path}: not a model that can be loaded ({' '.join(str(error).split())[:200]})") from None
    return Classifier(method, names, shape[1], shape[3])


def save_evidence(folder: Path, state: Fit, problem: Problem) -> None:
    """Write what the scores are made of, in full precision, for training and held-out images."""
    tensors = {"train.p_clean": state.split.p_clean.double().mean(dim=0)}
    for part, (images, labels) in {"train": (problem.train.images, problem.train.labels), **problem.tests}.items():
        tensors |= judged(part, state.method.logits(images)[0].double().softmax(dim=1), labels)
    write_tensors(folder / EVIDENCE, tensors, {"data": problem.sha256, "threshold": state.split.threshold})


def load_evidence(folder: Path, sha256: str) -> Evidence | None:
    """What `save_evidence` wrote; None where it is missing, damaged or of other data."""
    with suppress(*DAMAGE):
        tensors, info = read_tensors(folder / EVIDENCE)
        if info["data"] == sha256:
            return {name: value.numpy() for name, value in tensors.items()} | {"threshold": np.array(info["threshold"])}
    return None
