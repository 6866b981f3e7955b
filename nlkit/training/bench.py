"""What this machine does: rates of networks, epochs of methods, and what whole runs would take on it."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from nlkit import kernels
from nlkit.data.problem import TrainingSet
from nlkit.errors import NlkitError
from nlkit.files import project_root
from nlkit.lazy import Device, functional, torch
from nlkit.params import Params, load_params, registry
from nlkit.parts.learner import Learner, choose_precision
from nlkit.training import provenance
from nlkit.training.loop import cpu_threads
from nlkit.training.provenance import keep_freed_memory

Cells = dict[str, Params[Any]]  # parameters by the name of their method


class Setting(NamedTuple):
    """Cells of one size: the names that they may have, the shape of an image, and how many train and test."""

    cells: tuple[str, str]
    shape: tuple[int, int, int]
    train: int
    test: int


SETTINGS = {
    "digits": Setting(("digits-sym-50", "digits"), (8, 8, 1), 1_347, 450),
    "laptop": Setting(("cifar10n-worst-laptop", "cifar10-laptop"), (32, 32, 3), 10_000, 10_000),
    "paper": Setting(("cifar10-sym-50", "cifar10"), (32, 32, 3), 50_000, 10_000),
}


def bench(device: Device, quick: bool = False) -> None:
    """Print the machine and its levers, the rate of each network, and the time of an epoch and of a run of each method.

    Images are random. Epochs of the papers' cells are not timed: their runs follow from the laptop's by the rates.
    """
    count, own = 128 if quick else 512, torch.get_num_threads()
    cells = {name: cells_of(setting) for name, setting in SETTINGS.items()}
    for name, value in levers(device).items():
        print(f"{name:<10} {value}")
    images = {name: random_images(setting, count, device) for name, setting in SETTINGS.items()}
    nets = {one.model: (one, images[name]) for name, found in cells.items() for one in found.values()}
    rates: dict[Any, dict[int, float]] = {model: {} for model in nets}
    for model, number in tqdm(list(product(nets, sorted({1, own}))), desc="networks", leave=False):
        rates[model][number] = rate(*nets[model], number, least=0.2 if quick else 1.0)
    table = pd.DataFrame({f"{model.name} {model.width}": found for model, found in rates.items()}).T
    print(f"\nImages a second through a training step, by threads\n{table.round().astype(int).to_string()}")
    rows: dict[str, dict[str, float]] = {}
    for name in ("digits", "laptop"):
        found = epochs(SETTINGS[name], cells[name], images[name])
        for params, seconds, passes in tqdm(found, total=len(cells[name]), desc=f"methods, {name}", leave=False):
            row, per_pass = rows.setdefault(params.method.name, {}), seconds / passes
            row |= {f"{name}: epoch": seconds, f"{name}: run": per_pass * run_passes(params, SETTINGS[name].train)}
            if name == "laptop" and (paper := cells["paper"].get(params.method.name)) is not None:
                slower = rates[params.model][params.training.threads or own] / rates[paper.model][own]
                row["paper: run"] = slower * per_pass * run_passes(paper, SETTINGS["paper"].train)
    words = pd.DataFrame(rows).T.map(duration).to_string()
    print(f"\nTime of an epoch of {count} images; whole runs are estimates from their passes\n{words}")


def levers(device: Device) -> dict[str, str]:
    """What makes training fast or slow here: machine, allocator, precision, and which kernels are Triton's."""
    machine, precision = provenance.describe_device(device), choose_precision("auto", device)
    names = sorted(path.parent.name for path in Path(kernels.__file__).parent.glob("*/triton.py"))
    by_triton = [name for name in names if kernels.form(name, device).__name__.endswith(".triton")]
    return {
        "machine": f"{machine['name']}, {machine['threads']} threads, torch {provenance.versions()['torch']}",
        "allocator": keep_freed_memory() if device.type == "cpu" else "that of CUDA",
        "precision": str(precision).removeprefix("torch."),
        "Triton": f"for {', '.join(by_triton) or 'none'} of {', '.join(names)}",
    }


def cells_of(setting: Setting) -> Cells:
    """The parameters of each method in a setting, by the method's name, in the order of the book."""
    names = [f"{one.paper}/{cell}.yaml" for one in registry.everything() for cell in setting.cells]
    found = [load_params(path) for name in names if (path := project_root() / "params" / name).is_file()]
    if not found:
        raise NlkitError(f"{project_root() / 'params'}: no {setting.cells[0]}.yaml; call it in the project's folder")
    return {params.method.name: params for params in found}


def random_images(setting: Setting, count: int, device: Device) -> TrainingSet:
    """So many random images of a setting, with random labels of ten classes."""
    rng, grey = np.random.default_rng(0), (0.5,) * setting.shape[2]
    images = torch.from_numpy(rng.integers(0, 256, (count, *setting.shape), dtype=np.uint8)).to(device)
    return TrainingSet(images, torch.from_numpy(rng.integers(0, 10, count)).to(device), 10, grey, grey)


def rate(params: Params[Any], data: TrainingSet, threads: int, least: float) -> float:
    """Images a second through steps of a cell's network in batches of 64, for `least` seconds after the first step."""
    with cpu_threads(threads):
        learner, labels = Learner(data, params, "bench"), data.labels[:64]
        inputs, steps, begin = learner.views.plain(data.images[:64]), -1, 0.0
        while steps < 1 or time.perf_counter() - begin < least:
            learner.step(functional.cross_entropy(learner(inputs), labels))
            if data.images.device.type == "cuda":
                torch.cuda.synchronize()
            steps += 1
            begin = begin if steps else time.perf_counter()
        return len(labels) * steps / (time.perf_counter() - begin)


def epochs(setting: Setting, cells: Cells, data: TrainingSet) -> Iterator[tuple[Params[Any], float, float]]:
    """Seconds and passes of an epoch after the warm-up of each cell, with division and evaluation.

    Methods that need an encoder get that of the pre-training before them, after two epochs.
    """
    encoder, tests = None, data.images[: len(data) * setting.test // setting.train]
    for name, params in cells.items():
        entry: Any = registry.find(name)
        rows, seconds = [], 0.0
        with cpu_threads(params.training.threads):
            method = entry.build(replace(data, encoder=encoder), params)
            for epoch in (0, max(1, getattr(params.method, "warm_up", 1))):
                begin = time.perf_counter()
                rows.append({"epoch": epoch + 1, **method.train_epoch(epoch, lambda share: None)})
                method.split()
                float(method.logits(tests)[0].sum())  # waits for a GPU
                seconds = time.perf_counter() - begin
        encoder = method.shared_weights() if params.method.pretrains else encoder
        first, both = (entry.passes(params, len(data), pd.DataFrame(rows[:k])) for k in (1, 2))
        yield params, seconds, both - first


def run_passes(params: Params[Any], count: int) -> float:
    """Passes of a whole run, in which methods that divide the images take half of them for labelled ones."""
    parts = dict.fromkeys((f"{part}labelled_{k}" for part in ("", "un") for k in (1, 2)), count // 2)
    table = pd.DataFrame({"epoch": range(1, params.training.epochs + 1)}).assign(**parts)
    entry: Any = registry.find(params.method.name)
    return entry.passes(params, count, table)


def duration(seconds: float) -> str:
    """A time in the unit that suits it; a dash for one that is not known."""
    units = {"days": 86_400, "h": 3_600, "min": 60}
    unit = next((unit for unit, size in units.items() if seconds >= 2 * size), "s")
    return "-" if math.isnan(seconds) else f"{seconds / units.get(unit, 1):.3g} {unit}"
