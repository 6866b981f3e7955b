"""What TCL sees: the scores that it fits two Gaussians to, and its representations with the prototypes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlkit.figures.losses import groups, snapshots, warm_up
from nlkit.figures.style import CYCLE
from nlkit.runs import Run

BINS = 40


def score_histograms(run: Run) -> Figure:
    """Score of each training label at the recorded epochs, with the fitted mixture where there is one for all."""
    epochs = snapshots(run)
    figure, axes = plt.subplots(1, len(epochs), figsize=(2.6 * len(epochs), 2.9), squeeze=False)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        highest = 1.0
        values = run.samples[f"score_{epoch}"].to_numpy(dtype=np.float64)
        for label, colour, mask in groups(run.samples):
            counts, *_ = ax.hist(values[mask], list(np.linspace(0, 1, BINS + 1)), color=colour, alpha=0.6, label=label)
            highest = max(highest, float(np.max(counts)))
        _mixture(ax, run, epoch)
        ax.set(title=_title(run, epoch), xlabel="score", yscale="log", ylim=(0.5, 4 * highest))
    axes[0][0].set_ylabel("samples")
    axes[0][-1].legend(fontsize=8, loc="upper center")
    return figure


def _mixture(ax: Axes, run: Run, epoch: int) -> None:
    """The two weighted densities, in samples a bin."""
    row = run.epochs.iloc[epoch - 1]
    if row["score_means"] is None:
        return
    z = np.linspace(0, 1, 800)
    columns = (row["score_weights"], row["score_means"], row["score_variances"])
    for weight, mean, variance, style in zip(*columns, ("-", "--"), strict=True):
        density = weight * np.exp(-((z - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        name = "mixture: clean" if style == "-" else "mixture: wrong"
        ax.plot(z, len(run.samples) / BINS * density, color="black", linestyle=style, linewidth=1.1, label=name)


def feature_map(run: Run) -> Figure:
    """Representations in the plane of their two main directions, at the first and the last recorded epoch.

    Points are training images, squares the prototypes with the names of their classes.
    """
    recorded = snapshots(run)
    epochs = list(dict.fromkeys([recorded[0], recorded[-1]]))
    figure, axes = plt.subplots(1, len(epochs), figsize=(4.4 * len(epochs), 4.2), squeeze=False)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        x, y = (run.samples[f"map_{axis}_{epoch}"].to_numpy(dtype=np.float64) for axis in (1, 2))
        for label, colour, mask in groups(run.samples):
            ax.scatter(x[mask], y[mask], s=5, color=colour, alpha=0.35, linewidths=0, label=label, rasterized=True)
        _prototypes(ax, run, epoch)
        ax.set(title=_title(run, epoch), xlabel="first principal component", xticks=[], yticks=[])
    axes[0][0].set_ylabel("second principal component")
    axes[0][0].legend(fontsize=8, markerscale=2.5)
    return figure


def _prototypes(ax: Axes, run: Run, epoch: int) -> None:
    row, names = run.epochs.iloc[epoch - 1], run.record["data"]["classes"]
    x, y = row["prototypes_1"], row["prototypes_2"]
    ax.plot(x, y, "s", color="black", markerfacecolor=CYCLE[5], markersize=6, linestyle="none", label="prototype")
    if len(names) <= 20:
        for name, across, up in zip(names, x, y, strict=True):
            ax.annotate(name, (across, up), xytext=(4, 4), textcoords="offset points", fontsize=8, fontweight="bold")


def _title(run: Run, epoch: int) -> str:
    return f"epoch {epoch}" + (" (warm-up)" if epoch <= (warm_up(run) or 0) else "")
