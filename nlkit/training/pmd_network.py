"""The class probabilities that PMD noise is made from: of a network that sees clean labels, and of no method."""

import dataclasses
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import trange

from nlkit.data import Dataset
from nlkit.data.files import read_npz
from nlkit.errors import NlkitError
from nlkit.files import project_root, replaced_file
from nlkit.models import build_model
from nlkit.params.sections import ModelParams
from nlkit.params.views import ViewParams
from nlkit.seeding import derive, torch_stream
from nlkit.training.loop import cpu_threads
from nlkit.views import Views


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
        lack = f"there is no recipe for data.name '{dataset.name}', only for {', '.join(RECIPES)}"
        raise NlkitError(f"noise.kind 'pmd': {lack}; name a file in noise.probabilities")
    recipe = RECIPES[dataset.name]
    parts = [dataset.sha256, len(dataset.labels), dataclasses.asdict(recipe)]
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    path = project_root() / "runs" / "pmd" / f"{dataset.name}-{name}.npz"
    try:
        kept = read_npz(path)["probabilities"]
        if kept.shape == (len(dataset.labels), len(dataset.class_names)):
            return kept
    except (NlkitError, KeyError):
        pass  # there is none, or it is damaged
    with cpu_threads(1 if device.type == "cpu" and dataset.name == "digits" else None):
        probabilities = _train(dataset, recipe, device)
    with suppress(OSError), replaced_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=probabilities)  # where that is not allowed it is trained again next time
    return probabilities


def _train(dataset: Dataset, recipe: Recipe, device: torch.device) -> np.ndarray:
    """The outputs [N, C] of the last epoch, in training mode and on weak views, as in the authors' code."""
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
    return probabilities.cpu().numpy()
