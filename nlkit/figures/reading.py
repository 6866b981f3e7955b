"""What several figures read from the record of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlkit.figures.style import CLEAN, NEUTRAL, NOISY
from nlkit.training.records import LOSS_EDGES
from nlkit.training.runs import Run


def snapshots(run: Run) -> list[int]:
    """The epochs whose samples are in the record."""
    columns = [str(name) for name in run.samples]
    return sorted(int(name.removeprefix("p_clean_")) for name in columns if name.startswith("p_clean_"))


def warm_up(run: Run) -> int | None:
    """Number of warm-up epochs of the run's method, None where it has none."""
    return getattr(run.params.method, "warm_up", None)


def epoch_title(run: Run, epoch: int) -> str:
    """The title of a panel: the epoch, and whether it belongs to the warm-up."""
    return f"epoch {epoch}" + (" (warm-up)" if epoch <= (warm_up(run) or 0) else "")


def threshold(run: Run) -> float:
    """P(clean) above which a label is trusted."""
    return float(getattr(run.params.method, "threshold", 0.5))


def groups(samples: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Label, colour and mask [N] of the samples with a correct and with a wrong label, or of all of them."""
    if "clean" not in samples:
        return [("all labels", NEUTRAL, np.ones(len(samples), dtype=bool))]
    right = (samples["noisy"] == samples["clean"]).to_numpy()
    return [("correct label", CLEAN, right), ("wrong label", NOISY, ~right)]


def loss_counts(epochs: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Label, colour and loss histograms [epochs, 65] of correct and of wrong labels, or of all of them."""
    parts = [("correct labels", CLEAN, "hist_clean"), ("wrong labels", NOISY, "hist_noisy")]
    known = parts if "hist_clean" in epochs else [("all labels", NEUTRAL, "hist_all")]
    return [(label, colour, np.stack(list(epochs[column])).astype(np.float64)) for label, colour, column in known]


def loss_edges() -> np.ndarray:
    """Edges [66] of the loss histograms on a logarithmic axis; the open outer bins get the width of the others."""
    edges = LOSS_EDGES.copy()
    ratio = edges[2] / edges[1]
    edges[0], edges[-1] = edges[1] / ratio, edges[-2] * ratio
    return edges
