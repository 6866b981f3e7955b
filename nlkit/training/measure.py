"""What is measured of a run; the only place where clean labels and test sets meet a method's output."""

import re
from typing import Any

import numpy as np
import pandas as pd

from nlkit.data.problem import Problem
from nlkit.lazy import Tensor, torch
from nlkit.methods.base import Method, Split
from nlkit.parts.mixture import mixture_row
from nlkit.training.records import LOSS_EDGES

MANY_CLASSES = 50
"""From so many classes on, the field reports the accuracy of the five best guesses too."""
MOST_SAMPLES = 70_000
"""Rows of the sample table at most; of a larger training set they are evenly spread."""


def epoch_row(problem: Problem, method: Method, split: Split) -> dict[str, Any]:
    """One row of the epoch table: accuracies in percent, split quality, and of the first network losses and mixture."""
    known = split.losses[0].isfinite()  # of samples that were looked at
    losses = split.losses[0][known] if bool(known.any()) else split.losses[0]
    return {
        **accuracies(problem, method),
        **split_quality(problem, split),
        "loss_min": float(losses.min()),
        "loss_max": float(losses.max()),
        **mixture_row("mixture", split.mixtures[0]),
        **_histograms(problem, split.losses[0]),
    }


def accuracies(problem: Problem, method: Method) -> dict[str, float | None]:
    """Test accuracy in percent of the ensemble (`accuracy`) and of network k (`accuracy_k`), on each test set.

    Of test sets other than the first the names end in that of the set. For photographs of many classes `top5` is the
    ensemble's too. None where there is no test set.
    """
    row: dict[str, float | None] = {} if problem.tests else {"accuracy": None, "accuracy_1": None}
    for name, (images, labels) in problem.tests.items():
        suffix = "" if name == "test" else f"_{name}"
        ensemble, singles = method.logits(images)
        row["accuracy" + suffix] = _percent(ensemble, labels)
        if problem.train.classes >= MANY_CLASSES and not isinstance(images, torch.Tensor):
            row["top5" + suffix] = _percent(ensemble, labels, 5)
        for k, logits in enumerate(singles):
            row[f"accuracy_{k + 1}{suffix}"] = _percent(logits, labels)
    return row


def _percent(logits: Tensor, labels: Tensor, most: int = 1) -> float:
    """Percentage of rows whose label is among the `most` largest logits."""
    found = logits.argmax(dim=1, keepdim=True) if most == 1 else logits.topk(most, dim=1).indices
    return 100 * float((found == labels[:, None]).any(dim=1).double().mean())


def split_quality(problem: Problem, split: Split) -> dict[str, float | None]:
    """AUC of P(clean) averaged over the networks, precision and recall of the clean set; `auc_k` is that of network k.

    Against the clean labels where known; samples that no network looked at count nowhere.
    """
    p_clean = split.p_clean.nanmean(dim=0)
    known, chosen = torch.isfinite(p_clean), p_clean > split.threshold
    row: dict[str, float | None] = {"share_clean": float(chosen.sum()) / max(float(known.sum()), 1.0)}
    if problem.clean is None:
        return row | {"auc": None, "precision": None, "recall": None}
    right = problem.train.labels == problem.clean
    hits = float((chosen & right).sum())
    row["auc"] = auc(right, p_clean)
    row["precision"] = hits / max(float(chosen.sum()), 1.0)
    row["recall"] = hits / max(float((right & known).sum()), 1.0)
    for k, own in enumerate(split.p_clean):
        row[f"auc_{k + 1}"] = auc(right, own)
    return row


def auc(right: Tensor, p_clean: Tensor) -> float | None:
    """AUC of P(clean) [N] against what is right [N], where it is a number; None where all or none are right."""
    from sklearn.metrics import roc_auc_score  # takes a second to import, which readers of records need not spend

    known = torch.isfinite(p_clean)
    right, p_clean = right[known], p_clean[known]
    if bool(right.all()) or not bool(right.any()):
        return None
    return float(roc_auc_score(right.cpu().numpy(), p_clean.cpu().numpy()))


def _histograms(problem: Problem, losses: Tensor) -> dict[str, list[int]]:
    """Counts [65] of the first network's losses: all, or clean and wrong labels apart where known; NaN is in no bin."""
    if problem.clean is None:
        parts = {"hist_all": losses}
    else:
        right = problem.train.labels == problem.clean
        parts = {"hist_clean": losses[right], "hist_noisy": losses[~right]}
    return {name: np.histogram(values.cpu().numpy(), LOSS_EDGES)[0].tolist() for name, values in parts.items()}


def summary(epochs: pd.DataFrame) -> dict[str, float | int | None]:
    """Accuracy in percent: last epoch, mean of the last ten, and the best (selected on the test set).

    `single` is the first network. None without a test set. With a clean validation set, `selected` is the test
    accuracy of the epoch that is best there; of further test sets and of `top5` the last value and the best are told.
    """
    if epochs["accuracy"].isna().all():
        return dict.fromkeys(("last", "last_10", "best", "best_epoch", "last_single", "best_single"))
    best = int(epochs["accuracy"].to_numpy().argmax())
    return _further(epochs) | {
        "last": float(epochs["accuracy"].iloc[-1]),
        "last_10": float(epochs["accuracy"].tail(10).mean()),
        "best": float(epochs["accuracy"].max()),
        "best_epoch": int(epochs["epoch"].iloc[best]),
        "last_single": float(epochs["accuracy_1"].iloc[-1]),
        "best_single": float(epochs["accuracy_1"].max()),
    }


def _further(epochs: pd.DataFrame) -> dict[str, float | int | None]:
    """Last and best values of the other test sets and of `top5`, and what a clean validation set selects."""
    found: dict[str, float | int | None] = {}
    for column in map(str, epochs):
        if re.fullmatch(r"accuracy_[a-z]+|top5(_[a-z]+)?", column):
            name = column.removeprefix("accuracy_")
            found |= {f"last_{name}": float(epochs[column].iloc[-1]), f"best_{name}": float(epochs[column].max())}
    if "accuracy_val" in epochs:
        chosen = epochs.iloc[int(epochs["accuracy_val"].to_numpy().argmax())]
        found |= {"selected": float(chosen["accuracy"]), "selected_epoch": int(chosen["epoch"])}
    return found


def sample_table(
    problem: Problem, method: Method, split: Split, snapshots: dict[int, dict[str, Tensor]]
) -> pd.DataFrame:
    """One row a training sample: labels, ensemble prediction, mean loss and P(clean), and the snapshots.

    P(clean) is in single precision, so that the quality of the split can be computed from it. `loss_<e>` and
    `p_clean_<e>` are those of the first network after epoch e, in half precision; a method may add values of its own
    under the same scheme. Samples that a network did not look at have NaN.
    """
    probability = method.logits(problem.train.images)[0].softmax(dim=1)
    columns: dict[str, Any] = {"index": np.arange(len(problem.train), dtype=np.uint32)}
    label_type = np.min_scalar_type(problem.train.classes - 1)
    columns["noisy"] = _numpy(problem.train.labels, label_type)
    if problem.clean is not None:
        columns["clean"] = _numpy(problem.clean, label_type)
    columns["prediction"] = _numpy(probability.argmax(dim=1), label_type)
    columns["confidence"] = _numpy(probability.amax(dim=1), np.float16)
    columns["loss"] = _numpy(split.losses.nanmean(dim=0), np.float16)
    columns["p_clean"] = _numpy(split.p_clean.nanmean(dim=0), np.float32)
    for epoch, snapshot in snapshots.items():
        for name, values in sorted(snapshot.items()):  # a checkpoint does not keep their order
            columns[f"{name}_{epoch}"] = _numpy(values, np.float16)
    step = -(-len(problem.train) // MOST_SAMPLES)
    return pd.DataFrame({name: column[::step] for name, column in columns.items()})


def _numpy(values: Tensor, dtype: Any) -> np.ndarray:
    return values.cpu().numpy().astype(dtype)
