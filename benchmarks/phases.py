"""Where the time of a DivideMix epoch goes, ours and the reference loop's, and a step beside a product of matrices.

python -m benchmarks.phases [--images N] [--device cuda] [--threads T] [--repeats R] [--dry-run] [--out FILE]

Functions of the package are timed from outside. A phase is what its functions take without the phases inside them;
on a GPU each is waited for, so that there the sum is more than an undisturbed epoch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from sklearn.mixture import GaussianMixture
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.epoch import Epoch, ours, reference
from benchmarks.reference_loop import ReferenceDivideMix
from benchmarks.rows import Row, load, make_row, options_of, report
from nlkit.methods import dividemix
from nlkit.methods.dividemix import DivideMix
from nlkit.parts.learner import Learner, choose_precision
from nlkit.training import bench
from nlkit.training.provenance import keep_freed_memory
from nlkit.training.runs import choose_device
from nlkit.views import Views

OURS: dict[str, list[tuple[Any, str]]] = {
    "images and views": [(Views, "weak"), (Views, "plain")],
    "guesses": [(DivideMix, "targets")],
    "forward and losses": [(dividemix, "mixmatch")],
    "backward": [(torch.Tensor, "backward")],
    "optimiser": [(Learner, "update")],
    "loss pass": [(Learner, "losses")],
    "mixture": [(dividemix, "normalise"), (dividemix, "fit_mixture")],
}
REFERENCE: dict[str, list[tuple[Any, str]]] = {
    "images and views": [(DataLoader, "__iter__"), (_BaseDataLoaderIter, "__next__")],
    "guesses": [(ReferenceDivideMix, "_targets")],
    "forward and losses": [(ReferenceDivideMix, "_step")],
    "backward": [(torch.Tensor, "backward")],
    "optimiser": [(torch.optim.SGD, "step")],
    "loss pass": [(ReferenceDivideMix, "_losses")],
    "mixture": [(GaussianMixture, "fit"), (GaussianMixture, "predict_proba")],
}
"""By phase the functions that make it up, with what holds them."""
SIDE = 2048
"""Of the square matrices that are multiplied."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the phases of epochs, a product of matrices, and a step of each network; append a row for each."""
    parser = options_of("Where the time of an epoch goes.", repeats=3)
    parser.add_argument("--images", type=int, default=1000, help="training images (default: 1000)")
    parser.add_argument("--labelled", type=float, default=0.5, help="share of the images in X (default: 0.5)")
    parser.add_argument("--least", type=float, default=1.0, help="seconds of a network's steps (default: 1)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    if device.type == "cpu":
        keep_freed_memory()  # as a run does
    rows: list[Row] = []
    for name in ("digits", "laptop"):
        params = bench.cells_of(bench.SETTINGS[name])["dividemix"]
        data = bench.random_images(bench.SETTINGS[name], options.images, device)
        precision = str(choose_precision(params.training.precision, device)).removeprefix("torch.")
        note = f"{options.labelled:.0%} labelled, random images, {params.model.name}; {load()}"
        found = phases(ours(data, params, options.labelled), OURS, options.repeats, device)
        rows += rows_of(f"phases-{name}", found, options.images, device, precision, note)
        if name == "laptop":
            found = phases(reference(data, params, options.labelled), REFERENCE, options.repeats, device)
            rows += rows_of("phases-reference", found, options.images, device, "float32", note)
    rows += products(options.repeats, device) + steps(options.repeats, options.least, device)
    report(rows, options)


def rows_of(
    name: str, found: dict[str, list[float]], images: int, device: torch.device, precision: str, note: str
) -> list[Row]:
    """A row for each phase."""
    return [make_row(name, phase, images, times, device, precision, note) for phase, times in found.items()]


def phases(
    epoch: Epoch, parts: dict[str, list[tuple[Any, str]]], repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each phase in each of some epochs, after one that is not counted; the rest is `other`."""
    found: dict[str, list[float]] = {name: [] for name in (*parts, "other")}
    for repeat in range(repeats + 1):
        clock = Clock(device)
        with clock.around(parts):
            clock.timed("other", epoch)()
        for name, seconds in found.items() if repeat else ():
            seconds.append(clock.seconds[name])
    return found


class Clock:
    """Seconds by name; what runs inside of what else is timed counts for the inner one only."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.inside: list[float] = []
        self.wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose seconds are added under a name."""

        @wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            self.wait()
            begin = time.perf_counter()
            self.inside.append(0.0)
            try:
                return function(*given, **named)
            finally:
                self.wait()
                took = time.perf_counter() - begin
                self.seconds[name] += took - self.inside.pop()
                if self.inside:
                    self.inside[-1] += took

        return run

    @contextmanager
    def around(self, parts: dict[str, list[tuple[Any, str]]]) -> Iterator[None]:
        """Inside, the functions of the phases are timed."""
        with ExitStack() as stack:
            for name, functions in parts.items():
                for owner, function in functions:
                    stack.enter_context(patch.object(owner, function, self.timed(name, getattr(owner, function))))
            yield


def products(repeats: int, device: torch.device) -> list[Row]:
    """Products of two square matrices: the arithmetic that the machine can do. `images` counts millions of FLOP."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, SIDE, SIDE, device=device).to(dtype)
        clock, times = Clock(device), []
        for _ in range(5 * repeats + 1):
            clock.seconds.clear()
            clock.timed("product", torch.mm)(a, b)
            times.append(clock.seconds["product"])
        note = f"product of matrices, {SIDE} x {SIDE}; images are millions of FLOP; {load()}"
        precision = str(dtype).removeprefix("torch.")
        rows.append(make_row("gemm", precision, 2 * SIDE**3 // 10**6, times[1:], device, precision, note))
    return rows


def steps(repeats: int, least: float, device: torch.device) -> list[Row]:
    """A training step of each network of the parameter files on 64 images, and its arithmetic."""
    nets = {
        one.model: (one, setting) for setting in bench.SETTINGS.values() for one in bench.cells_of(setting).values()
    }
    rows = []
    for model, (params, setting) in nets.items():
        data, threads = bench.random_images(setting, 64, device), torch.get_num_threads()
        times = [64 / bench.rate(params, data, threads, least) for _ in range(repeats)]
        assert isinstance(data.images, torch.Tensor)
        learner = Learner(data, params, "arithmetic")
        with FlopCounterMode(display=False) as counter:
            functional.cross_entropy(learner(learner.views.plain(data.images)), data.labels).backward()
        note = f"{counter.get_total_flops() / 64e6:.4g} MFLOP an image, forward and backward; {load()}"
        precision = str(learner.dtype).removeprefix("torch.")
        rows.append(
            make_row("network", f"{model.name} {getattr(model, 'width', '')}", 64, times, device, precision, note)
        )
    return rows


if __name__ == "__main__":
    main()
