"""Looking at labels one after the other, the most suspicious first: what is found, and how soon."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import roc_auc_score

from nlbook.contest import LOOKS, NOT_RUN, Groups, Rivals, spread
from nlbook.figures.contest import WIDTH, Quantity, dots, handle, say_not_run
from nlkit.figures.style import NEUTRAL, threshold
from nlkit.noise import transition_matrix
from nlkit.params.registry import Look
from nlkit.training.runs import Run

DIGITS = {
    "AUC": 3, "precision at E": 3, "marked": 0, "precision of the marked": 3, "recall of the marked": 3,
    "last accuracy in %": 1, "seconds": 0,
}  # fmt: skip
"""Columns of the table, and how many digits they show."""
PRECISION = Quantity("precision at the number of wrong labels", 1.0, 2e-3, (1, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5))
POINTS = 120
"""Points of a curve."""


def wrong_labels(samples: pd.DataFrame) -> np.ndarray:
    """Mask [N] of the labels of a record that are wrong; the clean labels must be known."""
    return (samples["noisy"] != samples["clean"]).to_numpy()


def inspection_order(quality: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Indices [N] by rising quality [N]; of equal ones the larger loss [N] comes first, then the smaller index."""
    return np.lexsort((-loss.astype(np.float64), quality.astype(np.float64)))


def order_of(run: Run) -> np.ndarray:
    """Indices [N] of a run's labels by its P(clean) after the last epoch, in half precision as recorded."""
    return inspection_order(run.samples["p_clean"].to_numpy(), run.samples["loss"].to_numpy())


def precision_at_errors(wrong: np.ndarray, order: np.ndarray) -> float | None:
    """The share of wrong labels among the first E of an order, where E labels are wrong; None for E = 0.

    After E labels precision and recall are the same number.
    """
    errors = int(wrong.sum())
    return float(wrong[order[:errors]].mean()) if errors else None


def run_precision(run: Run) -> float | None:
    """`precision_at_errors` of a run; None without clean labels or wrong ones."""
    return precision_at_errors(wrong_labels(run.samples), order_of(run)) if "clean" in run.samples else None


@dataclass(frozen=True)
class Judgement:
    """What a method says of N labels: a quality [N], low where a label is suspicious, and which labels it marks [N]."""

    name: str
    quality: np.ndarray
    marked: np.ndarray | None


def detection_table(rivals: Rivals) -> pd.DataFrame:
    """One row a method, means over seeds: how well it ranks wrong labels, and how good its own set is.

    Where records hold out-of-fold probabilities, further readings of them follow: self-confidence, and cleanlab's.
    """
    rows = {}
    for name, look in LOOKS.items():
        runs = rivals.get(name, [])
        rows[look.label] = _row([_measures_of(run) for run in runs]) if runs else _row([]) | {"AUC": NOT_RUN}
        rows |= _out_of_fold_rows(runs)
    return pd.DataFrame(rows).T.rename_axis(index="method")


def _row(values: Sequence[dict[str, float | None]]) -> dict[str, str]:
    columns = pd.DataFrame(list(values), columns=list(DIGITS), dtype=float)
    return {name: spread(columns[name], digits) for name, digits in DIGITS.items()}


def _measures_of(run: Run) -> dict[str, float | None]:
    """A run's own judgement, with the AUC of its record, which has P(clean) in full precision."""
    recorded = {"AUC": run.record["split"]["auc"], "last accuracy in %": run.record["accuracy"]["last"]}
    return measures(run, own_judgement(run)) | recorded | {"seconds": run.record["seconds"]}


def _out_of_fold_rows(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Readings of the out-of-fold probabilities of runs by name; none where the records hold none."""
    values: dict[str, list[dict[str, float | None]]] = {}
    for run in runs:
        p, labels = out_of_fold(run), run.samples["noisy"].to_numpy(np.int64)
        if p is not None:
            own = Judgement("the same networks, self-confidence", p[np.arange(len(p)), labels], None)
            for one in (own, *cleanlab_judgements(p, labels)):
                values.setdefault(one.name, []).append(measures(run, one))
    return {name: _row(some) for name, some in values.items()}


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


def cleanlab_judgements(p: np.ndarray, labels: np.ndarray) -> list[Judgement]:
    """cleanlab's scores and sets for probabilities [N, C] and labels [N]: its defaults, then confident learning."""
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


def errors_table(rivals: Rivals) -> pd.DataFrame:
    """How many labels are wrong, and how many are estimated by the methods that do; one row a seed."""
    rows = []
    for run in itertools.chain.from_iterable(rivals.values()):
        last = run.epochs.iloc[-1]
        if "estimated_errors" in last:
            wrong = int(wrong_labels(run.samples).sum())
            row = {"seed": run.params.seed, "labels": len(run.samples), "wrong (E)": wrong}
            rows.append(row | {"estimated": f"{last['estimated_errors']:.0f}", "marked": int(last["issues"])})
    return pd.DataFrame(rows).set_index("seed") if rows else pd.DataFrame({"estimated": [NOT_RUN]})


def joint_matrices(run: Run) -> dict[str, np.ndarray]:
    """Transition matrices [C, C], true class to label: given where the truth is known, and of the confident joint.

    The joint needs out-of-fold probabilities in the record; cleanlab counts it as our method does.
    """
    labels, classes = run.samples["noisy"].to_numpy(np.int64), len(run.record["data"]["classes"])
    matrices, p = {}, out_of_fold(run)
    if "clean" in run.samples:
        clean = run.samples["clean"].to_numpy(np.int64)
        matrices["given: true class to label"] = transition_matrix(clean, labels, classes)
    if p is not None:
        from cleanlab.count import compute_confident_joint

        joint: Any = compute_confident_joint(labels, p, calibrate=False)
        joint = (joint / joint.sum(axis=1, keepdims=True) * np.bincount(labels, minlength=classes)[:, None]).T
        matrices["estimated: confident joint"] = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
    return matrices


def detection_dots(groups: Groups) -> Figure:
    """Share of wrong labels among the E most suspicious ones, where E are wrong: mean and range of the seeds."""
    return dots(groups, PRECISION, run_precision)


def detection_curves(rivals: Rivals) -> Figure:
    """Precision and recall over the number of inspected labels, one line a method: mean of the seeds.

    Dotted: the number of wrong labels; grey: an order that knows them all, and one that knows nothing.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    for ax, title in zip(axes, ("how many of the inspected are wrong", "how many of the wrong are found"), strict=True):
        ax.set(title=title, xlabel="inspected labels in %", xlim=(0, 100), ylim=(0, 103))
    axes[0].set_ylabel("precision in %")
    axes[1].set_ylabel("recall in %")
    if not rivals:
        say_not_run(axes[0])
        return figure
    _limits(axes, wrong_labels(next(iter(rivals.values()))[0].samples))
    for number, (name, runs) in enumerate(rivals.items()):
        _curves(axes, LOOKS[name], runs, number)
    figure.legend(handles=[handle(LOOKS[name]) for name in rivals], loc="outside right center")
    return figure


def _limits(axes: Sequence[Axes], wrong: np.ndarray) -> None:
    """The best order, the random one, and where as many labels have been inspected as are wrong."""
    share, x = 100 * wrong.mean(), np.linspace(0.1, 100, 500)
    best, grey = np.minimum(x, share), partial(Line2D, color=NEUTRAL, linewidth=1.0, alpha=0.7)
    axes[0].add_line(grey(x, 100 * best / x, linestyle="--"))
    axes[0].add_line(grey(x, np.full_like(x, share), linestyle="-."))
    axes[1].add_line(grey(x, 100 * best / max(share, 1e-9), linestyle="--"))
    axes[1].add_line(grey(x, x, linestyle="-."))
    for ax in axes:
        ax.add_line(grey([share, share], [0, 103], linestyle=":"))


def _curves(axes: Sequence[Axes], look: Look, runs: Sequence[Run], number: int) -> None:
    """Both curves of one method; markers of different methods stand at different places."""
    count = min(len(run.samples) for run in runs)
    inspected = np.unique(np.linspace(max(count // 100, 1), count, POINTS).astype(int))
    found = [np.cumsum(wrong_labels(run.samples)[order_of(run)]) for run in runs]
    hits, errors = np.mean([one[inspected - 1] for one in found], axis=0), np.mean([one[-1] for one in found])
    every = (4 + 2 * number, POINTS // 6)
    for ax, values in zip(axes, (hits / inspected, hits / max(errors, 1)), strict=True):
        ax.plot(
            100 * inspected / count, 100 * values, color=look.colour, linewidth=1.3,
            marker=look.marker, markevery=every, markersize=5,
        )  # fmt: skip
