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


def transition_matrices(matrices: Mapping[str, np.ndarray], names: list[str] | None = None) -> Figure:
    """Row-stochastic matrices [C, C] side by side, on one colour scale."""
    figure, axes = panels(len(matrices), 3.9, columns=2, layout="compressed")
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        image = _matrix(ax, matrix, names)
        ax.set(title=title, xlabel="observed label")
    axes[0].set_ylabel("class")
    figure.colorbar(image, ax=axes, label="share of the row", orientation="horizontal", shrink=0.6, aspect=40)
    return figure


def _matrix(ax: Axes, matrix: np.ndarray, names: list[str] | None) -> AxesImage:
    image = ax.imshow(matrix, vmin=0, vmax=1, cmap="cividis")
    ax.grid(False)
    if len(matrix) > 20:
        return image
    ticks = range(len(matrix))
    if names:
        ax.set_xticks(ticks, names, rotation=60 if max(map(len, names)) > 2 else 0, ha="right")
        ax.set_yticks(ticks, names)
    for i, j in zip(*np.nonzero(matrix >= 0.005), strict=True):
        colour = "black" if matrix[i, j] > 0.55 else "white"
        text = f"{100 * matrix[i, j]:.0f}"  # it lies in the axes, so that the layout need not measure it
        ax.text(j, i, text, ha="center", va="center", color=colour, in_layout=False)
    return image


def split_confusion(run: Run) -> Figure:
    """The last split as a table: correct and wrong labels, trusted or not.

    Without clean labels the rows are the samples whose prediction agrees with the label, and the others.
    """
    known = "clean" in run.samples
    agrees = (run.samples["noisy"] == run.samples["clean" if known else "prediction"]).to_numpy()
    trusted = run.samples["p_clean"].to_numpy(dtype=np.float64) > threshold(run)
    counts = np.array([[(row & trusted).sum(), (row & ~trusted).sum()] for row in (agrees, ~agrees)])
    names = ["correct label", "wrong label"] if known else ["label is predicted", "label is not"]
    figure, ax = plt.subplots(figsize=(4.6, 3.2))
    ax.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), vmin=0, vmax=1, cmap="cividis")
    ax.grid(False)
    ax.set_xticks([0, 1], ["trusted", "not trusted"])
    ax.set_yticks([0, 1], names)
    for i, j in np.ndindex(2, 2):
        share = counts[i, j] / max(counts[i].sum(), 1)
        text = f"{counts[i, j]:,}\n{100 * share:.1f} % of row"
        ax.text(j, i, text, ha="center", va="center", color="black" if share > 0.55 else "white")
    return figure
