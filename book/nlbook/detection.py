"""Looking at labels one after the other, the most suspicious first: what is found, and how soon."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from nlbook import tables
from nlbook.contest import Groups
from nlkit.figures.reading import threshold
from nlkit.figures.style import LOOKS
from nlkit.noise import transition_matrix
from nlkit.parts import confident
from nlkit.training.runs import Run


def wrong_labels(samples: pd.DataFrame) -> np.ndarray:
    """Mask [N] of the labels of a record that are wrong; the clean labels must be known."""
    return (samples["noisy"] != samples["clean"]).to_numpy()


def inspection_order(quality: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Indices [N] by rising quality [N]; of equal ones the larger loss [N] comes first, then the smaller index."""
    return np.lexsort((-loss.astype(np.float64), quality.astype(np.float64)))


def found(wrong: np.ndarray, order: np.ndarray) -> np.ndarray:
    """How many wrong labels [N] lie among the first n = 1, ..., N of an order [N]."""
    return np.cumsum(wrong[order])


def precision_at_errors(wrong: np.ndarray, order: np.ndarray) -> float | None:
    """The share of wrong labels among the first E of an order, where E labels are wrong; None for E = 0.

    After E labels precision and recall are the same number.
    """
    errors = int(wrong.sum())
    return float(wrong[order[:errors]].mean()) if errors else None


def order_of(run: Run) -> np.ndarray:
    """Indices [N] of a run's labels by its P(clean) after the last epoch, in half precision as recorded."""
    return inspection_order(run.samples["p_clean"].to_numpy(), run.samples["loss"].to_numpy())


def run_precision(run: Run) -> float | None:
    """`precision_at_errors` of a run; None without clean labels or wrong ones."""
    return precision_at_errors(wrong_labels(run.samples), order_of(run)) if "clean" in run.samples else None


SOURCE = "confident_learning"
NONE = "–"


@dataclass(frozen=True)
class Judgement:
    """What a method says of N labels: a quality [N], low where a label is suspicious, and which labels it marks [N]."""

    name: str
    quality: np.ndarray
    marked: np.ndarray | None


def detection_table(groups: Groups, cell: str) -> pd.DataFrame:
    """One row a method of a cell, means over seeds: how well it ranks wrong labels, and how good its own set is.

    Rows of confident learning are followed by cleanlab's functions on the very probabilities in its record.
    """
    rows = {}
    for name, look in LOOKS.items():
        runs = groups.get((name, cell), [])
        rows[look.label] = _method_row(runs)
        if name == SOURCE and runs:
            rows |= _out_of_fold_rows(runs)
    return pd.DataFrame(rows).T.rename_axis(index="method")


def _method_row(runs: Sequence[Run]) -> dict[str, str]:
    if not runs:
        return _row([], {"AUC": "not run here"})
    recorded = [(run.record["split"]["auc"], run.record["accuracy"]["last"], run.record["seconds"]) for run in runs]
    auc, accuracy, seconds = (pd.Series(values, dtype=float) for values in zip(*recorded, strict=True))
    return _row(
        [measures(run, own_judgement(run)) for run in runs],
        {
            "AUC": tables.spread(auc, 3),
            "last accuracy in %": tables.spread(accuracy),
            "seconds": tables.spread(seconds, 0),
        },
    )


def _out_of_fold_rows(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Further readings of the out-of-fold probabilities, where the records hold them: ours, then cleanlab's."""
    known = [(run, p) for run in runs if (p := out_of_fold(run)) is not None]
    found: dict[str, list[dict[str, float | None]]] = {}
    for run, p in known:
        labels = run.samples["noisy"].to_numpy(np.int64)
        for one in (_self_confidence(p, labels), *cleanlab_judgements(p, labels)):
            found.setdefault(one.name, []).append(measures(run, one))
    rows = {name: _row(values, {}) for name, values in found.items()}
    if known and not has_cleanlab():
        rows["cleanlab"] = _row([], {"AUC": "not installed here"})
    return rows


def _row(values: Sequence[dict[str, float | None]], more: dict[str, str]) -> dict[str, str]:
    digits = {"AUC": 3, "precision at E": 3, "marked": 0, "precision of the marked": 3, "recall of the marked": 3}
    columns = pd.DataFrame(list(values), columns=list(digits), dtype=float)
    row = {name: tables.spread(columns[name], number) for name, number in digits.items()}
    return row | {"last accuracy in %": NONE, "seconds": NONE} | more


def own_judgement(run: Run) -> Judgement:
    """P(clean) of a run; marked is what confident learning calls an issue, else what is not above the threshold."""
    p_clean = run.samples["p_clean"].to_numpy(np.float64)
    issue = f"issue_{run.params.training.epochs}"
    marked = run.samples[issue].to_numpy() > 0.5 if issue in run.samples else p_clean <= threshold(run)
    return Judgement(run.params.paper, p_clean, marked)


def out_of_fold(run: Run) -> np.ndarray | None:
    """Out-of-fold probabilities float64 [N, C] of a record, kept in half precision; None where there are none."""
    names = [f"oof_{c}_{run.params.training.epochs}" for c in range(len(run.record["data"]["classes"]))]
    return run.samples[names].to_numpy(np.float64, copy=True) if set(names) <= set(run.samples) else None


def joint_matrices(run: Run) -> dict[str, np.ndarray]:
    """Transition matrices [C, C], true class to label: given where the truth is known, and of the confident joint.

    Empty where neither the truth nor the out-of-fold probabilities are in the record.
    """
    labels, classes = run.samples["noisy"].to_numpy(np.int64), len(run.record["data"]["classes"])
    matrices, p = {}, out_of_fold(run)
    if "clean" in run.samples:
        matrices["given: true class to label"] = transition_matrix(
            run.samples["clean"].to_numpy(np.int64), labels, classes
        )
    if p is not None:
        given = torch.from_numpy(labels)
        joint = confident.calibrated(confident.confident_joint(torch.from_numpy(p), given), given).T.numpy()
        matrices["estimated: confident joint"] = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
    return matrices


def _self_confidence(p: np.ndarray, labels: np.ndarray) -> Judgement:
    quality = confident.self_confidence(torch.from_numpy(p), torch.from_numpy(labels)).numpy()
    return Judgement("the same networks, self-confidence", quality, None)


def has_cleanlab() -> bool:
    """Whether the package cleanlab is installed."""
    return importlib.util.find_spec("cleanlab") is not None


def cleanlab_judgements(p: np.ndarray, labels: np.ndarray) -> list[Judgement]:
    """cleanlab's scores and sets for probabilities [N, C] and labels [N]: its defaults, and confident learning proper.

    Empty where the package is not installed.
    """
    if not has_cleanlab():
        return []
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    made = []
    for score, rule, note in (
        ("self_confidence", "prune_by_noise_rate", "its defaults"),
        ("normalized_margin", "confident_learning", "the confident joint"),
    ):
        quality: Any = get_label_quality_scores(labels, p, method=score)
        marked: Any = find_label_issues(labels, p, filter_by=rule, n_jobs=1)
        made.append(Judgement(f"cleanlab {version('cleanlab')}: {score}, {rule} ({note})", quality, marked))
    return made


def measures(run: Run, judged: Judgement) -> dict[str, float | None]:
    """AUC, precision at the number E of wrong labels, and number, precision and recall of the marked labels."""
    wrong, loss = wrong_labels(run.samples), run.samples["loss"].to_numpy()
    values: dict[str, float | None] = {
        "AUC": float(roc_auc_score(~wrong, judged.quality)) if 0 < wrong.sum() < len(wrong) else None,
        "precision at E": precision_at_errors(wrong, inspection_order(judged.quality, loss)),
    }
    if judged.marked is not None:
        hits, marked = float((wrong & judged.marked).sum()), float(judged.marked.sum())
        values |= {"marked": marked, "precision of the marked": hits / max(marked, 1.0)}
        values["recall of the marked"] = hits / max(float(wrong.sum()), 1.0)
    return values


def errors_table(groups: Groups, cell: str) -> pd.DataFrame:
    """How many labels of a cell are wrong, and how many confident learning estimates; one row a seed."""
    rows = []
    for run in groups.get((SOURCE, cell), []):
        wrong = int(wrong_labels(run.samples).sum())
        last = run.epochs.iloc[-1]
        row = {"seed": run.params.seed, "labels": len(run.samples), "wrong (E)": wrong}
        rows.append(row | {"estimated": f"{last['estimated_errors']:.0f}", "marked": int(last["issues"])})
    return pd.DataFrame(rows).set_index("seed") if rows else pd.DataFrame({"estimated": ["not run here"]})
