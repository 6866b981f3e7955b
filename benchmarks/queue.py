"""As many runs as fit into a given time, the most valuable ones first; for whoever has a GPU for half an hour.

python -m benchmarks.queue --minutes 9 [--more 20] [--data DIR] [--runs DIR] [--records DIR] [--queue FILE]

`--minutes` is the time of this call, `--more` what further calls will have. A run that cannot end within both is given
up as soon as the seconds of its epochs are known; one that cannot end within this call is stopped at its end, and the
next call with the same folders resumes it. Finished records are copied to `--records`, and nothing else is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from nlkit.params import load_params
from nlkit.training import records
from nlkit.training.loop import load_latest

EVERY_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Go through the queue until the time is over, and say of each run what became of it; 1 if every one failed."""
    parser = argparse.ArgumentParser(description="Runs in the order of their worth, as many as fit into the time.")
    parser.add_argument("--minutes", type=float, required=True, help="of this call")
    parser.add_argument("--more", type=float, default=0.0, help="minutes of further calls")
    parser.add_argument("--data", type=Path, help="data root (default: $NLKIT_DATA, else data/)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints, for the next call")
    parser.add_argument("--records", type=Path, default=Path("results"), help="finished records alone")
    parser.add_argument("--queue", type=Path, default=Path(__file__).with_suffix(".yaml"))
    options = parser.parse_args(arguments)
    end, outcomes = time.monotonic() + 60 * options.minutes, list[str]()
    for cell, seed in cells(options.queue):
        folder = options.runs / cell / f"seed-{seed}"
        there = options.records / cell / f"seed-{seed}" / "record.json"
        if (folder / "record.json").exists() or there.exists():
            continue
        if (left := end - time.monotonic()) <= 0:
            break
        if state(cell, folder)[1] > left + 60 * options.more:
            continue
        outcomes.append(one(cell, seed, folder, options.data, end, 60 * options.more))
        print(f"{cell} {seed}: {outcomes[-1]}", flush=True)
        if (folder / "record.json").exists():
            records.adopt(folder, options.records)
    return int(bool(outcomes) and all(outcome.startswith("failed") for outcome in outcomes))


def cells(queue: Path) -> Iterator[tuple[str, int]]:
    """Cells and seeds of a queue, in order."""
    for entry in yaml.safe_load(queue.read_text(encoding="utf-8")):
        for cell, seeds in entry.items():
            yield from ((cell, seed) for seed in seeds)


def one(cell: str, seed: int, folder: Path, data: Path | None, end: float, more: float) -> str:
    """Start or resume one run, watch it, and say how it ended."""
    path = f"params/{cell}.yaml"
    root = [] if data is None else ["--data", str(data)]
    command = [sys.executable, "-m", "nlkit", "run", path, "-s", f"seed={seed}", "--out", str(folder), *root, "--quiet"]
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(EVERY_SECONDS)
            left = end - time.monotonic()
            epochs, needed = state(cell, folder)
            if process.poll() is not None or (left > 0 and needed <= left + more):
                continue  # what has ended by itself was not stopped
            process.kill()  # checkpoints are whole at any moment
            process.wait()
            if left <= 0:  # until then it might have ended in time
                return f"stopped after {epochs} epochs; the next call goes on"
            return f"given up: {needed:.0f} s are needed after {epochs} epochs"
    return "finished" if process.returncode == 0 else f"failed with exit status {process.returncode}"


def state(cell: str, folder: Path) -> tuple[int, float]:
    """The epochs of a run so far, and the seconds that it needs yet; 0.0 where no epoch after the warm-up is known."""
    params = load_params(f"params/{cell}.yaml")
    seconds = [row["seconds"] for row in load_latest(folder / "checkpoints")[1].get("rows", [])]
    known = len(seconds) > getattr(params.method, "warm_up", 0)
    return len(seconds), (params.training.epochs - len(seconds)) * seconds[-1] if known else 0.0


if __name__ == "__main__":
    sys.exit(main())
