"""Clean labels with frozen features: no training, a minute on a CPU."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from sklearn.metrics import roc_auc_score

from nlkit.cleaning import scores
from nlkit.cleaning.neighbours import Neighbours, fit_neighbours
from nlkit.data.feature_table import FeatureRows, read_feature_rows
from nlkit.data.folder import class_names, held_out
from nlkit.errors import NlkitError
from nlkit.files import check_writable, output_paths, write_atomically
from nlkit.training import checkpoints

LEAST_ROWS = 10
THRESHOLD = 0.5


@dataclass(frozen=True)
class FeatureResult:
    """Scores, one row an image; held-out predictions; accuracy in percent and AUC of P(clean) where they are known."""

    scores: pd.DataFrame
    test_scores: pd.DataFrame | None
    accuracy: float | None
    auc: float | None
    path: Path
    folder: Path


def clean_features(
    features: str | Path,
    labels: str | Path | None = None,
    out: str | Path = "scores.csv",
    hold_out: float = 0.0,
    truth: str | None = None,
    k: int = 20,
    seed: int = 0,
    overwrite: bool = False,
) -> FeatureResult:
    """Tell for each label how likely it is to be correct, from the labels of its nearest neighbours in the features.

    features: a `.parquet`, `.npz` or `.npy` file; labels: a table `path,label`; see `read_feature_rows`. P(clean) is
    the neighbours' probability of the given label. Raises NlkitError for bad input.
    """
    path, target = output_paths(Path(out), None, overwrite)
    if not 0 <= hold_out <= 0.9:
        raise NlkitError(f"--hold-out {hold_out}: expected a share from 0 to 0.9")
    begin = time.perf_counter()
    rows = read_feature_rows(Path(features), None if labels is None else Path(labels), truth)
    names = class_names(rows.labels)
    _check(rows, names, str(labels or features))
    number = {name: index for index, name in enumerate(names)}
    given = np.array([number[label] for label in rows.labels])
    correct = given if rows.truth is None else np.array([number.get(label, -1) for label in rows.truth])
    tested = held_out(given, hold_out, seed)
    train = ~tested
    everything = torch.from_numpy(rows.features)
    bank, posterior = fit_neighbours(everything[train], torch.from_numpy(given[train]), len(names), k)
    evidence = {f"train.{key}": value for key, value in _evidence(posterior, given[train]).items()}
    evidence["train.p_clean"] = evidence["train.quality"]
    table = scores.train_table(_pick(rows.names, train), given[train], names, evidence, THRESHOLD)
    test, accuracy, auc = None, None, None
    if tested.any():
        found = _evidence(bank.posterior(everything[tested]), given[tested])
        part = {f"test.{key}": value for key, value in found.items()}
        test = scores.test_table(_pick(rows.names, tested), given[tested], names, part)
        accuracy = 100 * float((found["prediction"] == correct[tested]).mean())
    right = (given == correct)[train]
    if rows.truth is not None and right.any() and not right.all():
        auc = float(roc_auc_score(right, evidence["train.p_clean"]))
    result = FeatureResult(table, test, accuracy, auc, path, target)
    _write(result, bank, names, time.perf_counter() - begin)
    return result


def _check(rows: FeatureRows, names: Sequence[str], source: str) -> None:
    count = len(rows.labels)
    if count < LEAST_ROWS:
        raise NlkitError(f"{source}: {count} rows; at least {LEAST_ROWS} are needed")
    if not 2 <= len(names) <= count // 2:
        raise NlkitError(f"{source}: {len(names)} different labels for {count} rows; are they class names?")


def _evidence(posterior: torch.Tensor, labels: np.ndarray) -> dict[str, np.ndarray]:
    probability = posterior.numpy()
    each = np.arange(len(labels))
    best = probability.argmax(axis=1)
    return {"prediction": best, "confidence": probability[each, best], "quality": probability[each, labels]}


def _pick(names: Sequence[str], mask: np.ndarray) -> list[str]:
    return [name for name, chosen in zip(names, mask, strict=True) if chosen]


def _write(result: FeatureResult, bank: Neighbours, names: Sequence[str], seconds: float) -> None:
    check_writable(result.folder, f"--out {result.folder}")
    tensors = {"bank": bank.bank, "centre": bank.centre, "labels": bank.labels, "weights": bank.weights}
    info = {"classes": list(names), "k": bank.k, "temperature": bank.temperature}
    try:
        checkpoints.write(result.folder / "neighbours.safetensors", tensors, info)
    except (OSError, SafetensorError) as error:
        raise NlkitError(f"{result.folder}: cannot write there ({error})") from None
    summary = {**info, "rows": len(result.scores), "accuracy": result.accuracy, "auc": result.auc, "seconds": seconds}
    write_atomically(result.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    if result.test_scores is not None:
        write_atomically(result.folder / "test_scores.csv", result.test_scores.to_csv(index=False))
    write_atomically(result.path, result.scores.to_csv(index=False))


def load_neighbours(folder: str | Path) -> tuple[Neighbours, tuple[str, ...]]:
    """The bank that `clean_features` left in a folder, and its classes; raises NlkitError where it is damaged."""
    path = Path(folder) / "neighbours.safetensors"
    try:
        tensors, info = checkpoints.read(path)
        names = tuple(info["classes"])
        return Neighbours(**tensors, classes=len(names), k=info["k"], temperature=info["temperature"]), names
    except (*checkpoints.DAMAGE, TypeError) as error:
        raise NlkitError(f"{path}: not a bank of neighbours ({' '.join(str(error).split())[:160]})") from None
