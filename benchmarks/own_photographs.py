"""Wrong labels among photographs as files, as `nlkit clean` finds them: how well, in what time, and after being killed.

python -m benchmarks.own_photographs [--data ROOT] [--images N] [--methods NAME ...] [--kills K] [--dry-run]

Images are drawn from CIFAR-10, written as PNG files, and have labels of people: the worst of three in CIFAR-10N. The
true labels stand in a column that the command is asked to measure with, and that no method sees. Each call has one
thread. A row a method goes to own_photographs.csv, and a picture of what the first one trusts least to the book.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from nlkit import figures
from nlkit.data import cifar, data_root
from nlkit.figures.images import image_grid, show
from nlkit.files import commit
from nlkit.noise.human import human_labels
from nlkit.training.provenance import describe_device

HERE = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("own_photographs.csv")
PICTURE = HERE / "book/_static/own_photographs.png"
SHOWN = (3, 8)
"""Rows and columns of the picture."""
HELD_OUT = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Clean the same images with each method, kill the first one's run at random moments, and write what came out."""
    parser = argparse.ArgumentParser(description="How well and how fast wrong labels of photographs are found.")
    parser.add_argument("--data", type=Path, help="root of the data sets (default: $NLKIT_DATA, else data/)")
    parser.add_argument("--images", type=int, default=5000, help="files (default: 5000)")
    parser.add_argument("--methods", nargs="+", default=["elr", "dividemix", "cross_entropy"])
    parser.add_argument("--kills", type=int, default=10, help="of the first method's second run (default: 10)")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        table = write_images(place, options.images, data_root(options.data))
        rows = []
        for method in options.methods:
            rows.append(measure(place, table, method))
            print(json.dumps(rows[-1]))
        if options.kills:
            rows[0]["kills"] = killed_and_resumed(place, options.methods[0], options.kills, rows[0]["seconds"])
            print(f"equal scores after {options.kills} kills")
        if not options.dry_run:
            with TABLE.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n", restval=0)
                writer.writeheader()
                writer.writerows(rows)
            draw(place, table, place / f"{options.methods[0]}.csv")


def write_images(place: Path, count: int, root: Path) -> pd.DataFrame:
    """Write PNG files and `labels.csv`; the table `path, label, truth`."""
    dataset = cifar.load_cifar("cifar10", root)
    given, names = human_labels("worst", root, dataset), np.array(dataset.class_names)
    chosen = np.sort(np.random.default_rng(0).choice(len(given), count, replace=False))
    (place / "images").mkdir()
    for index in tqdm(chosen, desc="writing images", unit="image"):
        Image.fromarray(dataset.images[index]).save(place / f"images/{index:05d}.png")
    paths = [f"{index:05d}.png" for index in chosen]
    truth = dataset.labels[chosen]
    table = pd.DataFrame({"path": paths, "label": names[given[chosen]], "truth": names[truth]})
    table.to_csv(place / "labels.csv", index=False)
    return table


def command(place: Path, method: str, out: str) -> list[str]:
    """The call that cleans the images."""
    words = ["clean", str(place / "images"), "--labels", str(place / "labels.csv"), "--truth", "truth", "--flip"]
    words += ["--hold-out", str(HELD_OUT), "--method", method, "--out", str(place / out), "--device", "cpu", "--quiet"]
    return [sys.executable, "-m", "nlkit", *words, "-s", "training.threads=1"]


def run(words: list[str], seconds: float | None = None) -> tuple[int, Any]:
    """Exit status and resources of a process with one thread, which is killed after so many seconds."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    if seconds is not None:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), used


def measure(place: Path, table: pd.DataFrame, method: str) -> dict[str, Any]:
    """Clean with a method; the row of what it found among the images that were not held out, and what it took."""
    start = time.perf_counter()
    code, used = run(command(place, method, f"{method}.csv"))
    if code:
        raise SystemExit(f"nlkit clean --method {method} ended with {code}")
    found = pd.read_csv(place / f"{method}.csv").merge(table[["path", "truth"]], on="path")
    record = json.loads((place / method / "record.json").read_text(encoding="utf-8"))
    wrong, issue = found["label"] != found["truth"], found["is_label_issue"]
    right = issue & (found["suggested_label"] == found["truth"])
    tested = pd.read_csv(place / method / "test_scores.csv").merge(table[["path", "truth"]], on="path")
    return {
        "method": method,
        "images": len(found),
        "wrong": round(100 * float(wrong.mean()), 1),
        "auc": round(float(roc_auc_score(~wrong, found["p_clean"])), 3),
        "issues": int(issue.sum()),
        "precision": round(float(wrong[issue].mean()), 3),
        "recall": round(float(issue[wrong].mean()), 3),
        "corrected": round(float(right.sum() / max(issue.sum(), 1)), 3),
        "accuracy": round(100 * float((tested["predicted_label"] == tested["truth"]).mean()), 1),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "kills": 0,
        "network": f"{record['params']['model']['name']} {record['params']['model']['width']}",
        "device": describe_device(torch.device("cpu"))["name"],
        "commit": commit() or "unknown",
    }


def killed_and_resumed(place: Path, method: str, kills: int, seconds: float) -> int:
    """The number of kills after which a run ended with the very scores of an undisturbed one; else SystemExit."""
    moments = np.random.default_rng(0)
    done = 0
    while done < kills:
        code, _ = run(command(place, method, "killed.csv"), seconds * float(moments.uniform(0.05, 1.5)) / kills)
        done += code == -signal.SIGKILL
    if run(command(place, method, "killed.csv"))[0]:
        raise SystemExit("the run that was killed cannot be finished")
    if (place / "killed.csv").read_bytes() != (place / f"{method}.csv").read_bytes():
        raise SystemExit("the scores of the run that was killed differ")
    return done


def draw(place: Path, table: pd.DataFrame, scores: Path) -> None:
    """The images that are trusted least, with the given and the suggested label; false alarms are coloured."""
    found = pd.read_csv(scores).merge(table[["path", "truth"]], on="path")
    worst = found[found["is_label_issue"]].nsmallest(SHOWN[0] * SHOWN[1], "label_quality")
    figures.use_book_style()
    figure, axes = image_grid(*SHOWN, extra=0.4)
    for ax, (_, row) in zip(axes.flat, worst.iterrows(), strict=False):
        show(ax, np.asarray(Image.open(place / "images" / row["path"])))
        ax.set_title(
            f"{row['label']}\n{row['suggested_label']}?", color="black" if row["label"] != row["truth"] else "C3"
        )
    figure.savefig(PICTURE, dpi=160, facecolor="white")


if __name__ == "__main__":
    main()
