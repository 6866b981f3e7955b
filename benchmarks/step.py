"""Training steps on a CPU with the memory allocator as a run sets it, and as the C library has it.

python -m benchmarks.step [--network NAME] [--width W] [--batch B] [--threads T] [--repeats R] [--dry-run]

The allocator belongs to a process, so that each repeat is a process of its own; the two variants take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.rows import RESULTS, append, make_row
from nlkit.models import build_model
from nlkit.params.sections import ModelParams
from nlkit.training.provenance import keep_freed_memory

VARIANTS = ("kept", "default")
STEPS = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both variants in turn, print seconds and ratio, and append a row for each."""
    parser = argparse.ArgumentParser(description="Seconds of training steps by memory allocator.")
    parser.add_argument("--network", default="pooled_resnet")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.variant:
        print(seconds(options))
        return
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    command = [sys.executable, "-m", "benchmarks.step", *(sys.argv[1:] if arguments is None else arguments)]
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.repeats):
        for name in VARIANTS:
            child = subprocess.run([*command, "--variant", name], check=True, capture_output=True, text=True)
            found[name].append(float(child.stdout))
    note = f"{options.network}, width {options.width}, batch {options.batch}; CPU seconds; {load}"
    cpu, images = torch.device("cpu"), STEPS * options.batch
    rows = [make_row("step", name, images, times, cpu, "bfloat16", note) for name, times in found.items()]
    for row in rows:
        print(f"{row.variant:8} {row.seconds:8.3f} s, {row.images_per_second:8.1f} images a CPU second")
    print(f"ratio    {rows[1].seconds / rows[0].seconds:8.2f}")
    if not options.dry_run:
        append(rows, options.out)


def seconds(options: argparse.Namespace) -> float:
    """CPU seconds of some training steps in bfloat16, after ten that are not timed."""
    if options.variant == "kept":
        keep_freed_memory()
    net = build_model(ModelParams(name=options.network, width=options.width), 3, 10, 0)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(options.batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,))
    begin = 0.0
    for step in range(-10, STEPS):
        if step == 0:
            begin = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(images).float()
        optimiser.zero_grad()
        functional.cross_entropy(logits, labels).backward()
        optimiser.step()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
