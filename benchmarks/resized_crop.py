"""Seconds of random resized crops of photographs: our kernel, its naive form, and a loop over Pillow, in turn.

python -m benchmarks.resized_crop [--images N] [--size S] [--device cuda] [--repeats R] [--variants ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.rows import RESULTS, append, make_row
from nlkit.data.photos.stored import ImageBatch
from nlkit.kernels import resized_crop
from nlkit.kernels.resized_crop import naive
from nlkit.training.runs import choose_device
from nlkit.views.photos import Box, crop_boxes, longest_side

SHORT, LONG = 320, 427
SMALLEST = 0.08
VARIANTS = ("ours", "naive", "pillow")


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the variants in turn, print them, and append a row for each."""
    options = parse(arguments)
    device = choose_device(options.device)
    pictures = photographs(options.images)
    batch = on_device(pictures, options.size, device)
    stream = torch.Generator(device=device).manual_seed(0)
    box = crop_boxes(batch.heights, batch.widths, SMALLEST, stream)
    flip = torch.rand(len(batch), generator=stream, device=device) < 0.5
    crop = batch, box, options.size, flip, longest_side(batch.largest)
    jobs: dict[str, Callable[[], object]] = {
        "ours": lambda: resized_crop.resized_crop(*crop),
        "naive": lambda: naive.resized_crop(*crop),
        "pillow": lambda: by_pillow(pictures, box, options.size, flip),
    }
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    note = f"random pixels; {SHORT} x {LONG} to {options.size}; {load}"
    seconds = measure({name: jobs[name] for name in options.variants}, options.repeats, device)
    rows = [
        make_row("resized_crop", name, options.images, times, device, "uint8", note) for name, times in seconds.items()
    ]
    for row in rows:
        print(f"{row.variant:<8} {row.images_per_second:10.1f} images/s, {row.note}")
    if not options.dry_run:
        append(rows, options.out)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Images per second of random resized crops, ours and Pillow's.")
    parser.add_argument("--images", type=int, default=64, help="images of a batch (default: 64)")
    parser.add_argument("--size", type=int, default=224, help="side of the result (default: 224)")
    parser.add_argument("--repeats", type=int, default=5, help="timed batches of each variant (default: 5)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="of ours and naive")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that gets the rows")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    return parser.parse_args(arguments)


def photographs(count: int) -> list[np.ndarray]:
    """Random images, half of them upright."""
    rng = np.random.default_rng(0)
    shapes = [(SHORT, LONG, 3) if k % 2 else (LONG, SHORT, 3) for k in range(count)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def on_device(pictures: list[np.ndarray], side: int, device: torch.device) -> ImageBatch:
    """The batch that a store would give."""
    flat = torch.from_numpy(np.concatenate([one.ravel() for one in pictures])).to(device)
    heights, widths = (torch.tensor([one.shape[axis] for one in pictures], device=device) for axis in (0, 1))
    lengths = 3 * heights * widths
    return ImageBatch(flat, lengths.cumsum(0) - lengths, heights, widths, torch.zeros_like(heights), side, SHORT * LONG)


def by_pillow(pictures: list[np.ndarray], box: Box, size: int, flip: Tensor) -> np.ndarray:
    """The same crops as torchvision's transforms make them of decoded images, one after the other."""
    result = np.empty((len(pictures), size, size, 3), np.uint8)
    numbers = torch.stack([*box, flip.long()], dim=1).tolist()
    for k, (top, left, height, width, mirrored) in enumerate(numbers):
        crop = Image.fromarray(pictures[k]).crop((left, top, left + width, top + height))
        small = crop.resize((size, size), Image.Resampling.BILINEAR)
        result[k] = np.asarray(small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else small)
    return result


def measure(jobs: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each job, in turn; one pass before is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
