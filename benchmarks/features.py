"""Cleaning by features: time and memory of `nlkit clean --features` on random rows around the centres of classes.

python -m benchmarks.features                  writes features.csv; needs about two minutes of an idle machine
python -m benchmarks.features --rows 300000    adds one row; nine times the work of 100,000
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import rows
from nlkit.files import commit, write_atomically
from nlkit.training.provenance import describe_device

COLUMNS, CLASSES, WRONG = 512, 1_000, 0.3
ROWS = (10_000, 50_000, 100_000)
# The peak of the process alone: a child would begin with that of its parent.
COMMAND = """
import sys
from nlkit.cli import main
main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def main() -> None:
    """Time each number of rows once, and write the table."""
    parser = argparse.ArgumentParser(description="Time and memory of cleaning by features.")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="how many rows; others of the table stay")
    options, found, path = parser.parse_args(), [], Path(__file__).with_suffix(".csv")
    for count in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            found.append(timed(Path(folder), count))
    table = pd.DataFrame(found)
    print(table.to_string(index=False))
    if not options.dry_run:
        machine = describe_device(torch.device("cpu"))
        table["machine"] = rows.short(machine["name"], machine["threads"])
        table["commit"] = (commit() or "unknown")[:7]
        kept = pd.read_csv(path).query("rows not in @table.rows")
        write_atomically(path, pd.concat([kept, table]).sort_values("rows").to_csv(index=False))


def timed(folder: Path, count: int) -> dict[str, int | float]:
    """What cleaning so many rows takes, from the file to the scores, with the start of the program."""
    random = np.random.default_rng(0)
    true, centres = random.integers(0, CLASSES, count), random.standard_normal((CLASSES, COLUMNS), dtype=np.float32)
    features = centres[true] + 1.5 * random.standard_normal((count, COLUMNS), dtype=np.float32)
    given = np.where(random.random(count) < WRONG, random.integers(0, CLASSES, count), true)
    np.savez(folder / "features.npz", features=features, labels=given)
    words = ["clean", "--features", str(folder / "features.npz"), "--out", str(folder / "scores.csv")]
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    right = (pd.read_csv(folder / "scores.csv")["suggested_label"] == true).mean()
    peak = int(done.stdout.split()[-1]) / 1024
    good = round(100 * float(right), 1)
    return {"rows": count, "seconds": round(seconds, 1), "peak MB": round(peak), "right suggestions %": good}


if __name__ == "__main__":
    main()
