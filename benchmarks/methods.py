"""Seconds of an epoch of each method after its warm-up, on the network of the laptop cells, and of a pass.

python -m benchmarks.methods [--images N] [--device cuda] [--repeats R] [--dry-run] [--out FILE]

The time holds the division of the data and the evaluation of as many test images. A pass is one image going through a
network once; with gradient it counts three times.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.rows import load, make_row, options_of, report
from nlkit.parts.learner import choose_precision
from nlkit.training import bench
from nlkit.training.provenance import keep_freed_memory
from nlkit.training.runs import choose_device


def main(arguments: Sequence[str] | None = None) -> None:
    """Time an epoch of each method in turn, print them, and append a row for each."""
    parser = options_of("Seconds of an epoch of each method.", repeats=3)
    parser.add_argument("--images", type=int, default=1000, help="training images (default: 1000)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    device, setting = choose_device(options.device), bench.SETTINGS["laptop"]
    torch.set_num_threads(1)  # as the parameters have it
    if device.type == "cpu":
        keep_freed_memory()  # as a run does
    data, cells, note = bench.random_images(setting, options.images, device), bench.cells_of(setting), load()
    seconds: dict[str, list[float]] = {name: [] for name in cells}
    passes: dict[str, float] = {}
    for _ in range(options.repeats):
        for params, took, counted in bench.epochs(setting, cells, data):
            seconds[params.method.name].append(took)
            passes[params.method.name] = counted / options.images
    rows = []
    for name, times in seconds.items():
        precision = str(choose_precision(cells[name].training.precision, device)).removeprefix("torch.")
        what = f"{passes[name]:.2f} passes an image; random images, {cells[name].model.name}; {note}"
        rows.append(make_row("methods", name, options.images, times, device, precision, what))
    report(rows, options)


if __name__ == "__main__":
    main()
