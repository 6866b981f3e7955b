"""Settings of the laptop cells, compared on held-out training images with their *observed* labels.

python -m benchmarks.laptop_search params/dividemix/cifar10n-worst-laptop.yaml [-s KEY=VALUE ...] [--held-out 10000]

A run trains as `nlkit run` does, but what it is tested on are the last training images of the data set, which the
laptop cells do not train on, with the labels that annotators gave them. Neither clean labels nor test images are seen.
Each run adds a row to `laptop_search.csv`; one that was interrupted is resumed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nlkit.data import data_root
from nlkit.errors import NlkitError
from nlkit.files import commit
from nlkit.noise import NoisyLabels
from nlkit.params import load_params, parse_override, registry
from nlkit.training.problem import load_problem
from nlkit.training.provenance import describe_device
from nlkit.training.runs import choose_device, train

RESULTS = Path(__file__).with_name("laptop_search.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one setting, print what it reaches on the held-out images, and add its row."""
    parser = argparse.ArgumentParser(description="Compare settings of a laptop cell on held-out noisy labels.")
    parser.add_argument("params", type=Path)
    parser.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--held-out", type=int, default=10_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/search"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    overrides = dict(map(parse_override, options.overrides))
    params = load_params(options.params, **overrides)
    root, device = data_root(options.data), choose_device("auto")
    size = getattr(params.data, "train_size", None)
    if size is None:
        raise NlkitError("data.train_size is missing: there are no images left to hold out")
    everything = params.data.model_copy(update={"train_size": None})
    whole = load_problem(params.model_copy(update={"data": everything}), root, device)
    held = slice(len(whole.train) - options.held_out, None)
    if size > len(whole.train) - options.held_out:
        raise NlkitError(f"data.train_size is {size}: it overlaps with the last {options.held_out} images")
    images, labels = whole.train.images, whole.train.labels[:size]
    assert isinstance(images, torch.Tensor)
    problem = replace(
        whole,
        train=replace(whole.train, images=images[:size], labels=labels),
        clean=None,
        tests={"test": (images[held], whole.train.labels[held])},
        noise=NoisyLabels.of(labels.cpu().numpy(), None, None),
        sha256=hashlib.sha256(f"{whole.sha256} {size} {options.held_out}".encode()).hexdigest(),
    )
    run = train(problem, params, options.runs / params.paper / params.cell / params.digest[:16], root)
    accuracy = run.epochs["accuracy"].to_numpy()
    passes = registry.find(params.method.name).passes
    row = {
        "paper": params.paper, "cell": params.cell, "seed": params.seed,
        "settings": " ".join(sorted(options.overrides)), "held_out": options.held_out,
        "last": round(float(accuracy[-1]), 2), "best": round(float(accuracy.max()), 2),
        "best_epoch": int(np.argmax(accuracy)) + 1, "epochs": len(accuracy),
        "passes": int(passes(params, size, run.epochs)) if passes else "",
        "seconds": round(run.record["seconds"]), "precision": run.record["precision"],
        "device": describe_device(device)["name"], "commit": commit() or "unknown",
    }  # fmt: skip
    print(row)
    new = not options.out.exists()
    with options.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
