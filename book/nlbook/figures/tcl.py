"""What TCL sees: the scores that it fits two Gaussians to, and its representations with the prototypes."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from nlkit.figures.reading import groups, snapshots, warm_up
from nlkit.training.runs import Run

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
    """Representations in the plane, laid out by t-SNE, at the first and the last recorded epoch.

    What is laid out are the recorded coordinates along the principal axes of the prototypes. Points are training
    images, squares the prototypes with the names of their classes. The layout keeps neighbours, not distances.
    """
    recorded = snapshots(run)
    epochs = list(dict.fromkeys([recorded[0], recorded[-1]]))
    figure, axes = plt.subplots(1, len(epochs), figsize=(4.6 * len(epochs), 4.2), squeeze=False)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        points, centres = _layout(run, epoch)
        for label, colour, mask in groups(run.samples.iloc[: len(points)]):
            ax.scatter(*points[mask].T, s=6, color=colour, alpha=0.5, linewidths=0, label=label, rasterized=True)
        _prototypes(ax, centres, run.record["data"]["classes"])
        ax.set(title=_title(run, epoch), xticks=[], yticks=[])
    axes[0][0].legend(fontsize=8, loc="upper left", framealpha=0.9)
    return figure


def _layout(run: Run, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Places [n, 2] of the recorded images and [C, 2] of the prototypes."""
    row = run.epochs.iloc[epoch - 1]
    axes = [int(name.split("_")[1]) for name in map(str, run.samples) if re.fullmatch(rf"map_\d+_{epoch}", name)]
    points = run.samples[[f"map_{axis}_{epoch}" for axis in axes]].dropna().to_numpy(dtype=np.float64)
    centres = np.stack([row[f"prototypes_{axis}"] for axis in axes], axis=1)
    everything = np.concatenate([points, centres])
    perplexity = min(30.0, (len(everything) - 1) / 3)
    laid = TSNE(2, init="random", random_state=0, perplexity=perplexity).fit_transform(everything)
    return laid[: len(points)], laid[len(points) :]


def _prototypes(ax: Axes, centres: np.ndarray, names: list[str]) -> None:
    ax.plot(*centres.T, "s", color="black", markerfacecolor="white", markersize=6, linestyle="none", label="prototype")
    if len(names) <= 20:
        halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
        for name, (across, up) in zip(names, centres, strict=True):
            text = ax.annotate(name, (across, up), xytext=(5, 5), textcoords="offset points", fontsize=9)
            text.set(fontweight="bold", path_effects=halo)


def label_map(run: Run) -> Figure:
    """Each label by the similarity of its image to the label's prototype and to the nearest other one."""
    epochs = snapshots(run)
    figure, axes = plt.subplots(1, len(epochs), figsize=(2.6 * len(epochs), 2.9), sharey=True, squeeze=False)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        own, other = (run.samples[f"{name}_{epoch}"].to_numpy(dtype=np.float64) for name in ("own", "other"))
        for label, colour, mask in groups(run.samples):
            ax.scatter(own[mask], other[mask], s=4, color=colour, alpha=0.4, linewidths=0, label=label, rasterized=True)
        ax.axline((0, 0), slope=1, color="black", linestyle=":", linewidth=1)
        ax.set(title=_title(run, epoch), xlabel="similarity, own prototype", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    axes[0][0].set_ylabel("nearest other prototype")
    axes[0][0].legend(fontsize=8, markerscale=2.5, loc="lower left")
    return figure


def _title(run: Run, epoch: int) -> str:
    return f"epoch {epoch}" + (" (warm-up)" if epoch <= (warm_up(run) or 0) else "")
