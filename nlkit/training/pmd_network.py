"""The class probabilities that PMD noise is made from: of a network that sees clean labels, and of no method."""

import hashlib
import json
from contextlib import suppress
from typing import Any

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

PHOTOGRAPHS = {"model": "resnet34", "width": 64, "pad": 4, "flip": True, "rotate": 0.0, "zoom": 0.0, "dtype": "float32"}
PHOTOGRAPHS |= {"epochs": 25, "lr": 0.001, "batch_size": 128, "momentum": 0.9, "weight_decay": 5e-4, "seed": 123}
"""SGD with Nesterov momentum at a constant rate, on weak views: the settings of the authors of PMD noise, who took 10
or 35 epochs for some of their CIFAR-100 labels."""

DIGITS = PHOTOGRAPHS | {"model": "small_cnn", "width": 24, "epochs": 8, "lr": 0.01, "batch_size": 32}
DIGITS |= {"pad": 1, "flip": False, "rotate": 10.0, "zoom": 0.1, "dtype": "float64"}
"""Ours, in double precision, so that other machines come to the same labels."""

RECIPES: dict[str, dict[str, Any]] = {"digits": DIGITS, "cifar10": PHOTOGRAPHS, "cifar100": PHOTOGRAPHS}


def trained_probabilities(dataset: Dataset, device: torch.device) -> np.ndarray:
    """Class probabilities float64 [N, C] of the training images, from `runs/pmd/` or trained now.

    The file is named after a hash of the data and the recipe. One that is damaged is made again. Raises NlkitError
    for a data set that has no recipe.
    """
    if dataset.name not in RECIPES:
        lack = f"there is no recipe for data.name '{dataset.name}', only for {', '.join(RECIPES)}"
        raise NlkitError(f"noise.kind 'pmd': {lack}; name a file in noise.probabilities")
    recipe = RECIPES[dataset.name]
    parts = [dataset.sha256, len(dataset.labels), recipe]
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    path = project_root() / "runs" / "pmd" / f"{dataset.name}-{name}.npz"
    with suppress(NlkitError, KeyError):  # there is none, or it is damaged
        kept = read_npz(path)["probabilities"]
        if kept.shape == (len(dataset.labels), len(dataset.class_names)):
            return kept
    with cpu_threads(1 if device.type == "cpu" and dataset.name == "digits" else None):
        probabilities = _train(dataset, recipe, device)
    with suppress(OSError), replaced_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=probabilities)  # where that is not allowed it is trained again next time
    return probabilities


def _train(dataset: Dataset, recipe: dict[str, Any], device: torch.device) -> np.ndarray:
    """The outputs [N, C] of the last epoch, in training mode and on weak views, as in the authors' code."""
    dtype, seed = getattr(torch, recipe["dtype"]), recipe["seed"]
    images, labels = (torch.from_numpy(part).to(device) for part in (dataset.images, dataset.labels))
    classes = len(dataset.class_names)
    model = ModelParams(name=recipe["model"], width=recipe["width"])
    net = build_model(model, images.shape[3], classes, derive(seed, "pmd", "init")).to(device, dtype)
    shift = ViewParams(**{key: recipe[key] for key in ViewParams.model_fields})
    views = Views(shift, dataset.mean, dataset.std, device)
    rates = {key: recipe[key] for key in ("lr", "momentum", "weight_decay")}
    optimiser = torch.optim.SGD(net.parameters(), **rates, nesterov=True)
    probabilities = torch.zeros(len(labels), classes, dtype=torch.float64, device=device)
    net.train()
    for epoch in trange(recipe["epochs"], desc=f"pmd network, {dataset.name}", disable=None, leave=False):
        stream = torch_stream(device, seed, "pmd", epoch)
        order = torch.randperm(len(labels), generator=stream, device=device)
        for batch in order.split(recipe["batch_size"]):
            logits = net(views.weak(images[batch], stream).to(dtype))
            probabilities[batch] = logits.detach().double().softmax(dim=1)
            optimiser.zero_grad(set_to_none=True)
            functional.cross_entropy(logits, labels[batch]).backward()
            optimiser.step()
    return probabilities.cpu().numpy()
