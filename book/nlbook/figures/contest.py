"""Methods side by side: one colour and one marker for each, in every figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.scale import FuncScale
from numpy.typing import ArrayLike

from nlbook.contest import LOOKS, NOT_RUN, Groups, passes_of, present, pretraining_passes
from nlkit.figures.style import NEUTRAL, panels
from nlkit.params.registry import Look
from nlkit.training.runs import Run

Value = Callable[[Run], float | None]


@dataclass(frozen=True)
class Quantity:
    """Something near its best value, shown by how much it lacks: the scale is -log(top + softening - value).

    `softening` is about the lack that need not be told apart from none; `ticks` are offered from the top down.
    """

    label: str
    top: float
    softening: float
    ticks: tuple[float, ...]
    last: Value  # of a run
    best: Value | None = None

    def place(self, value: ArrayLike) -> np.ndarray:
        """Where values lie on the axis."""
        return -np.log10(np.maximum(self.top + self.softening - np.asarray(value, dtype=float), 1e-12))

    def value(self, place: ArrayLike) -> np.ndarray:
        """Values at places on the axis."""
        return self.top + self.softening - 10.0 ** -np.asarray(place, dtype=float)

    def scale(self, ax: Axes, axis: Literal["x", "y"], values: np.ndarray) -> None:
        """Make an axis reach over the values with a margin, with round ticks that are not too close."""
        low, high = self.place([np.nanmin(values), np.nanmax(values)])
        reach = max(float(high - low), 0.3)
        ticks: list[float] = []
        for tick in self.ticks:
            inside = low - 0.1 * reach <= self.place(tick) <= high + 0.1 * reach
            if inside and (not ticks or self.place(ticks[-1]) - self.place(tick) > 0.09 * reach):
                ticks.append(tick)
        drawn = ax.xaxis if axis == "x" else ax.yaxis
        limits = self.value([low - 0.08 * reach, high + 0.08 * reach])
        ax.set(**{f"{axis}scale": FuncScale(drawn, (self.place, self.value)), f"{axis}lim": limits})
        drawn.set_ticks(ticks)
        drawn.set_major_formatter("{x:g}")


PERCENT = (100, 99.8, 99.5, 99, 98, 95, 90, 80, 70, 60, 50, 40, 30, 10)
SHARES = (1, 0.999, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
LAST, BEST = (lambda run, key=key: run.record["accuracy"][key] for key in ("last", "best"))
ACCURACY = Quantity("test accuracy in %", 100.0, 0.1, PERCENT, LAST, BEST)
AUC = Quantity("AUC of P(clean)", 1.0, 1e-3, SHARES, lambda run: run.record["split"]["auc"])


def dots(groups: Groups, quantity: Quantity) -> Figure:
    """One panel a cell, one row a method: mean over the seeds, a line over their range; hollow: mean of the best."""
    names = present(groups)
    figure, axes = panels(len(groups), 0.21 * len(names) + 1.0, columns=2, sharey=True)
    for ax, (cell, rivals) in zip(axes, groups.items(), strict=True):
        shown: list[float] = []
        for row, name in enumerate(names):
            shown += _dot(ax, row, LOOKS[name], rivals.get(name, []), quantity)
        ax.set_title(cell)
        ax.grid(axis="y", alpha=0.15)
        if shown:
            quantity.scale(ax, "x", np.array(shown))
            ax.tick_params(axis="x", rotation=45)
        else:
            ax.set_xticks([])
    axes[0].set_yticks(range(len(names)), [LOOKS[name].label for name in names])
    axes[0].set_ylim(max(len(names), 1) - 0.5, -0.5)
    figure.supxlabel(quantity.label)
    return figure


def _dot(ax: Axes, row: int, look: Look, runs: Sequence[Run], quantity: Quantity) -> list[float]:
    """Draw one method; returns the values that must be seen."""
    values = pd.Series(list(map(quantity.last, runs)), dtype=float).dropna()
    if values.empty:
        ax.text(0.05, row, NOT_RUN, transform=ax.get_yaxis_transform(), va="center", color=NEUTRAL)
        return []
    seen = list(values)
    if quantity.best:
        seen.append(pd.Series(list(map(quantity.best, runs)), dtype=float).mean())
        ax.plot(seen[-1], row, look.marker, color=look.colour, markerfacecolor="white", markersize=6, label="_best")
    span: dict[str, Any] = {"linewidth": 2.2, "solid_capstyle": "round", "label": "_range"}
    ax.plot([values.min(), values.max()], [row, row], color=look.colour, **span)
    ax.plot(values.mean(), row, look.marker, color=look.colour, markersize=7, label="_mean")
    return seen


def epoch_curves(groups: Groups, column: str = "accuracy") -> Figure:
    """`accuracy` or `auc` over passes, one panel a cell and one line a method: mean of the seeds, range as a band."""
    quantity = AUC if column == "auc" else ACCURACY
    figure, axes = panels(len(groups), 2.5 if len(groups) > 1 else 3.2, columns=2, sharey=True)
    ends = []
    for ax, (cell, rivals) in zip(axes, groups.items(), strict=True):
        here = [end for name, runs in rivals.items() for end in _curve(ax, LOOKS[name], runs, column)]
        ends += here
        ax.set(title=cell, xlabel="passes an image")
        if not here:
            say_not_run(ax)
            ax.set_xticks([])
    if ends:
        quantity.scale(axes[0], "y", np.array(ends))
    figure.supylabel(quantity.label)
    figure.legend(handles=[handle(LOOKS[name]) for name in present(groups)], loc="outside lower center", ncols=4)
    return figure


def say_not_run(ax: Axes) -> None:
    """Say in the middle of an empty panel why it is empty."""
    ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", color=NEUTRAL)


def _curve(ax: Axes, look: Look, runs: Sequence[Run], column: str) -> list[float]:
    """Draw one method; returns its lowest and highest value, nothing where the column is not known."""
    found = [run.epochs[column].to_numpy(dtype=float) for run in runs if column in run.epochs]
    if not found or np.isnan(np.concatenate(found)).all():
        return []
    length = min(map(len, found))
    values = np.stack([one[:length] for one in found])
    passes = np.linspace(pretraining_passes(runs[0]), passes_of(runs[0]) or length, length + 1)[1:]
    band: dict[str, Any] = {"color": look.colour, "alpha": 0.18, "linewidth": 0, "rasterized": True}
    ax.fill_between(passes, values.min(axis=0), values.max(axis=0), label=f"_{look.label}", **band)  # for the CSV only
    every = max(length // 6, 1)
    ax.plot(passes, values.mean(axis=0), markevery=(every // 2, every), **line_style(look))
    return [float(np.nanmin(values)), float(np.nanmax(values))]


def line_style(look: Look) -> dict[str, Any]:
    """The style of the line of a method."""
    return {"color": look.colour, "marker": look.marker, "linewidth": 1.3, "markersize": 5}


def handle(look: Look) -> Line2D:
    """The entry of a method in a legend."""
    return Line2D([], [], color=look.colour, marker=look.marker, label=look.label, markersize=7)
