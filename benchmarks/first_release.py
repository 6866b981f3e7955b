"""CPU seconds of a digits run of DivideMix by the code of this folder and by that of another checkout, in turn.

python -m benchmarks.first_release --against FOLDER [-s KEY=VALUE ...] [--repeats R] [--dry-run] [--out FILE]

Each run is a process of its own with one thread, from the parameter file of its own checkout. To compare with the
first release: git worktree add FOLDER de59615
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import load, make_row, options_of, report

HERE = Path(__file__).parents[1]
PARAMS = "params/dividemix/digits-sym-50.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both in turn, print seconds and ratio, and append a row for each."""
    parser = options_of("CPU seconds of a digits run, by two checkouts.", repeats=3)
    parser.add_argument("--against", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="for a shorter run")
    options = parser.parse_args(arguments)
    folders = {"today": HERE, "against": options.against.resolve()}
    seconds: dict[str, list[float]] = {name: [] for name in folders}
    records: dict[str, dict[str, Any]] = {}
    for _ in range(options.repeats):
        for name, folder in folders.items():
            took, records[name] = run(folder, options.set)
            seconds[name].append(took)
    torch.set_num_threads(1)
    rows = []
    for name, times in seconds.items():
        made = records[name]
        what = f"{made['params']['training']['epochs']} epochs, last accuracy {made['accuracy']['last']:.2f}"
        note = f"{PARAMS}, CPU seconds of the whole process; {what}; code of {made['commit']}; {load()}"
        rows.append(
            make_row("release", name, made["data"]["train"], times, torch.device("cpu"), made["precision"], note)
        )
    report(rows, options)
    print(f"ratio {rows[0].seconds / rows[1].seconds:.3f}")


def run(folder: Path, settings: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """CPU seconds of a run by the code of a folder, and its record."""
    with tempfile.TemporaryDirectory() as out:
        words = [word for setting in settings for word in ("-s", setting)]
        command = [sys.executable, "-m", "nlkit", "run", PARAMS, "--out", out, "--fresh", "--quiet", "--device", "cpu"]
        environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*command, *words], cwd=folder, env=environment, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{folder}: {done.stderr.strip()}")
        record = json.loads((Path(out) / "record.json").read_text(encoding="utf-8"))
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, record


if __name__ == "__main__":
    main()
