"""Looking at labels one after the other, the most suspicious first: what is found, and how soon."""

from importlib.metadata import version
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from nlbook.contest import LOOKS, NOT_RUN, Rivals, spread
from nlbook.figures.contest import Quantity, handle, line_style, say_not_run
from nlkit.figures.matrices import run_matrices
from nlkit.figures.style import NEUTRAL, panels, threshold
from nlkit.training.runs import Run

DIGITS = {
    "AUC": 3, "precision at E": 3, "marked": 0, "precision of the marked": 3, "recall of the marked": 3,
    "last accuracy in %": 1, "seconds": 0,
}  # fmt: skip
"""Columns of the table, and how many digits they show."""
POINTS = 120  # of a curve
Judgement = tuple[np.ndarray, np.ndarray | None]
"""What a method says of N labels: a quality [N], low where a label is suspicious, and which labels it marks [N]."""


def wrong_labels(run: Run) -> np.ndarray:
    """Mask [N] of the labels of a record that are wrong; the clean labels must be known."""
    return (run.samples["noisy"] != run.samples["clean"]).to_numpy()


def inspection_order(run: Run, quality: np.ndarray) -> np.ndarray:
    """Indices [N] by rising quality [N]; of equal ones the larger loss comes first, then the smaller index."""
    return np.lexsort((-run.samples["loss"].to_numpy(np.float64), quality))


def detection_table(rivals: Rivals) -> pd.DataFrame:
    """How well each method, and each other reading of its record, ranks and marks wrong labels: means over seeds."""
    rows: list[dict[str, Any]] = []
    for name, run in ((name, run) for name, runs in rivals.items() for run in runs):
        # the AUC of the record is of P(clean) in full precision
        recorded = {"AUC": run.record["split"]["auc"], "last accuracy in %": run.record["accuracy"]["last"]}
        recorded |= {"method": LOOKS[name].label, "seconds": run.record["seconds"]}
        rows.append(measures(run, *own_judgement(run)) | recorded)
        for reading, judgement in out_of_fold_judgements(run).items():
            rows.append({"method": f"{reading} [{LOOKS[name].label}]"} | measures(run, *judgement))
    methods = pd.DataFrame(rows, columns=["method", *DIGITS]).groupby("method", sort=False)
    return pd.DataFrame({name: methods[name].agg(spread, digits=digits) for name, digits in DIGITS.items()})


def own_judgement(run: Run) -> Judgement:
    """P(clean) as recorded, and what is marked: issues of confident learning, else what is not above the threshold."""
    p_clean = run.samples["p_clean"].to_numpy(np.float64)
    issue = f"issue_{run.params.training.epochs}"
    marked = run.samples[issue].to_numpy() > 0.5 if issue in run.samples else p_clean <= threshold(run)
    return p_clean, marked


def out_of_fold(run: Run) -> np.ndarray | None:
    """Out-of-fold probabilities float64 [N, C] of a record, kept in half precision; None where there are none."""
    names = [f"oof_{c}_{run.params.training.epochs}" for c in range(len(run.record["data"]["classes"]))]
    return run.samples[names].to_numpy(np.float64, copy=True) if set(names) <= set(run.samples) else None


def out_of_fold_judgements(run: Run) -> dict[str, Judgement]:
    """Self-confidence and cleanlab's scores and sets, by name, from out-of-fold probabilities, if a record has them."""
    p, labels = out_of_fold(run), run.samples["noisy"].to_numpy(np.int64)
    if p is None:
        return {}
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    made: dict[str, Judgement] = {"the same networks, self-confidence": (p[np.arange(len(p)), labels], None)}
    for score, rule, note in (
        ("self_confidence", "prune_by_noise_rate", "its defaults"),
        ("normalized_margin", "confident_learning", "the confident joint"),
    ):
        quality: Any = get_label_quality_scores(labels, p, method=score)
        marked: Any = find_label_issues(labels, p, filter_by=rule, n_jobs=1)
        made[f"cleanlab {version('cleanlab')}: {score}, {rule} ({note})"] = quality, marked
    return made


def measures(run: Run, quality: np.ndarray, marked: np.ndarray | None) -> dict[str, float | None]:
    """AUC, precision at the number E of wrong labels (None for 0), and number, precision and recall of the marked."""
    wrong = wrong_labels(run)
    errors, order = int(wrong.sum()), inspection_order(run, quality)
    values: dict[str, float | None] = {
        "AUC": float(roc_auc_score(~wrong, quality)) if 0 < errors < len(wrong) else None,
        "precision at E": float(wrong[order[:errors]].mean()) if errors else None,
    }
    if marked is not None:
        hits, count = float((wrong & marked).sum()), float(marked.sum())
        of_marked, of_wrong = hits / max(count, 1.0), hits / max(errors, 1)
        values |= {"marked": count, "precision of the marked": of_marked, "recall of the marked": of_wrong}
    return values


def errors_table(rivals: Rivals) -> pd.DataFrame:
    """How many labels are wrong, and how many are estimated by the methods that do; one row a method and seed."""
    rows = []
    for name, run in ((name, run) for name, runs in rivals.items() for run in runs if "estimated_errors" in run.epochs):
        last, wrong = run.epochs.iloc[-1], int(wrong_labels(run).sum())
        row = {"method": LOOKS[name].label, "seed": run.params.seed, "labels": len(run.samples), "wrong (E)": wrong}
        rows.append(row | {"estimated": f"{last['estimated_errors']:.0f}", "marked": int(last["issues"])})
    return pd.DataFrame(rows).set_index(["method", "seed"]) if rows else pd.DataFrame({"estimated": [NOT_RUN]})


def joint_matrices(run: Run) -> dict[str, np.ndarray]:
    """Matrices [C, C] from true class to label: given where known, and of the joint of recorded probabilities."""
    from cleanlab.count import compute_confident_joint

    p, labels = out_of_fold(run), run.samples["noisy"].to_numpy(np.int64)
    joint: Any = compute_confident_joint(labels, p, calibrate=False)
    joint = (joint / joint.sum(axis=1, keepdims=True) * np.bincount(labels, minlength=len(joint))[:, None]).T
    given = {title: matrix for title, matrix in run_matrices(run).items() if title.startswith("given")}
    return given | {"estimated: confident joint": joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)}


PRECISION = Quantity(
    "precision at the number of wrong labels", 1.0, 2e-3, (1, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5),
    lambda run: measures(run, *own_judgement(run))["precision at E"],
)  # fmt: skip
"""Share of wrong labels among the E most suspicious ones, where E are wrong."""


def detection_curves(rivals: Rivals) -> Figure:
    """Precision and recall over inspected labels, mean of the seeds; grey: a perfect and a random order."""
    figure, axes = panels(2, 3.4)
    axes[0].set(title="wrong among the inspected", ylabel="precision in %")
    axes[1].set(title="found among the wrong", ylabel="recall in %")
    plt.setp(axes, xlabel="inspected labels in %", xlim=(0, 100), ylim=(0, 103))
    if not rivals:
        say_not_run(axes[0])
        return figure
    share, x = 100 * wrong_labels(next(iter(rivals.values()))[0]).mean(), np.linspace(0.1, 100, 500)
    best, grey = np.minimum(x, share), dict[str, Any](color=NEUTRAL, linewidth=1.0, alpha=0.7)
    for ax, most, random in zip(axes, (best / x, best / max(share, 1e-9)), (np.full_like(x, share), x), strict=True):
        ax.plot(x, 100 * most, "--", **grey)
        ax.plot(x, random, "-.", **grey)
        ax.plot([share, share], [0, 103], ":", **grey)
    for number, (name, runs) in enumerate(rivals.items()):
        count = min(len(run.samples) for run in runs)
        inspected = np.unique(np.linspace(max(count // 100, 1), count, POINTS).astype(int))
        found = [np.cumsum(wrong_labels(run)[inspection_order(run, own_judgement(run)[0])]) for run in runs]
        hits, errors = np.mean([one[inspected - 1] for one in found], axis=0), np.mean([one[-1] for one in found])
        style = line_style(LOOKS[name]) | {"markevery": (4 + 2 * number, POINTS // 6)}  # markers at different places
        for ax, values in zip(axes, (hits / inspected, hits / max(errors, 1)), strict=True):
            ax.plot(100 * inspected / count, 100 * values, **style)
    figure.legend(handles=[handle(LOOKS[name]) for name in rivals], loc="outside lower center", ncols=4)
    return figure
