"""What a run shows, in sentences written from its record."""

from typing import Any

import numpy as np
import pandas as pd

from nlkit.figures.losses import loss_counts
from nlkit.figures.style import threshold
from nlkit.training.runs import Run

WINDOW = np.array([1, 8, 28, 56, 70, 56, 28, 8, 1]) / 256
"""Binomial weights that smooth a histogram."""
REPEATED = {0.02: "hardly any", 0.1: "few", 0.5: "a part", 0.9: "more than half"}
"""What a share of the wrong labels is called below each bound; from the last one on it is nearly all."""


def findings(run: Run) -> Any:
    """What the last epoch shows, in Markdown: accuracy, and but for pre-training wrong labels, losses and P(clean)."""
    from IPython.display import Markdown  # Jupyter, which a report does without

    said = {"Accuracy": _accuracy(run)}
    if not run.params.method.pretrains:
        said |= {"Wrong labels": _wrong_labels(run.samples), "Losses": _losses(run), "P(clean)": _p_clean(run)}
    return Markdown("\n".join(f"- **{name}.** {text}" for name, text in said.items()))


def _accuracy(run: Run) -> str:
    accuracy = run.epochs["accuracy"].to_numpy(dtype=np.float64)
    last, best = accuracy[-1], accuracy.max()
    if np.isnan(last):
        return "There is no test set."
    text = f"After the last epoch ({len(accuracy)}) {last:.2f} % of the test images are classified correctly. "
    if best == last:
        return text + "No epoch did better."
    images = run.record["data"]["test"]["test"]
    shares = (np.array([last, best]) / 100 * images + 1) / (images + 2)  # Agresti and Caffo's, which bear 100 %
    chance = 200 * np.sqrt(np.sum(shares * (1 - shares)) / (images + 2))
    gap = round(best - last, 2)
    text += f"The best epoch ({accuracy.argmax() + 1}) was chosen with the test set and did {gap:.2f} points better: "
    text += f"{'' if gap > round(chance, 2) else 'no '}more than two standard errors of a difference"
    return text + f" on {images:,} test images ({chance:.2f} points)."


def _wrong_labels(samples: pd.DataFrame) -> str:
    repeated = samples["prediction"] == samples["noisy"]
    if "clean" not in samples:
        return f"Nobody knows which they are. At the end the model contradicts {_percent(~repeated)} of all labels."
    wrong, true = samples["noisy"] != samples["clean"], samples["prediction"] == samples["clean"]
    if not wrong.any():
        return f"There are none. At the end the model predicts {_percent(repeated)} of the labels."
    many = next((words for bound, words in REPEATED.items() if repeated[wrong].mean() < bound), "nearly all")
    text = f"{_percent(wrong)} of the labels are wrong. At the end the model repeats {many} of these: it predicts"
    text += f" the wrong label for {_percent(repeated[wrong])} of their images, and the true class for"
    return f"{text} {_percent(true[wrong])}."


def _losses(run: Run) -> str:
    parts = [counts[-1] for _, _, counts in loss_counts(run)]
    height = valley(np.sum(parts, axis=0))
    text = f"two humps; the valley between them is {100 * (height or 0):.0f} % as high as the lower one."
    text = "At the end they form " + (text if height is not None else "one hump, or two without a clear valley.")
    if len(parts) == 1 or not parts[1].any():
        return text
    common = np.minimum(*(counts / counts.sum() for counts in parts)).sum()
    return f"{text} The histograms of correct and of wrong labels have {100 * common:.0f} % of their area in common."


def valley(counts: np.ndarray) -> float | None:
    """Height of the valley between the two humps of a loss histogram [65], as a share of the lower; None of one hump.

    It must lie a fifth below the lower hump, and 2.5 standard errors of the smoothed counts. The outer bins are open,
    so that a heap in them is no hump: each counts as its neighbour at most.
    """
    closed = np.concatenate([[min(counts[:2])], counts[1:-1], [min(counts[-2:])]])
    smooth = np.convolve(np.pad(closed, len(WINDOW) // 2, mode="edge"), WINDOW, mode="valid")
    lower = np.minimum(np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1])
    clear = lower - smooth > 2.5 * np.sqrt(np.sum(WINDOW**2) * (lower + smooth))
    height = float(np.min(smooth[clear] / lower[clear], initial=1))
    return height if height <= 0.8 else None


def _p_clean(run: Run) -> str:
    samples = run.samples
    trusted, auc, precision, recall = run.epochs[["share_clean", "auc", "precision", "recall"]].iloc[-1].astype(float)
    text = f"It is above {threshold(run):g} for {100 * trusted:.1f} % of the labels"
    if "clean" not in samples:
        return f"{text}; how many of these are correct nobody knows."
    wrong = float((samples["noisy"] != samples["clean"]).mean())
    if not wrong:
        return f"{text}; the others are doubted by mistake."
    text = f"Its AUC, the chance that a correct label gets a higher value than a wrong one, is {auc:.3f}. {text}"
    if trusted:
        hardly = precision - (1 - wrong) < min(0.02, 0.1 * wrong)
        text += f": {100 * precision:.1f} % of these are correct, of all labels {100 * (1 - wrong):.1f} %"
        text += ", next to no gain" if hardly else ""
    caught, lost = 100 * abs(1 - trusted * (1 - precision) / wrong), 100 * (1 - recall)
    return f"{text}. The others hold {caught:.1f} % of the wrong labels and {lost:.1f} % of the correct ones."


def _percent(mask: pd.Series) -> str:
    return f"{100 * mask.mean():.1f} %"
