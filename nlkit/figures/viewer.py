"""The losses of every epoch behind a slider: one piece of HTML that needs no kernel and loads nothing."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from jinja2 import Template

from nlkit.figures.images import at_hand, loss_bins, picture
from nlkit.figures.losses import EDGES, loss_counts
from nlkit.figures.style import groups, threshold, warm_up
from nlkit.params import registry
from nlkit.training.runs import Run


def loss_viewer(*runs: Run) -> HTML:
    """The loss histogram of network 1 after each epoch, with the mixture and its threshold, run by run on one slider.

    Runs of different lengths move together, each from its first to its last epoch. Numbers below tell accuracy and
    split of the epoch; where a bin is pointed at, its counts. A click on a bin shows images of it, as far as there are
    any on this machine; those of each run are in the page. Without JavaScript nothing is shown.
    """
    content = {"edges": EDGES.tolist(), "runs": [_content(run) for run in runs]}
    data = base64.b64encode(zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)).decode()
    name = "-".join(["viewer", *(f"{run.params.paper}-{run.params.cell}-{run.params.seed}" for run in runs)])
    text = Path(__file__).with_name("viewer.html").read_text(encoding="utf-8")
    return HTML(Template(text).render(id=name, data=data, steps=max((len(run.epochs) for run in runs), default=1)))


def _content(run: Run) -> dict[str, Any]:
    counts, rows = loss_counts(run), [row for _, row in run.epochs.iterrows()]
    look = registry.contestants().get(run.params.paper)
    return {
        "title": f"{look.label if look else run.params.paper}, {run.params.cell}",
        "warm_up": warm_up(run) or 0,
        "parts": [{"name": name, "colour": colour, "counts": one.astype(int).tolist()} for name, colour, one in counts],
        "said": [_said(row) for row in rows],
        "mixtures": [_mixture(row, threshold(run)) for row in rows],
        "images": _images(run),
    }


def _images(run: Run) -> dict[str, Any] | None:
    """A sheet of images, one below the other, and of each the labels, the group and the bins of its loss."""
    if not (found := at_hand(run)):
        return None
    rows = pd.Index(run.samples["index"]).get_indexer([*found])
    names, table = run.record["data"]["classes"], run.samples.iloc[rows]
    grey, file = all(one.shape[-1] == 1 for one in found.values()), io.BytesIO()
    picture(np.concatenate([*found.values()])).save(file, "webp", lossless=grey, quality=90, method=6)
    return {
        "sheet": f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}",
        "grey": grey,
        "given": [names[label] for label in table["noisy"]],
        "predicted": [names[label] for label in table["prediction"]],
        "groups": (~groups(run.samples)[0][2][rows]).astype(int).tolist(),
        "bins": {epoch: bins[rows].tolist() for epoch, bins in loss_bins(run).items()},
    }


def _said(row: pd.Series) -> str:
    """Accuracy and split of an epoch, as far as they are known."""
    split = {"AUC": row["auc"], "precision": row["precision"], "recall": row["recall"]}
    known = [f"{name} {value:.3f}" for name, value in split.items() if pd.notna(value)]
    return ", ".join([f"test accuracy {row['accuracy']:.1f} %"] * pd.notna(row["accuracy"]) + known)


def _mixture(row: pd.Series, limit: float) -> dict[str, Any] | None:
    """The mixture of an epoch, fitted to losses scaled from [low, high] to [0, 1]; None where there is none."""
    if row["mixture_means"] is None:
        return None
    fit = {name: [float(f"{x:.5g}") for x in row[f"mixture_{name}"]] for name in ("weights", "means", "variances")}
    return {**fit, "low": row["loss_min"], "high": row["loss_max"], "threshold": limit}
