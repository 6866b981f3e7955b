"""Seconds of a semi-supervised DivideMix epoch: ours, and the usual way of writing it, in turn in one process.

python -m benchmarks.epoch [--images N] [--device cuda] [--repeats R] [--variants ours reference] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.reference_loop import WORKERS, ReferenceDivideMix
from benchmarks.rows import RESULTS, Row, append, make_row
from nlkit import NlkitError
from nlkit.data import data_root, load_dataset
from nlkit.data.problem import TrainingSet
from nlkit.methods.dividemix import DivideMix
from nlkit.params import Params, load_params
from nlkit.parts.learner import choose_precision
from nlkit.training.runs import choose_device

CELL = Path(__file__).parents[1] / "params" / "dividemix" / "cifar10-sym-50.yaml"
DEFAULT_IMAGES = {"cpu": 512, "cuda": 50_000}
EPOCHS_OF_A_RUN = 300
VARIANTS = ("ours", "reference")

Epoch = Callable[[], dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the variants in turn, print them and their ratio, and append a row for each."""
    options = parse(arguments)
    device = choose_device(options.device)
    count = options.images or DEFAULT_IMAGES[device.type]
    keys = {"model.width": options.width, "training.precision": options.precision, "method.bn": options.bn}
    params = load_params(CELL, **keys)
    data, source = training_set(count, data_root(options.data), device)
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    warm_up(params, data, options.variants, options.labelled)
    seconds = measure(params, data, options.variants, options.labelled, options.repeats)
    work = f"{source}; width {options.width}, bn {options.bn}, {options.labelled:.0%} labelled, train_epoch and split"
    note = "; ".join(text for text in (work, load, options.note) if text)
    rows = [
        make_row("epoch", name, count, times, device, precision(name, params, device), note)
        for name, times in seconds.items()
    ]
    report(rows)
    if not options.dry_run:
        append(rows, options.out)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Seconds of a DivideMix epoch, ours and the reference loop.")
    parser.add_argument("--images", type=int, help="training images (default: 512 on a CPU, 50000 on a GPU)")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (default: 64)")
    parser.add_argument("--labelled", type=float, default=0.5, help="share of the images in X (default: 0.5)")
    parser.add_argument("--repeats", type=int, default=2, help="timed epochs of each variant (default: 2)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of ours")
    parser.add_argument("--bn", choices=("paper", "fused"), default="paper", help="of ours")
    parser.add_argument("--data", type=Path, help="data root (default: $NLKIT_DATA, else data/)")
    parser.add_argument("--note", default="", help="text for the last column")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that gets the rows")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    return parser.parse_args(arguments)


def training_set(count: int, root: Path, device: torch.device) -> tuple[TrainingSet, str]:
    """The first `count` images of CIFAR-10, or random ones where it is missing; and which of the two."""
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    try:
        dataset = load_dataset("cifar10", root)
        images, labels, source = dataset.images[:count], dataset.labels[:count], "CIFAR-10"
    except NlkitError:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels, source = rng.integers(0, 10, count), "random images"
    if len(images) < count:
        raise NlkitError(f"--images {count}: {source} has {len(images)} training images")
    tensors = torch.from_numpy(images.copy()).to(device), torch.from_numpy(labels.copy()).to(device)
    return TrainingSet(*tensors, 10, mean, std), source


def warm_up(params: Params, data: TrainingSet, variants: Sequence[str], labelled: float) -> None:
    """An untimed epoch of each variant on a few batches."""
    few = min(len(data), 4 * params.training.batch_size)
    assert isinstance(data.images, torch.Tensor)
    part = TrainingSet(data.images[:few], data.labels[:few], data.classes, data.mean, data.std)
    measure(params, part, variants, labelled, repeats=1)


def measure(
    params: Params, data: TrainingSet, variants: Sequence[str], labelled: float, repeats: int
) -> dict[str, list[float]]:
    """Seconds of `repeats` epochs of each variant, taken in turn; all are given the same division."""
    torch.manual_seed(0)
    makers: dict[str, Callable[[TrainingSet, Params, float], Epoch]] = {"ours": ours, "reference": reference}
    epochs = {name: makers[name](data, params, labelled) for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        sizes = {}
        for name, epoch in epochs.items():
            synchronise(data)
            begin = time.perf_counter()
            found = epoch()
            synchronise(data)
            seconds[name].append(time.perf_counter() - begin)
            sizes[name] = [found[f"{part}_{k}"] for part in ("labelled", "unlabelled") for k in (1, 2)]
        if any(one != sizes[variants[0]] for one in sizes.values()):
            raise RuntimeError(f"the variants did different work: {sizes}")
    return seconds


def ours(data: TrainingSet, params: Params, labelled: float) -> Epoch:
    """An epoch of `nlkit.methods.DivideMix` after the warm-up."""
    method = DivideMix(data, params)
    division = torch.from_numpy(given_division(len(data), labelled)).float().to(data.images.device)

    def epoch() -> dict[str, float]:
        method.p_clean.copy_(division)
        found = method.train_epoch(method.method.warm_up, lambda share: None)
        method.split()
        return found

    return epoch


def reference(data: TrainingSet, params: Params, labelled: float) -> Epoch:
    """An epoch of the reference loop after the warm-up."""
    method = ReferenceDivideMix(data, params)

    def epoch() -> dict[str, float]:
        method.p_clean[:] = given_division(len(data), labelled)
        found = method.train_epoch(method.method.warm_up)
        method.split()
        return found

    return epoch


def given_division(count: int, labelled: float) -> np.ndarray:
    """P(clean) [count]: 0.9 for a random part of the images, 0.1 for the others."""
    order = np.random.default_rng(0).permutation(count)
    return np.where(order < round(labelled * count), 0.9, 0.1)


def synchronise(data: TrainingSet) -> None:
    """Wait for the device."""
    if data.images.device.type == "cuda":
        torch.cuda.synchronize()


def precision(variant: str, params: Params, device: torch.device) -> str:
    """The dtype of convolutions of a variant."""
    asked = params.training.precision if variant == "ours" else "fp32"
    return str(choose_precision(asked, device)).removeprefix("torch.")


def report(rows: Sequence[Row]) -> None:
    """Print a line for each row, the ratio, and what a whole run would take."""
    for row in rows:
        run = EPOCHS_OF_A_RUN * row.seconds / 3600
        print(f"{row.variant:<10} {row.seconds:9.3f} s an epoch of {row.images} images, {row.precision}, {row.note}")
        print(f"{'':<10} {run:9.2f} h for {EPOCHS_OF_A_RUN} such epochs on {row.device}")
    if len(rows) == len(VARIANTS):
        by_name = {row.variant: row.seconds for row in rows}
        print(f"{'ratio':<10} {by_name['reference'] / by_name['ours']:9.2f} ({WORKERS} workers in the reference loop)")


if __name__ == "__main__":
    main()
