"""Noise models side by side: where wrong labels go, whom they hit, and how that depends on the image."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import binned_statistic

from nlbook.noise_models import NoiseModels, NoiseSummary
from nlkit.figures.images import heading, image_grid, show
from nlkit.figures.style import CLEAN, NEUTRAL, NOISY, WIDTH, panels


def margins(delta: np.ndarray, wrong: np.ndarray) -> Figure:
    """Counts of correct and wrong labels [N] by margin [N] in [0, 1], and the share of wrong ones, ± standard error."""
    share, edges, _ = binned_statistic(delta, wrong, bins=10, range=(0, 1))  # NaN of an empty bin, which is not drawn
    error = np.sqrt(share * (1 - share) / np.histogram(delta, edges)[0])
    figure, axes = panels(2, 2.8)
    parts, colours = [delta[~wrong], delta[wrong]], [CLEAN, NOISY]
    axes[0].hist(parts, list(edges), stacked=True, color=colours, alpha=0.75, label=["correct label", "wrong label"])
    axes[0].set(xlabel="margin", ylabel="samples", title="How sure the classifier is")
    axes[0].legend(loc="upper left")
    centres = (edges[1:] + edges[:-1]) / 2
    axes[1].errorbar(centres, 100 * share, 100 * error, fmt="o-", color=NOISY, capsize=3, label="each bin")
    axes[1].axhline(100 * wrong.mean(), color="black", linestyle="--", linewidth=1.1, label="all samples")
    axes[1].set(xlabel="margin", ylabel="wrong labels in %", xlim=(0, 1), ylim=(0, None), title="How often it is wrong")
    axes[1].legend(loc="lower left")
    return figure


MODELS = {
    "symmetric": ("#5A5A5A", "o"),
    "asymmetric": ("#E69F00", "s"),
    "PMD I": ("#0072B2", "^"),
    "PMD II": ("#56B4E9", "v"),
    "PMD III": ("#009E73", "D"),
    "PMD I + uniform": ("#CC79A7", "P"),
    "PMD I + asymmetric": ("#882255", "X"),
    "human, aggregate": ("#999933", "<"),
    "human, random 1": ("#000000", "p"),
    "human, worst": ("#D55E00", "*"),
}  # colour and marker of each noise model, in the order of the page


def matrix_grid(summary: NoiseSummary) -> Figure:
    """Where wrong labels go: transition matrices without diagonals; colours follow the square root of a share."""
    shown, names = summary.shown(hybrids=True), summary.names
    figure, axes = panels(len(shown), 2.15, sharey=True)
    beside = [np.where(np.eye(len(names)) > 0, np.nan, 100 * np.array(one.matrix)) for one in shown.values()]
    most = float(np.nanmax(beside))
    for ax, (name, one), shares in zip(axes, shown.items(), beside, strict=True):
        image = ax.imshow(shares, norm=PowerNorm(0.5, 0, most), cmap="cividis")
        ax.set(facecolor="#DDDDDD", title=f"{name}, {100 * one.rate:.0f} %")
        ax.grid(False)
        ax.set_yticks(range(len(names)), names)
        below = names if ax in axes[-3:] else [""] * len(names)
        ax.set_xticks(range(len(names)), below, rotation=90 if max(map(len, names)) > 2 else 0)
        ax.tick_params(length=2)
    label = "% of the images of a class (row) that get a label (column)"
    bar = figure.colorbar(image, ax=axes, label=label, orientation="horizontal", shrink=0.6, aspect=40)
    bar.set_ticks([tick for tick in (0, 1, 5, 10, 20, 30, 40, 60, 80, 100) if tick <= most])
    return figure


def class_rate_dots(summaries: Sequence[NoiseSummary]) -> Figure:
    """Share of wrong labels in each class by model: one panel a data set."""
    figure, axes = panels(len(summaries), 4.2)
    for ax, one in zip(axes, summaries, strict=True):
        shown, count = one.shown(), len(one.names)
        for shift, (name, model) in zip(np.linspace(-0.32, 0.32, len(shown)), shown.items(), strict=True):
            colour, marker = MODELS[name]
            ax.plot(100 * model.class_rates(), np.arange(count) + shift, marker, color=colour, markersize=4.5)
        ax.set_yticks(range(count), one.names)
        ax.set(title=one.title, xlabel="wrong labels in %", ylim=(count - 0.5, -0.5), xlim=(-2, None))
        ax.grid(axis="y", visible=False)
        for edge in np.arange(0.5, count - 1):
            ax.axhline(edge, color=NEUTRAL, linewidth=0.4, alpha=0.4)
    _legend(figure, summaries)
    return figure


def _legend(figure: Figure, summaries: Sequence[NoiseSummary]) -> None:
    names = {name for one in summaries for name in one.shown()}
    looks = {name: look for name, look in MODELS.items() if name in names}
    handles = [Line2D([], [], color=c, marker=m, label=name, linewidth=1) for name, (c, m) in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def lift_maps(summaries: Sequence[NoiseSummary]) -> Figure:
    """How much more often two models hit the same image than if they were independent: one square table a data set."""
    tables = {one.title: pd.DataFrame(one.lifts).reindex(list(one.lifts)) for one in summaries}
    sizes = [len(table) + 1.5 for table in tables.values()]
    size = (WIDTH, 0.42 * sum(sizes) + 1.3)
    figure, axes = plt.subplots(len(tables), 1, figsize=size, squeeze=False, height_ratios=sizes)
    most = max(2.0, *(float(np.nanmax(table.to_numpy())) for table in tables.values()))
    colours = {"norm": LogNorm(1 / most, most), "cmap": "PuOr_r", "square": True, "cbar": False}
    numbers = {"annot": True, "fmt": ".2f", "annot_kws": {"in_layout": False}}
    for ax, (title, table) in zip(axes.flat, tables.items(), strict=True):
        seaborn.heatmap(table, ax=ax, **colours, **numbers)
        ax.grid(False)
        ax.set_title(title)
        ax.tick_params(labelrotation=0)
        plt.setp(ax.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    label = "lift within classes"
    bar = figure.colorbar(ax.collections[0], ax=axes, orientation="horizontal", shrink=0.5, aspect=40, label=label)
    bar.set_ticks([1 / 2, 1, 2], labels=["½", "1", "2"], minor=False)
    bar.minorticks_off()
    return figure


def margin_curves(summaries: Sequence[NoiseSummary]) -> Figure:
    """Noise rate over its mean in each tenth of the classes, by the margin of a classifier: one panel a data set."""
    figure, axes = panels(len(summaries), 3.7, sharey=True)
    for ax, one in zip(axes, summaries, strict=True):
        below = "tenth of the class, the least sure first"
        ax.set(title=one.title, xlabel=below, xticks=range(1, 11), xlim=(0.5, 10.5))
        ax.axhline(1, color=NEUTRAL, linewidth=0.8, linestyle=":")
        for name, model in one.shown().items():
            colour, marker = MODELS[name]
            ax.plot(range(1, 11), model.curve, color=colour, marker=marker, markersize=4.5, linewidth=1.2)
    axes[0].set(ylabel="noise rate over its mean", ylim=(0, None))
    _legend(figure, summaries)
    return figure


def hit_gallery(models: NoiseModels, first: str, second: str) -> Figure:
    """Images that both, or only one of two noise models hit: above is the true class, below each wrong label once."""
    assert models.images is not None
    rows, clean, names = models.hit_rows(first, second), models.clean, models.names
    labels = [models.labels[first], models.labels[second]]
    count = max(map(len, rows.values()), default=1)
    figure, axes = image_grid(max(len(rows), 1), count, extra=0.85)
    for line, (title, index) in zip(axes, rows.items(), strict=False):
        heading(line[0], title, 1.32)
        for ax, i in zip(line, index, strict=False):
            show(ax, models.images[i])
            given = list(dict.fromkeys(names[one[i]] for one in labels if one[i] != clean[i]))
            place = {"transform": ax.transAxes, "ha": "center"}
            ax.text(0.5, 1.04, names[clean[i]], va="bottom", color=CLEAN, **place)
            ax.text(0.5, -0.05, "\n".join(given), va="top", color=NOISY, **place)
    return figure
