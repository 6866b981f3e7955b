"""Rows of results.csv: what was timed, on which machine, with which versions."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from nlkit.files import commit
from nlkit.training.provenance import describe_device, versions

RESULTS = Path(__file__).with_name("results.csv")


@dataclass(frozen=True)
class Row:
    """One timing; `seconds` is the median and `images_per_second` the training images over it."""

    timestamp: str
    benchmark: str
    variant: str
    images: int
    seconds: float
    images_per_second: float
    device: str
    threads: int
    precision: str
    torch: str
    python: str
    commit: str
    note: str


def make_row(
    benchmark: str, variant: str, images: int, seconds: Sequence[float], device: torch.device, precision: str, note: str
) -> Row:
    """The row of some repeats of one variant; the note gets their 20th and 80th percentiles."""
    low, middle, high = np.percentile(seconds, [20, 50, 80])
    machine, found = describe_device(device), versions()
    spread = f"p20 {low:.3g} s, p80 {high:.3g} s, n = {len(seconds)}"
    return Row(
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        benchmark=benchmark,
        variant=variant,
        images=images,
        seconds=round(float(middle), 7),
        images_per_second=round(images / float(middle), 2),
        device=machine["name"],
        threads=machine["threads"],
        precision=precision,
        torch=found["torch"],
        python=found["python"],
        commit=commit() or "unknown",
        note=f"{spread}; {note}",
    )


def append(rows: Sequence[Row], path: Path) -> None:
    """Add rows to a CSV file, which gets its header where it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def options_of(description: str, repeats: int) -> argparse.ArgumentParser:
    """A parser with the options that the scripts share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a CPU")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"timed repeats of each (default: {repeats})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that gets the rows")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    return parser


def short(device: str, threads: int | str) -> str:
    """A machine in few words: `Intel Xeon, 2 threads`."""
    return f"{device.replace('(R)', '').removesuffix(' Processor')}, {threads} thread{'s' * (int(threads) != 1)}"


def load() -> str:
    """How busy the machine is, for a note."""
    return f"load average {os.getloadavg()[0]:.1f}"


def report(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Print rows and append them to the file that the options name, unless they only try."""
    for row in rows:
        print(f"{row.benchmark:<18} {row.variant:<26} {row.seconds:12.6f} s  {row.note}")
    if not options.dry_run:
        append(rows, options.out)
