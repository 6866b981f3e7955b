"""Matrices: where labels go, and how the split sorts them."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from nlkit.figures.style import panels, threshold
from nlkit.noise import transition_matrix
from nlkit.training.runs import Run


def run_matrices(run: Run) -> dict[str, np.ndarray]:
    """Transition matrices [C, C] of a run: given where the truth is known, and estimated from predictions."""
    classes = len(run.record["data"]["classes"])
    samples = run.samples.astype({"noisy": np.int64, "prediction": np.int64})
    noisy, prediction = samples["noisy"].to_numpy(), samples["prediction"].to_numpy()
    matrices = {}
    if "clean" in samples:
        matrices["given: true class to label"] = transition_matrix(samples["clean"].to_numpy(np.int64), noisy, classes)
    matrices["estimated: prediction to label"] = transition_matrix(prediction, noisy, classes)
    return matrices


def transition_matrices(matrices: Mapping[str, np.ndarray], names: list[str]) -> Figure:
    """Row-stochastic matrices [C, C] side by side, on one colour scale; with at most 20 classes they are named."""
    figure, axes = panels(len(matrices), 3.9, columns=2, layout="compressed")
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        texts = {}
        if len(matrix) <= 20:
            ax.set_xticks(range(len(matrix)), names, rotation=60 if max(map(len, names)) > 2 else 0, ha="right")
            ax.set_yticks(range(len(matrix)), names)
            texts = {place: f"{100 * share:.0f}" for place, share in np.ndenumerate(matrix) if share >= 0.005}
        image = _shares(ax, matrix, texts)
        ax.set(title=title, xlabel="observed label")
    axes[0].set_ylabel("class")
    figure.colorbar(image, ax=axes, label="share of the row", orientation="horizontal", shrink=0.6, aspect=40)
    return figure


def _shares(ax: Axes, shares: np.ndarray, texts: Mapping[tuple[int, ...], str]) -> AxesImage:
    """Shares [R, C] as colours, and texts in some of the cells."""
    ax.grid(False)
    for (i, j), text in texts.items():
        colour = "black" if shares[i, j] > 0.55 else "white"
        ax.text(j, i, text, ha="center", va="center", color=colour, in_layout=False)  # it lies in the axes anyway
    return ax.imshow(shares, vmin=0, vmax=1, cmap="cividis")


def split_confusion(run: Run) -> Figure:
    """The last split as a table: correct and wrong labels, trusted or not.

    Without clean labels the rows are the samples whose prediction agrees with the label, and the others.
    """
    known = "clean" in run.samples
    agrees = (run.samples["noisy"] == run.samples["clean" if known else "prediction"]).to_numpy()
    trusted = run.samples["p_clean"].to_numpy(dtype=np.float64) > threshold(run)
    counts = np.array([[(row & trusted).sum(), (row & ~trusted).sum()] for row in (agrees, ~agrees)])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    _shares(ax, shares, {k: f"{counts[k]:,}\n{100 * share:.1f} % of row" for k, share in np.ndenumerate(shares)})
    ax.set_xticks([0, 1], ["trusted", "not trusted"])
    ax.set_yticks([0, 1], ["correct label", "wrong label"] if known else ["label is predicted", "label is not"])
    return figure
