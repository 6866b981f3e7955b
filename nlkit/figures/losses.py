"""The losses of samples and what the mixture makes of them, and curves over epochs."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nlkit.figures import style
from nlkit.training.records import LOSS_EDGES
from nlkit.training.runs import Run

BINS = 40
_RATIO = LOSS_EDGES[2] / LOSS_EDGES[1]
EDGES = np.concatenate([[LOSS_EDGES[1] / _RATIO], LOSS_EDGES[1:-1], [LOSS_EDGES[-2] * _RATIO]])
"""Edges [66] of the loss histograms on a logarithmic axis; the open outer bins get the width of the others."""
AREA: Any = {"histtype": "stepfilled", "alpha": 0.6}
"""A histogram is one area, which is drawn much faster than its bars."""


def loss_histograms(run: Run) -> Figure:
    """Loss of each training sample under network 1 at the recorded epochs, with the fitted mixture over it."""
    return histograms(run, "loss", "mixture", "low, high")


def histograms(run: Run, name: str, mixture: str, components: str, ends: Sequence[float] | None = None) -> Figure:
    """A column of the samples at the recorded epochs, with the mixture that the epochs keep under another name.

    ends: of the axis, and of the values that the mixture was fitted to; else those of the values themselves.
    """
    epochs = style.snapshots(run)
    figure, axes = style.panels(len(epochs), 1.9)
    for ax, epoch in zip(axes, epochs, strict=True):
        values, row = run.samples[f"{name}_{epoch}"].to_numpy(dtype=np.float64), run.epochs.iloc[epoch - 1]
        low, high = ends or (values.min(), values.max())
        parts, bins = style.groups(run.samples), list(np.linspace(low, high, BINS + 1))
        drawn = [ax.hist(values[mask], bins, color=c, label=label, **AREA) for label, c, mask in parts]
        highest = float(max(np.max(counts) for counts, _, _ in drawn))
        if row[f"{mixture}_means"] is not None:
            fitted = [row[f"{mixture}_{part}"] for part in ("weights", "means", "variances")]
            low, high = ends or (row[f"{name}_min"], row[f"{name}_max"])
            draw_mixture(ax, fitted, low, high, len(values) / BINS, components)
        ax.set(title=style.epoch_title(run, epoch), yscale="log", ylim=(0.5, 4 * max(highest, 1.0)))
        ax.minorticks_off()  # they take half of the time that drawing takes
        ax.yaxis.set_major_formatter("{x:g}")  # as it looks anyway, without the parser of formulas
    plt.setp(axes[-3:], xlabel=name)
    figure.supylabel("samples")
    style.legend_below(figure, axes[-1])
    return figure


def draw_mixture(
    ax: Axes, mixture: Sequence[Sequence[float]], low: float, high: float, scale: float, what: str
) -> None:
    """Draw the two weighted densities of a mixture over values that were normalised from [low, high] to [0, 1].

    mixture: weights, means and variances [2]; scale: number of samples times the width of a bin of normalised values,
    so that heights are samples a bin; what: names of the components.
    """
    z = np.linspace(0, 1, 800)
    for weight, mean, variance, name, line in zip(*mixture, what.split(", "), ("-", "--"), strict=True):
        density = weight * np.exp(-((z - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        label = f"mixture: {name}"
        ax.plot(low + z * (high - low), scale * density, color="black", linestyle=line, linewidth=1.1, label=label)


def p_clean_histograms(run: Run) -> Figure:
    """P(clean) of each training sample under network 1 at the recorded epochs; dotted: the threshold."""
    epochs = style.snapshots(run)
    figure, axes = style.panels(len(epochs), 1.8, sharey=True)
    for ax, epoch in zip(axes, epochs, strict=True):
        values = run.samples[f"p_clean_{epoch}"].to_numpy(dtype=np.float64)
        for label, colour, mask in style.groups(run.samples):
            ax.hist(values[mask], list(np.linspace(0, 1, 26)), color=colour, label=label, **AREA)
        ax.axvline(style.threshold(run), color=style.NEUTRAL, linestyle=":", linewidth=1.2)
        ax.set(title=f"epoch {epoch}", yscale="log", ylim=(0.5, None))
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
    plt.setp(axes[-3:], xlabel="P(clean)")
    figure.supylabel("samples")
    style.legend_below(figure, axes[-1])
    return figure


def loss_heatmap(run: Run) -> Figure:
    """Distribution of the loss over all epochs, correct and wrong labels apart; dotted: end of the warm-up."""
    parts = loss_counts(run)
    figure, axes = style.panels(len(parts), 2.6, sharey=True)
    x = np.arange(len(run.epochs) + 1) + 0.5
    filled = np.flatnonzero(sum(counts.sum(axis=0) for _, _, counts in parts))
    for ax, (label, _, counts) in zip(axes, parts, strict=True):
        share = np.ma.masked_equal(counts.T / np.maximum(counts.sum(axis=1), 1), 0)
        mesh = ax.pcolormesh(x, EDGES, share, cmap="viridis", norm=LogNorm(1e-3, 0.5), rasterized=True)
        _mark_warm_up(ax, run)
        ax.set(title=label, xlabel="epoch", yscale="log", ylim=(EDGES[filled[0]], EDGES[filled[-1] + 1]))
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(False)
    axes[0].set_ylabel("loss")
    figure.colorbar(mesh, ax=axes, label="share of samples", extend="max", format="{x:g}")
    return figure


def loss_ridges(run: Run, rows: int = 9) -> Figure:
    """Ridges of the loss distribution, one row an epoch from top to bottom, on a logarithmic axis."""
    total, end = len(run.epochs), style.warm_up(run)
    chosen = sorted({round(e) for e in np.geomspace(1, total, rows)} | {min(end or total, total)})
    centres = np.sqrt(EDGES[1:] * EDGES[:-1])
    figure, (ax,) = style.panels(1, 0.38 * len(chosen) + 1.1)
    parts = [(label, colour, counts[np.array(chosen) - 1]) for label, colour, counts in loss_counts(run)]
    names = [f"epoch {epoch}" + (" (warm-up ends)" if epoch == end else "") for epoch in chosen]
    for position, name in enumerate(names):
        for label, colour, counts in parts:
            smooth = np.convolve(counts[position], [0.25, 0.5, 0.25], mode="same")
            height = 0.9 * smooth / max(smooth.max(), 1)
            look: dict[str, Any] = {"color": colour, "label": f"_{name}, {label}" if position else label}
            ax.fill_between(centres, -position, height - position, alpha=0.55, linewidth=0, **look)
            ax.plot(centres, height - position, color=colour, linewidth=0.8, label="_")
    ax.set_yticks([-position for position in range(len(chosen))], names)
    samples = sum(counts.sum(axis=0) for _, _, counts in parts)
    share = np.cumsum(samples) / np.sum(samples)
    inside = np.flatnonzero((share > 5e-4) & (share < 1 - 5e-4))  # all but one in a thousand samples
    shown = centres[max(inside[0] - 1, 0)], centres[min(inside[-1] + 2, len(centres) - 1)]
    ax.set(xscale="log", xlabel="loss of a training sample under its given label", xlim=shown)
    ax.set_ylim(0.3 - len(chosen), 1.0)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure


def accuracy_curves(run: Run) -> Figure:
    """Test accuracy of each network and of the ensemble over epochs."""
    figure, ax = plt.subplots()
    singles = [name for name in run.epochs if str(name).removeprefix("accuracy_").isdigit()]
    for name, colour in zip(singles, style.CYCLE[2:], strict=False):
        label = f"network {str(name)[-1]}" if len(singles) > 1 else "the network"
        ax.plot(run.epochs["epoch"], run.epochs[name], color=colour, linewidth=1.1, label=label)
    if len(singles) > 1:
        ax.plot(run.epochs["epoch"], run.epochs["accuracy"], color="black", linewidth=1.6, label="ensemble")
    _mark_warm_up(ax, run)
    ax.set(xlabel="epoch", ylabel="test accuracy in %")
    ax.legend()
    return figure


def split_curves(run: Run) -> Figure:
    """AUC, precision and recall of the split over epochs; without clean labels the share that is trusted."""
    figure, ax = plt.subplots()
    known = run.epochs["auc"].notna().any()
    names = ["auc", "precision", "recall"] if known else ["share_clean"]
    labels = {"auc": "AUC of P(clean)", "share_clean": "share of labels trusted"}
    for name, line in zip(names, ("-", "--", "-."), strict=False):
        values = run.epochs[name].astype(float)
        ax.plot(run.epochs["epoch"], values, linestyle=line, label=labels.get(name, name))
    _mark_warm_up(ax, run)
    ax.set(xlabel="epoch", ylabel="split quality", ylim=(None, 1.01))
    ax.legend(loc="lower right")
    return figure


def memorisation(run: Run) -> Figure:
    """Median loss of correct and wrong labels, and test accuracy, over epochs."""
    figure, axes = style.panels(2, 2.7)
    for label, colour, counts in loss_counts(run):
        axes[0].plot(run.epochs["epoch"], histogram_medians(counts), color=colour, label=label)
    axes[0].set(xlabel="epoch", ylabel="median loss", ylim=(0, None), title="Loss of training samples")
    axes[0].legend()
    epochs, accuracy = run.epochs["epoch"], run.epochs["accuracy"]
    axes[1].plot(epochs, accuracy, color="black")
    best = int(accuracy.to_numpy().argmax())
    for place, *look, label in ((best, "o", style.NEUTRAL, "best epoch"), (-1, "s", style.NOISY, "last epoch")):
        axes[1].plot(epochs.iloc[place], accuracy.iloc[place], look[0], color=look[1], label=label)
    axes[1].set(xlabel="epoch", ylabel="accuracy in %", title="Test accuracy")
    axes[1].legend()
    return figure


def histogram_medians(histograms: np.ndarray) -> np.ndarray:
    """Median loss [epochs] of loss histograms [epochs, 65], interpolated within its bin; NaN of an empty one."""
    edges, medians = np.append(0.0, EDGES[1:]), []
    for counts in histograms:
        below = np.append(0, np.cumsum(counts))
        medians.append(np.interp(below[-1] / 2, below, edges) if below[-1] else np.nan)
    return np.array(medians)


def _mark_warm_up(ax: Axes, run: Run) -> None:
    """A dotted line after the last warm-up epoch, where the method has a warm-up."""
    end = style.warm_up(run)
    if end:
        ax.axvline(end + 0.5, color=style.NEUTRAL, linestyle=":", linewidth=1.2, label="end of warm-up")


def loss_counts(run: Run) -> list[tuple[str, str, np.ndarray]]:
    """Label, colour and loss histograms [epochs, 65] of correct and of wrong labels, or of all of them."""
    parts = [("correct labels", style.CLEAN, "hist_clean"), ("wrong labels", style.NOISY, "hist_noisy")]
    known = parts if "hist_clean" in run.epochs else [("all labels", style.NEUTRAL, "hist_all")]
    return [(label, colour, np.stack(list(run.epochs[column])).astype(np.float64)) for label, colour, column in known]
