"""Where the images lie among the features of an encoder, and which ones are neighbours there."""

from __future__ import annotations

import re
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from nlkit.data.problem import Problem
from nlkit.figures.images import image_grid, show
from nlkit.figures.reading import groups, snapshots
from nlkit.figures.style import CLEAN, NEUTRAL, NOISY
from nlkit.methods.simclr import QUERIES, SHOWN
from nlkit.training.runs import Run


def feature_maps(run: Run) -> Figure:
    """Features laid out by t-SNE at the first and the last recorded epoch, each class with its name."""
    recorded = snapshots(run)
    epochs = list(dict.fromkeys([recorded[0], recorded[-1]]))
    return _maps(run, [(f"after epoch {epoch}", f"map_{{}}_{epoch}") for epoch in epochs])


def feature_geometry(run: Run) -> Figure:
    """Features of the first network laid out by t-SNE, at the start of the run and after its last epoch.

    The start is the pre-trained encoder where the run has one, else a random network.
    """
    last = snapshots(run)[-1]
    start = "pre-trained" if run.record.get("encoder") else "random start"
    return _maps(run, [(start, f"start_{{}}_{last}"), (f"after epoch {last}", f"map_{{}}_{last}")])


def _maps(run: Run, panels: Sequence[tuple[str, str]]) -> Figure:
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 4.2), squeeze=False)
    for ax, (title, columns) in zip(axes[0], panels, strict=True):
        points = _layout(run, columns)
        shown = [group for group in groups(run.samples.iloc[: len(points)]) if group[2].any()]
        for label, colour, mask in shown:
            ax.scatter(*points[mask].T, s=6, color=colour, alpha=0.5, linewidths=0, label=label, rasterized=True)
        _names(ax, points, run)
        ax.set(title=title, xticks=[], yticks=[])
    if len(shown) > 1:
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=2)
    return figure


def _layout(run: Run, columns: str) -> np.ndarray:
    """Places [n, 2] of the recorded images, from their coordinates; neighbours are kept, distances are not."""
    pattern = re.escape(columns).replace(r"\{\}", r"\d+")
    names = [name for name in map(str, run.samples) if re.fullmatch(pattern, name)]
    points = run.samples[names].dropna().to_numpy(dtype=np.float64)
    return TSNE(2, init="pca", random_state=0, perplexity=min(30.0, (len(points) - 1) / 3)).fit_transform(points)


def _names(ax: Axes, points: np.ndarray, run: Run) -> None:
    """The name of each class at the median of its images: of the true class where it is known, else the predicted."""
    known = run.samples["clean" if "clean" in run.samples else "prediction"].to_numpy()[: len(points)]
    names = run.record["data"]["classes"]
    if len(names) > 20:
        return
    halo = [patheffects.withStroke(linewidth=3, foreground="white")]
    for number, name in enumerate(names):
        if (known == number).any():
            across, up = np.median(points[known == number], axis=0)
            text = ax.text(across, up, name, fontsize=11, ha="center", va="center")
            text.set(fontweight="bold", path_effects=halo)


def neighbour_gallery(run: Run, problem: Problem) -> Figure:
    """Training images (top row) and, below each, the images with the nearest features; the number is the class.

    Blue: the same true class as the image at the top, vermilion: another one, grey: unknown.
    """
    index = np.array(run.epochs["neighbours"].iloc[-1]).reshape(QUERIES, SHOWN)
    names = run.record["data"]["classes"]
    figure, axes = image_grid(SHOWN + 1, QUERIES, extra=0.18)
    for column, neighbours in enumerate(index):
        for row, i in enumerate([column, *neighbours]):
            ax = axes[row][column]
            show(ax, problem.train.images[int(i)].numpy())
            if problem.clean is None:
                continue
            own, top = int(problem.clean[int(i)]), int(problem.clean[column])
            colour = NEUTRAL if row == 0 else (CLEAN if own == top else NOISY)
            ax.set_title(names[own], fontsize=8, color=colour, pad=2)
    return figure
