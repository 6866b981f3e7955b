"""What the grid of all cells costs: hours of each kind, from passes and measured rates, and days on many devices.

python -m benchmarks.hours rates [--device cuda] [--threads 1]   times a training step of each network on this machine
python -m benchmarks.hours table                                 writes hours.csv from the newest rates of each machine
python -m benchmarks.hours check                                 estimates beside the seconds of committed records

An estimate is the passes of a run through its rate. Evaluation, division and reading of photographs are not counted.
"""

from __future__ import annotations

import csv
import heapq
import time
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from benchmarks import rows
from nlbook import contents
from nlkit.files import project_root, write_atomically
from nlkit.methods.base import GRADIENT
from nlkit.models import build_model, least_memory
from nlkit.params import Params, load_params, registry
from nlkit.parts.learner import choose_precision, through
from nlkit.training import records
from nlkit.training.bench import run_passes
from nlkit.training.loop import cpu_threads
from nlkit.training.runs import choose_device

IMAGES = {
    "digits": 1_347, "cifar10": 50_000, "cifar100": 50_000, "webvision": 65_944, "food101n": 310_009,
    "clothing1m": 1_000_000, "animal10n": 50_000, "mnist": 60_000, "fashion_mnist": 60_000,
}  # fmt: skip
"""Training images of the data sets, as their owners count them."""
SEEDS, DAY = 3, 86_400
WORKERS = (1, 8, 64)
KINDS = ("digits", "laptop", "cifar10", "cifar100", "photographs", "all")
Rates = Mapping[str, Mapping[str, float]]  # images a second through a training step, by machine and network


def network(params: Params[Any]) -> str:
    """What decides the rate: the network, its width, and the side of an image."""
    side = getattr(params.views, "size", 8 if params.data.name == "digits" else 32)
    return f"{params.model.name} {getattr(params.model, 'width', '')}".strip() + f", {side} px"


@cache
def cell(page: str) -> Params[Any]:
    """The parameters of a page."""
    return load_params(project_root() / contents.parameter_file(page))


@cache
def work(page: str) -> float | None:
    """Images that would go through training steps in the time of a run; None where passes or images are not known."""
    params = cell(page)
    count = getattr(params.data, "train_size", None) or IMAGES.get(params.data.name)
    if count is None or registry.find(params.method.name).passes is None:
        return None
    return run_passes(params, count) / GRADIENT


def estimates(pages: Sequence[str], rate: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each page's run, one seed, without the pages of which work or rate are not known."""
    known = {page: rate.get(network(cell(page))) for page in pages}
    return {page: images / speed for page, speed in known.items() if (images := work(page)) and speed}


def time_networks(options: Any) -> list[rows.Row]:
    """A row for each network of the grid: steps of plain cross-entropy on random images."""
    device, made = choose_device(options.device), []
    some = {network(params): params for params in map(cell, contents.grid(project_root())["all"])}
    for name, params in some.items():
        channels, side = 1 if params.data.name == "digits" else 3, int(name.split()[-2])
        size, model = 64, params.model
        if hasattr(model, "weights"):
            model = model.model_copy(update={"weights": None})
        while least_memory(model, (size, channels, side, side), 50) > 2**32 and device.type == "cpu":
            size //= 2
        with cpu_threads(options.threads):
            precision = choose_precision("auto", device)
            net = build_model(model, channels, 50, 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            inputs = torch.randn(size, channels, side, side, device=device)
            seconds = time_steps(net, inputs, precision, options.repeats)
            note = f"a step of cross-entropy, batches of {size}; {rows.load()}"
            text = str(precision).removeprefix("torch.")
            made.append(rows.make_row("rate", name, size, seconds, device, text, note))
    return made


def time_steps(net: nn.Module, inputs: torch.Tensor, precision: torch.dtype, repeats: int) -> list[float]:
    """Seconds of so many steps of SGD on a batch of images [B, channels, H, W], after two that are not counted."""
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    labels, ends = torch.arange(len(inputs), device=inputs.device), []
    for _ in range(repeats + 2):
        optimiser.zero_grad()
        functional.cross_entropy(through(net, inputs, precision).float(), labels % 10).backward()
        optimiser.step()
        if inputs.is_cuda:
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
    return [after - before for before, after in pairwise(ends[1:])]


def known_rates(path: Path = rows.RESULTS) -> Rates:
    """The newest rates of each machine, which has so many threads, in the results."""
    found: dict[str, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["benchmark"] == "rate":
                found.setdefault(rows.short(row["device"], row["threads"]), {})[row["variant"]] = float(
                    row["images_per_second"]
                )
    return found


def days(seconds: Mapping[str, float], workers: int) -> float:
    """Days until runs with so many seeds end on so many machines; each takes the longest that waits, encoders first.

    A run waits for its encoder.
    """
    encoders = {before for page in seconds for before in contents.pretraining(page)}
    free, ready = [0.0] * workers, dict[str, float]()
    for page in sorted(seconds, key=lambda page: (page not in encoders, -seconds[page])):
        for _ in range(SEEDS):
            begin = max([heapq.heappop(free), *(ready.get(before, 0.0) for before in contents.pretraining(page))])
            heapq.heappush(free, begin + seconds[page])
            ready.setdefault(page, begin + seconds[page])  # the first seed's encoder is that of all runs
    return max(free) / DAY


def table(rates: Rates) -> pd.DataFrame:
    """A row for each machine and kind of cells: runs, and days on one machine and on several of them."""
    made = []
    for machine, rate in rates.items():
        grid = contents.grid(project_root())
        for kind in sorted(grid, key=KINDS.index):
            pages = grid[kind]
            seconds = estimates(pages, rate)
            spent = {f"on {workers}": in_words(days(seconds, workers)) for workers in WORKERS}
            facts = {"machine": machine, "cells": kind, "runs": SEEDS * len(seconds)}
            made.append({**facts, "not known": SEEDS * (len(pages) - len(seconds)), **spent})
    return pd.DataFrame(made)


def in_words(spent: float) -> str:
    """Days as text, or hours where they are few."""
    return f"{spent:,.0f} days" if spent >= 3 else f"{24 * spent:.1f} h"


def summary(pages: Sequence[str]) -> str:
    """A line for each machine: the hours of these runs in turn, and how many have a network without a rate."""
    lines = []
    for machine, rate in known_rates().items():
        seconds = estimates(pages, rate)
        found = [seconds[page] for page in pages if page in seconds]
        unknown = f"; {len(pages) - len(found)} runs not counted" * (len(found) < len(pages))
        lines.append(f"about {sum(found) / 3600:,.1f} hours for {len(found)} runs on {machine}{unknown}")
    return "\n".join(lines)


def check(rates: Rates) -> pd.DataFrame:
    """Seconds of committed records of machines with rates over their estimates: the median and range of each method."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for path in sorted((project_root() / "results").rglob("record.json")):
        record = records.load(path.parent).info
        page, device = f"{record['paper']}-{record['cell']}", record["device"]
        rate = rates.get(rows.short(device["name"], device["threads"]), {})
        for estimate in estimates([page], rate).values():
            key = device["name"], contents.kind(record["cell"]), record["params"]["method"]["name"]
            found.setdefault(key, []).append(record["seconds"] / estimate)
    return pd.DataFrame(
        [(*key, len(ratios), median(ratios), min(ratios), max(ratios)) for key, ratios in found.items()],
        columns=["machine", "cells", "method", "runs", "median", "least", "most"],
    )


def main() -> None:
    """Time, tabulate, or check."""
    parser = rows.options_of("Hours of all cells.", repeats=3)
    parser.add_argument("action", choices=("rates", "table", "check"))
    parser.add_argument("--device", default="auto")
    parser.set_defaults(threads=1)
    options = parser.parse_args()
    if options.action == "rates":
        torch.set_num_threads(options.threads)
        rows.report(time_networks(options), options)
    elif options.action == "check":
        print(check(known_rates()).round(2).to_string(index=False))
    else:
        found = table(known_rates())
        print(found.to_string(index=False))
        write_atomically(Path(__file__).with_suffix(".csv"), found.to_csv(index=False))


if __name__ == "__main__":
    main()
