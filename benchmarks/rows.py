"""Rows of results.csv: what was timed, on which machine, with which versions."""

from __future__ import annotations

import csv
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
    spread = f"p20 {low:.3g} s, p80 {high:.3g} s, n = {len(seconds)}, warm-up pass excluded"
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
