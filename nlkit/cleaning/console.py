"""What `nlkit clean` prints: the settings before training, and the findings after it."""

from __future__ import annotations

import sys

import pandas as pd

from nlkit.cleaning.features import FeatureResult
from nlkit.cleaning.images import CleanResult
from nlkit.data.folder import FolderData

LISTED = 20


def start(data: FolderData, choices: pd.DataFrame) -> None:
    """What was read, what was left out, and what was chosen, with the reasons."""
    tested = "" if data.test is None else f", {len(data.test.labels)} held out"
    print(f"{len(data.train.labels)} images of {len(data.class_names)} classes{tested}")
    for _, row in choices.iterrows():
        print(f"  {row['what']:<8} {row['value']:<28} {row['why']}")
    sys.stdout.flush()


def end(result: CleanResult | FeatureResult) -> None:
    """Where the results are, what was found, and on stderr what was left out."""
    table = result.scores
    if isinstance(result, CleanResult):
        _left_out(result)
    issues = int(table["is_label_issue"].sum())
    print(f"label issues: {issues} of {len(table)} ({100 * issues / len(table):.1f} %)")
    if result.accuracy is not None:
        print(f"accuracy on the held-out images: {result.accuracy:.2f} %")
    if result.auc is not None:
        print(f"AUC of P(clean): {result.auc:.4f}")
    print(f"scores: {result.path}")
    if isinstance(result, CleanResult):
        print(f"report: {result.folder / 'report.html'}")
        print(f"model:  {result.folder / 'model.safetensors'} (how to load it: model.md)")


def _left_out(result: CleanResult) -> None:
    for note in result.notes:
        print(f"nlkit: note: {note}", file=sys.stderr)
    for _, row in result.dropped.head(LISTED).iterrows():
        print(f"nlkit: left out {row['path']!r}: {row['reason']}", file=sys.stderr)
    if len(result.dropped) > LISTED:
        print(f"nlkit: left out {len(result.dropped)} images in all: {result.folder / 'dropped.csv'}", file=sys.stderr)
