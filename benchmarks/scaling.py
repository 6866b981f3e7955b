"""Seconds against the number of images and against the labelled share, and how far from a line they are.

python -m benchmarks.scaling [--counts N ...] [--shares S ...] [--width W] [--device cuda] [--dry-run] [--out FILE]

Over the number of images: an epoch of DivideMix, its mixture, the neighbours of a thousand queries, and TCL's
diagnosis. Over the labelled share: an epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import theilslopes
from torch.nn import functional

from benchmarks.epoch import ours
from benchmarks.rows import Row, load, make_row, options_of, report
from nlkit.kernels.neighbours import nearest
from nlkit.params import load_params
from nlkit.parts.learner import choose_precision
from nlkit.parts.mixture import DiagnosisParams, diagnose, fit_two_components
from nlkit.training import bench
from nlkit.training.provenance import keep_freed_memory
from nlkit.training.runs import choose_device

PARAMS = Path(__file__).parents[1] / "params"
COUNTS, SHARES = (5_000, 10_000, 20_000, 30_000, 40_000, 50_000), (0.1, 0.3, 0.5, 0.7, 0.9)
Job = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time everything at each size, print it and the deviation from a line, and append a row for each size."""
    parser = options_of("Seconds against the number of images and the labelled share.", repeats=1)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="numbers of images")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="labelled shares of the images")
    parser.add_argument("--width", type=int, default=8, help="of the laptop's network (default: 8)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    if device.type == "cpu":
        keep_freed_memory()  # as a run does
    params = load_params(PARAMS / "dividemix/cifar10n-worst-laptop.yaml", **{"model.width": options.width})
    setting, precision = bench.SETTINGS["laptop"], choose_precision(params.training.precision, device)
    fixed = options.counts[min(1, len(options.counts) - 1)]

    def epoch(count: int, share: float) -> Job:
        return ours(bench.random_images(setting, count, device), params, share)

    epoch(256, 0.5)()  # the first steps make what later ones use
    name, half, kind = f"{params.model.name}, width {options.width}", "50% labelled", str(precision).split(".")[1]
    repeats, counts = options.repeats, options.counts
    rows = timed("scaling-epoch", lambda n: epoch(n, 0.5), counts, counts, repeats, device, kind, f"{half}; {name}")
    same = [fixed] * len(options.shares)
    rows += timed("scaling-labelled", lambda x: epoch(fixed, x), options.shares, same, repeats, device, kind, name)
    for part in (mixture, neighbours, diagnosis):
        job, note = partial(part, device), str(part.__doc__).rstrip(".")
        rows += timed(f"scaling-{part.__name__}", job, counts, counts, 10 * repeats, device, "float32", note)
    report(rows, options)


def timed(
    name: str,
    make: Callable[[Any], Job],
    sizes: Sequence[float],
    images: Sequence[int],
    repeats: int,
    device: torch.device,
    precision: str,
    note: str,
) -> list[Row]:
    """A row for each size; prints how far they are from a line. A job that is repeated is called once more before."""
    rows = []
    for size, count in zip(sizes, images, strict=True):
        job, times = make(size), list[float]()
        for _ in range(repeats + (repeats > 1)):
            begin = time.perf_counter()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        rows.append(make_row(name, str(size), count, times[-repeats:], device, precision, f"{note}; {load()}"))
    if len(rows) > 2:
        print(f"{name}: {off_the_line(sizes, [row.seconds for row in rows]):.1%} off the line at most")
    return rows


def off_the_line(x: Sequence[float], y: Sequence[float]) -> float:
    """The largest deviation from the line of median slope (Theil and Sen), as a share of the line's value."""
    slope, intercept, *_ = theilslopes(y, x, method="joint")
    return float(max(abs(np.array(y) / (intercept + slope * np.array(x)) - 1)))


def mixture(device: torch.device, count: int) -> Job:
    """A mixture of two Gaussians over so many losses."""
    losses = torch.rand(count, device=device)
    return lambda: fit_two_components(losses)


def neighbours(device: torch.device, count: int) -> Job:
    """The 10 nearest of so many rows of 128 numbers to each of 1,000."""
    bank = torch.randn(count, 128, device=device)
    return lambda: nearest(bank[:1_000], bank, 10)


def diagnosis(device: torch.device, count: int) -> Job:
    """TCL's diagnosis of so many labels of 10 classes from 128 numbers each."""
    v, p = functional.normalize(torch.randn(count, 128, device=device), dim=1), torch.rand(count, 10, device=device)
    labels, method = torch.randint(10, (count,), device=device), DiagnosisParams(name="tcl")
    return lambda: diagnose(v, p / p.sum(dim=1, keepdim=True), labels, method)


if __name__ == "__main__":
    main()
