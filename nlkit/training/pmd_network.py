"""The class probabilities that PMD noise is made from: trained once on clean labels, and kept.

This is a part of the noise generator, not of any method: it may see clean labels, as whoever corrupts labels does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import trange

from nlkit.data import Dataset
from nlkit.data.arrays import read_npy, read_npz
from nlkit.errors import NlkitError
from nlkit.files import project_root
from nlkit.models import build_model
from nlkit.params.training import ModelParams
from nlkit.params.views import ViewParams
from nlkit.seeding import derive, torch_stream
from nlkit.views.weak import Views


@dataclass(frozen=True)
class Recipe:
    """How the network is trained: SGD with Nesterov momentum at a constant rate, on weak views."""

    model: str
    width: int
    pad: int
    flip: bool
    rotate: float
    zoom: float
    epochs: int
    lr: float
    batch_size: int
    dtype: str
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 123


PHOTOGRAPHS = Recipe("resnet34", 64, 4, True, 0.0, 0.0, 25, 0.001, 128, "float32")
"""The settings of the authors of PMD noise, but for the network: theirs is a ResNet-34 with pre-activation."""

RECIPES = {
    "digits": Recipe("small_cnn", 24, 1, False, 10.0, 0.1, 8, 0.01, 32, "float64"),
    "cifar10": PHOTOGRAPHS,
    "cifar100": PHOTOGRAPHS,
}
"""Digits are ours. They train in double precision, so that other machines come to the same labels."""


def trained_probabilities(dataset: Dataset, device: torch.device) -> np.ndarray:
    """Class probabilities float64 [N, C] of the training images, from `runs/pmd/` or trained now.

    The file is named after a hash of the data and the recipe. One that is damaged is made again. Raises NlkitError
    for a data set that has no recipe.
    """
    if dataset.name not in RECIPES:
        raise NlkitError(
            f"noise.kind 'pmd': there is no recipe for data.name '{dataset.name}', only for {', '.join(RECIPES)}; "
            f"name a file in noise.probabilities"
        )
    recipe = RECIPES[dataset.name]
    parts = [dataset.sha256, len(dataset.labels), dataclasses.asdict(recipe)]
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    path = project_root() / "runs" / "pmd" / f"{dataset.name}-{name}.npz"
    shape = len(dataset.labels), len(dataset.class_names)
    kept = _kept(path, shape)
    if kept is None:
        kept = _train(dataset, recipe, device)
        _keep(path, kept)
    return kept


def read_probabilities(path: Path, count: int, classes: int) -> np.ndarray:
    """Class probabilities float64 [count, classes] from a `.npy` file, or a `.npz` file with one array.

    Raises NlkitError for a missing or damaged file, another shape, or rows that are no probabilities.
    """
    if path.suffix.lower() == ".npz":
        arrays = list(read_npz(path).values())
        if len(arrays) != 1:
            raise NlkitError(f"{path}: holds {len(arrays)} arrays; expected one")
        found = arrays[0]
    else:
        found = read_npy(path)
    if found.shape != (count, classes):
        raise NlkitError(f"{path}: probabilities of shape {list(found.shape)}; expected [{count}, {classes}]")
    values = found.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-2)):
        raise NlkitError(f"{path}: not probabilities: each row must be at least 0 everywhere and sum to 1")
    return values


def _train(dataset: Dataset, recipe: Recipe, device: torch.device) -> np.ndarray:
    """The outputs [N, C] of the last epoch, in training mode and on weak views, as in the authors' code."""
    threads = torch.get_num_threads()
    if device.type == "cpu" and dataset.name == "digits":
        torch.set_num_threads(1)
    dtype = getattr(torch, recipe.dtype)
    images, labels = (torch.from_numpy(part).to(device) for part in (dataset.images, dataset.labels))
    classes = len(dataset.class_names)
    model = ModelParams.model_validate({"name": recipe.model, "width": recipe.width})
    net = build_model(model, images.shape[3], classes, derive(recipe.seed, "pmd", "init")).to(device, dtype)
    shift = ViewParams(pad=recipe.pad, flip=recipe.flip, rotate=recipe.rotate, zoom=recipe.zoom)
    views = Views(shift, dataset.mean, dataset.std, device)
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    probabilities = torch.zeros(len(labels), classes, dtype=torch.float64, device=device)
    net.train()
    for epoch in trange(recipe.epochs, desc=f"pmd network, {dataset.name}", disable=None, leave=False):
        stream = torch_stream(device, recipe.seed, "pmd", epoch)
        order = torch.randperm(len(labels), generator=stream, device=device)
        for batch in order.split(recipe.batch_size):
            logits = net(views.weak(images[batch], stream).to(dtype))
            probabilities[batch] = logits.detach().double().softmax(dim=1)
            optimiser.zero_grad(set_to_none=True)
            functional.cross_entropy(logits, labels[batch]).backward()
            optimiser.step()
    torch.set_num_threads(threads)
    return probabilities.cpu().numpy()


def _kept(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The array of a file that `_keep` wrote, None where there is none or it is damaged."""
    try:
        arrays = read_npz(path)
    except NlkitError:
        return None
    found, digest = arrays.get("probabilities"), arrays.get("sha256")
    if found is None or digest is None or found.shape != shape or digest.tobytes() != _digest(found):
        return None
    return found


def _keep(path: Path, probabilities: np.ndarray) -> None:
    """Write by atomic rename; where that is not allowed the array is trained again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", suffix=".npz", delete=False) as file:
            np.savez(file, probabilities=probabilities, sha256=np.frombuffer(_digest(probabilities), np.uint8))
        os.replace(file.name, path)
    except OSError:
        return


def _digest(probabilities: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(probabilities).tobytes()).digest()
