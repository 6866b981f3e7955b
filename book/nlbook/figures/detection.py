"""Label errors found while labels are inspected, the most suspicious first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlbook.detection import found, order_of, run_precision, wrong_labels
from nlbook.figures.contest import WIDTH, Groups, Quantity, dots, handle
from nlkit.figures.style import LOOKS, NEUTRAL, Look
from nlkit.training.runs import Run

PRECISION = Quantity("precision at the number of wrong labels", 1.0, 2e-3, (1, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5))
POINTS = 120
"""Points of a curve."""


def detection_dots(groups: Groups, cells: Sequence[str]) -> Figure:
    """Share of wrong labels among the E most suspicious ones, where E are wrong: mean and range of the seeds."""
    return dots(groups, cells, PRECISION, run_precision, None)


def detection_curves(groups: Groups, cell: str) -> Figure:
    """Precision and recall over the number of inspected labels of a cell, one line a method: mean of the seeds.

    Dotted: the number of wrong labels; grey: an order that knows them all, and one that knows nothing.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    here = {name: runs for (name, where), runs in groups.items() if where == cell}
    for ax, title in zip(axes, ("how many of the inspected are wrong", "how many of the wrong are found"), strict=True):
        ax.set(title=title, xlabel="inspected labels in %", xlim=(0, 100), ylim=(0, 103))
    axes[0].set_ylabel("precision in %")
    axes[1].set_ylabel("recall in %")
    if not here:
        axes[0].text(0.5, 0.5, "not run here", transform=axes[0].transAxes, ha="center", fontsize=8, color=NEUTRAL)
        return figure
    _limits(axes, wrong_labels(next(iter(here.values()))[0].samples))
    for number, (name, runs) in enumerate(here.items()):
        _curves(axes, LOOKS[name], runs, number)
    figure.legend(handles=[handle(LOOKS[name]) for name in here], loc="outside right center")
    return figure


def _limits(axes: Sequence[Axes], wrong: np.ndarray) -> None:
    """The best order, the random one, and where as many labels have been inspected as are wrong."""
    share, x = 100 * wrong.mean(), np.linspace(0.1, 100, 500)
    best, grey = np.minimum(x, share), partial(Line2D, color=NEUTRAL, linewidth=1.0, alpha=0.7)
    axes[0].add_line(grey(x, 100 * best / x, linestyle="--"))
    axes[0].add_line(grey(x, np.full_like(x, share), linestyle="-."))
    axes[1].add_line(grey(x, 100 * best / max(share, 1e-9), linestyle="--"))
    axes[1].add_line(grey(x, x, linestyle="-."))
    for ax in axes:
        ax.add_line(grey([share, share], [0, 103], linestyle=":"))


def _curves(axes: Sequence[Axes], look: Look, runs: Sequence[Run], number: int) -> None:
    """Both curves of one method; markers of different methods stand at different places."""
    count = min(len(run.samples) for run in runs)
    inspected = np.unique(np.linspace(max(count // 100, 1), count, POINTS).astype(int))
    hits = np.mean([found(wrong_labels(run.samples), order_of(run))[inspected - 1] for run in runs], axis=0)
    errors = np.mean([wrong_labels(run.samples).sum() for run in runs])
    every = (4 + 2 * number, POINTS // 6)
    for ax, values in zip(axes, (hits / inspected, hits / max(errors, 1)), strict=True):
        ax.plot(
            100 * inspected / count, 100 * values, color=look.colour, linewidth=1.3,
            marker=look.marker, markevery=every, markersize=5,
        )  # fmt: skip
