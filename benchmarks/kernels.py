"""Seconds of each kernel: its plain form, that form compiled, Triton's, and the library that users would take.

python -m benchmarks.kernels [--operations NAME ...] [--device cuda] [--threads T] [--repeats R] [--dry-run]

Triton's form is timed on a GPU only. All variants of an operation take turns in one process, which
keeps freed memory as a run does.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.resized_crop import measure
from benchmarks.rows import RESULTS, append, make_row
from nlkit.training.provenance import keep_freed_memory
from nlkit.training.runs import choose_device

Jobs = dict[str, Callable[[], object]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the variants of the operations, print them, and append a row for each."""
    parser = argparse.ArgumentParser(description="Seconds of the kernels of nlkit in all their forms.")
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=list(OPERATIONS))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a CPU")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each variant (default: 5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that gets the rows")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    keep_freed_memory()  # as a run does; without it half of a large product's time on a CPU is page faults
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    for operation in options.operations:
        size, what, precision, jobs = OPERATIONS[operation](device)
        seconds = measure(jobs, options.repeats, device)
        rows = [
            make_row(operation, name, size, times, device, precision, f"{what}; {load}{peak(jobs[name], device)}")
            for name, times in seconds.items()
        ]
        for row in rows:
            print(f"{operation:<13} {row.variant:<10} {1000 * row.seconds:10.3f} ms, {row.note}")
        if not options.dry_run:
            append(rows, options.out)


def peak(job: Callable[[], object], device: torch.device) -> str:
    """What a call takes of a GPU's memory at most, beside its input."""
    if device.type != "cuda":
        return ""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    job()
    return f"; {(torch.cuda.max_memory_allocated() - before) / 2**20:.1f} MiB"


def forms(operation: str, function: str, device: torch.device, call: Callable[[Any], object]) -> Jobs:
    """`call` with each of our forms of a function."""
    naive = getattr(import_module(f"nlkit.kernels.{operation}.naive"), function)
    compiled = torch.compile(naive)
    jobs: Jobs = {"naive": lambda: call(naive), "compiled": lambda: call(compiled)}
    if device.type == "cuda":
        ours = getattr(import_module(f"nlkit.kernels.{operation}.triton"), function)
        jobs["triton"] = lambda: call(ours)
    return jobs


def crop_flip(device: torch.device) -> tuple[int, str, str, Jobs]:
    """Two views of each of 256 images; torchvision's transforms take one tensor after the other."""
    from torchvision.transforms import v2

    stream = torch.Generator(device=device).manual_seed(0)
    images = torch.randint(0, 256, (256, 32, 32, 3), generator=stream, dtype=torch.uint8, device=device)
    dy, dx = torch.randint(-4, 5, (2, 512), generator=stream, device=device)
    flip = torch.rand(512, generator=stream, device=device) < 0.5
    mean, std = torch.full((3,), 120.0, device=device), torch.full((3,), 60.0, device=device)
    jobs = forms("crop_flip", "crop_flip", device, lambda made: made(images, dy, dx, flip, mean, std))
    one = v2.Compose(
        [
            v2.RandomCrop(32, 4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32),
            v2.Normalize([120.0] * 3, [60.0] * 3),
        ]
    )
    rows = images.permute(0, 3, 1, 2)
    jobs["torchvision"] = lambda: torch.stack([one(row) for _ in range(2) for row in rows])
    return 512, "512 views of 32 x 32", "float32", jobs


def mixture(device: torch.device) -> tuple[int, str, str, Jobs]:
    """Ten iterations over 50,000 losses; scikit-learn from the same start."""
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.normal(0.15, 0.08, 30_000), rng.normal(0.6, 0.15, 20_000)]).clip(0, 1)
    values = torch.from_numpy(drawn).to(device)[None]
    inside, high = torch.ones_like(values, dtype=torch.bool), values > 0.4
    jobs = forms("mixture", "em", device, lambda em: em(values, inside, high, 10, 0.0, 5e-4))
    parts = drawn[drawn <= 0.4], drawn[drawn > 0.4]
    start = {
        "weights_init": [len(part) / len(drawn) for part in parts],
        "means_init": [[part.mean()] for part in parts],
        "precisions_init": [[[1 / part.var()]] for part in parts],
    }

    def by_scikit_learn() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that ten iterations are too few
            return GaussianMixture(2, max_iter=10, tol=0, reg_covar=5e-4, **start).fit(drawn[:, None])

    return 50_000, "50,000 values, 10 iterations", "float64", jobs | {"scikit-learn": by_scikit_learn}


def neighbours(device: torch.device) -> tuple[int, str, str, Jobs]:
    """The 10 nearest of 50,000 rows of 512 numbers to each of 5,000; with scikit-learn, and in blocks of `cdist`."""
    from sklearn.neighbors import NearestNeighbors

    stream = torch.Generator(device=device).manual_seed(0)
    bank = torch.randn(50_000, 512, generator=stream, device=device)
    queries = bank[:5_000]
    jobs = forms("neighbours", "nearest", device, lambda nearest: nearest(queries, bank, 10))
    jobs["blocks of cdist"] = lambda: [torch.cdist(q, bank).topk(10, largest=False) for q in queries.split(1024)]
    theirs = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(bank.cpu().numpy())
    return (
        5_000,
        "5,000 x 50,000 x 512, k = 10",
        "float32",
        jobs | {"scikit-learn": lambda: theirs.kneighbors(queries.cpu().numpy())},
    )


def soft_targets(device: torch.device) -> tuple[int, str, str, Jobs]:
    """Co-guessing of 64 images of 10 classes from four views."""
    logits = [torch.randn(64, 10, device=device) for _ in range(4)]
    jobs = forms("soft_targets", "soft_targets", device, lambda made: made(logits, 0.5, None, None))
    return 64, "4 views of 64 x 10", "float32", jobs


def soft_losses(device: torch.device) -> tuple[int, str, str, Jobs]:
    """MixMatch's losses and their gradient over 256 rows of 10 classes."""
    logits = torch.randn(256, 10, device=device, requires_grad=True)
    targets = torch.rand(256, 10, device=device)

    def call(losses: Callable[..., Sequence[Tensor]]) -> object:
        x, u, reg = losses(logits, targets, 128)
        return torch.autograd.grad(x + 25 * u + reg, logits)

    return 256, "256 x 10, forward and backward", "float32", forms("soft_losses", "soft_losses", device, call)


OPERATIONS = {one.__name__: one for one in (crop_flip, mixture, neighbours, soft_targets, soft_losses)}


if __name__ == "__main__":
    main()
