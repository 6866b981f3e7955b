"""Methods side by side: one colour and one marker for each, in every figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlkit.figures.style import LOOKS, NEUTRAL, Look
from nlkit.runs import Run

Groups = Mapping[tuple[str, str], Sequence[Run]]
WIDTH = 9.6
"""Inches of a figure that fills the page."""


def accuracy_dots(groups: Groups, cells: Sequence[str]) -> Figure:
    """Last test accuracy: a filled marker at the mean, a line over the range of the seeds, hollow: the best epoch."""
    return _dots(
        groups,
        cells,
        lambda run: run.record["accuracy"]["last"],
        "test accuracy in %",
        other=lambda run: run.record["accuracy"]["best"],
    )


def auc_dots(groups: Groups, cells: Sequence[str]) -> Figure:
    """AUC of P(clean) after the last epoch: mean and range of the seeds."""
    return _dots(groups, cells, lambda run: run.record["split"]["auc"], "AUC of P(clean)")


def _dots(
    groups: Groups,
    cells: Sequence[str],
    value: Callable[[Run], float | None],
    label: str,
    other: Callable[[Run], float | None] | None = None,
) -> Figure:
    names = _methods(groups)
    size = (WIDTH, 0.29 * len(names) + 1.1)
    figure, axes = plt.subplots(1, len(cells), figsize=size, squeeze=False, sharey=True)
    for ax, cell in zip(axes[0], cells, strict=True):
        for row, name in enumerate(names):
            look, runs = LOOKS[name], groups.get((name, cell), [])
            values = _values(runs, value)
            if not len(values):
                ax.text(0.03, row, "not run here", transform=ax.get_yaxis_transform(), va="center", fontsize=7, color=NEUTRAL)
                continue
            if other is not None:
                best = _values(runs, other).mean()
                ax.plot(best, row, look.marker, color=look.colour, markerfacecolor="white", markersize=6, alpha=0.8)
            ax.plot([values.min(), values.max()], [row, row], color=look.colour, linewidth=2.2, solid_capstyle="round")
            ax.plot(values.mean(), row, look.marker, color=look.colour, markersize=7)
        ax.set(title=cell, xlabel=label)
        ax.xaxis.label.set_fontsize(9)
        ax.grid(axis="y", alpha=0.15)
        ax.margins(x=0.12)
    axes[0][0].set_yticks(range(len(names)), [LOOKS[name].label for name in names])
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def curves(
    groups: Groups, cells: Sequence[str], column: str = "accuracy", label: str = "test accuracy in %"
) -> Figure:
    """A column of the epoch tables, one panel a cell and one line a method: mean of the seeds, range as a band."""
    columns = min(3, len(cells) + 1)
    rows = -(-(len(cells) + 1) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH if columns > 2 else 6.8, 2.75 * rows), squeeze=False, sharey=True
    )
    for ax, cell in zip(axes.flat, cells, strict=False):
        for (name, where), runs in groups.items():
            if where == cell:
                _curve(ax, LOOKS[name], runs, column)
        ax.set(title=cell, xlabel="epoch")
    for line in axes:
        line[0].set_ylabel(label)
    for ax in axes.flat[len(cells) :]:
        ax.set_axis_off()
    shown = [name for name in _methods(groups) if any((name, cell) in groups for cell in cells)]
    axes.flat[len(cells)].legend(handles=[_handle(LOOKS[name]) for name in shown], loc="center left")
    return figure


def _curve(ax: Axes, look: Look, runs: Sequence[Run], column: str) -> None:
    found = [run.epochs[column].to_numpy(dtype=float) for run in runs if column in run.epochs]
    if not found or np.isnan(np.concatenate(found)).all():
        return
    length = min(map(len, found))
    values = np.stack([one[:length] for one in found])
    epochs = np.arange(1, length + 1)
    ax.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=look.colour, alpha=0.18, linewidth=0)
    every = max(length // 6, 1)
    ax.plot(
        epochs, values.mean(axis=0), color=look.colour, linewidth=1.3,
        marker=look.marker, markevery=(every // 2, every), markersize=5,
    )  # fmt: skip


def cost_and_accuracy(
    groups: Groups, cells: Sequence[str], cost: Callable[[Run], float | None], label: str
) -> Figure:
    """Last test accuracy over a cost, one panel a cell: mean of the seeds with their range; costs are logarithmic."""
    figure, axes = plt.subplots(1, len(cells), figsize=(min(4.2 * len(cells), WIDTH), 3.3), squeeze=False)
    for ax, cell in zip(axes[0], cells, strict=True):
        for (name, where), runs in groups.items():
            x = _values(runs, cost)
            if where == cell and len(x):
                _point(ax, LOOKS[name], x, _values(runs, lambda run: run.record["accuracy"]["last"]))
        ax.set(title=cell, xlabel=label, xscale="log")
        ax.margins(0.12)
    axes[0][0].set_ylabel("test accuracy in %")
    figure.legend(
        handles=[_handle(LOOKS[name], line=False) for name in _methods(groups)], loc="outside right center"
    )
    return figure


def _point(ax: Axes, look: Look, x: np.ndarray, y: np.ndarray) -> None:
    ax.plot([x.mean()] * 2, [y.min(), y.max()], color=look.colour, linewidth=2)
    ax.plot([x.min(), x.max()], [y.mean()] * 2, color=look.colour, linewidth=2)
    ax.plot(x.mean(), y.mean(), look.marker, color=look.colour, markersize=9, markeredgecolor="white")


def _methods(groups: Groups) -> list[str]:
    return [name for name in LOOKS if any(name == key for key, _ in groups)]


def _handle(look: Look, line: bool = True) -> Line2D:
    return Line2D(
        [], [], color=look.colour, marker=look.marker, label=look.label, linestyle="-" if line else "none", markersize=7
    )


def _values(runs: Sequence[Run], value: Callable[[Run], float | None]) -> np.ndarray:
    return np.array([found for run in runs if (found := value(run)) is not None], dtype=float)
