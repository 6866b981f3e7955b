"""Looking at labels one after the other, the most suspicious first: what is found, and how soon."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nlkit.runs import Run


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
