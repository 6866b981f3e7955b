"""How the per-sample loss is distributed, and what the mixture makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nlkit.figures.reading import epoch_title, groups, loss_counts, loss_edges, snapshots, threshold, warm_up
from nlkit.figures.style import NEUTRAL, mark_warm_up
from nlkit.training.runs import Run

BINS = 40
AREA: Any = {"histtype": "stepfilled", "alpha": 0.6}
"""A histogram is one area, which is drawn much faster than its bars."""


def loss_histograms(run: Run) -> Figure:
    """Loss of each training sample under network 1 at the recorded epochs, with the fitted mixture over it."""
    epochs = snapshots(run)
    figure, axes = plt.subplots(1, len(epochs), figsize=(2.6 * len(epochs), 2.9), squeeze=False)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        losses, row = run.samples[f"loss_{epoch}"].to_numpy(dtype=np.float64), run.epochs.iloc[epoch - 1]
        bins = list(np.linspace(losses.min(), losses.max(), BINS + 1))
        parts = groups(run.samples)
        drawn = [ax.hist(losses[mask], bins, color=c, label=name, **AREA) for name, c, mask in parts]
        highest = float(max(np.max(counts) for counts, _, _ in drawn))
        if row["mixture_means"] is not None:
            weights, means, variances = (row[f"mixture_{name}"] for name in ("weights", "means", "variances"))
            draw_mixture(ax, weights, means, variances, row["loss_min"], row["loss_max"], len(losses) / BINS)
        ax.set(title=epoch_title(run, epoch), xlabel="loss", yscale="log", ylim=(0.5, 4 * highest))
        ax.minorticks_off()  # they take half of the time that drawing takes
    axes[0][0].set_ylabel("samples")
    axes[0][-1].legend(fontsize=8, loc="upper right")
    return figure


def draw_mixture(
    ax: Axes,
    weights: Sequence[float],
    means: Sequence[float],
    variances: Sequence[float],
    low: float,
    high: float,
    scale: float,
    names: tuple[str, str] = ("mixture: low", "mixture: high"),
) -> None:
    """Draw the two weighted densities of a mixture over values that were normalised from [low, high] to [0, 1].

    scale: number of samples times the width of a bin of normalised values, so that heights are samples a bin.
    """
    z = np.linspace(0, 1, 800)
    for weight, mean, variance, name, style in zip(weights, means, variances, names, ("-", "--"), strict=True):
        density = weight * np.exp(-((z - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        ax.plot(low + z * (high - low), scale * density, color="black", linestyle=style, linewidth=1.1, label=name)


def p_clean_histograms(run: Run) -> Figure:
    """P(clean) of each training sample under network 1 at the recorded epochs; dotted: the threshold."""
    epochs = snapshots(run)
    figure, axes = plt.subplots(1, len(epochs), figsize=(2.6 * len(epochs), 2.7), squeeze=False, sharey=True)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        values = run.samples[f"p_clean_{epoch}"].to_numpy(dtype=np.float64)
        for label, colour, mask in groups(run.samples):
            ax.hist(values[mask], list(np.linspace(0, 1, 26)), color=colour, label=label, **AREA)
        ax.axvline(threshold(run), color=NEUTRAL, linestyle=":", linewidth=1.2)
        ax.set(title=f"epoch {epoch}", xlabel="P(clean)", yscale="log", ylim=(0.5, None))
        ax.minorticks_off()
    axes[0][0].set_ylabel("samples")
    axes[0][-1].legend(fontsize=8, loc="upper center")
    return figure


def loss_heatmap(run: Run) -> Figure:
    """Distribution of the loss over all epochs, correct and wrong labels apart; dotted: end of the warm-up."""
    parts = loss_counts(run.epochs)
    figure, axes = plt.subplots(1, len(parts), figsize=(4.4 * len(parts), 3.2), squeeze=False, sharey=True)
    x, y = np.arange(len(run.epochs) + 1) + 0.5, loss_edges()
    for ax, (label, _, counts) in zip(axes[0], parts, strict=True):
        share = np.ma.masked_equal(counts.T / np.maximum(counts.sum(axis=1), 1), 0)
        mesh = ax.pcolormesh(x, y, share, cmap="viridis", norm=LogNorm(1e-3, 0.5), rasterized=True)
        mark_warm_up(ax, warm_up(run))
        ax.set(title=label, xlabel="epoch", yscale="log")
        ax.minorticks_off()
        ax.grid(False)
    axes[0][0].set_ylabel("loss")
    figure.colorbar(mesh, ax=axes[0], label="share of samples", extend="max")
    return figure


def loss_ridges(run: Run, rows: int = 9) -> Figure:
    """Ridges of the loss distribution, one row an epoch from top to bottom, on a logarithmic axis."""
    total, end = len(run.epochs), warm_up(run)
    chosen = sorted({round(e) for e in np.geomspace(1, total, rows)} | {end or total})
    centres = np.sqrt(loss_edges()[1:] * loss_edges()[:-1])
    figure, ax = plt.subplots(figsize=(7.2, 0.42 * len(chosen) + 1.2))
    parts = [(label, colour, counts[np.array(chosen) - 1]) for label, colour, counts in loss_counts(run.epochs)]
    for position in range(len(chosen)):
        for label, colour, counts in parts:
            smooth = np.convolve(counts[position], [0.25, 0.5, 0.25], mode="same")
            height = 0.9 * smooth / max(smooth.max(), 1)
            options: dict[str, Any] = {"label": label} if position == 0 else {}
            ax.fill_between(centres, -position, height - position, color=colour, alpha=0.55, linewidth=0, **options)
            ax.plot(centres, height - position, color=colour, linewidth=0.8)
    names = [f"epoch {epoch}" + (" (warm-up ends)" if epoch == end else "") for epoch in chosen]
    ax.set_yticks([-position for position in range(len(chosen))], names)
    shown = _range(sum(counts.sum(axis=0) for _, _, counts in parts), centres)
    ax.set(xscale="log", xlabel="loss of a training sample under its given label", xlim=shown)
    ax.set_ylim(0.3 - len(chosen), 1.0)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure


def _range(counts: np.ndarray | float, centres: np.ndarray) -> tuple[float, float]:
    """The losses between which all but one in a thousand samples of the drawn epochs lie."""
    share = np.cumsum(counts) / np.sum(counts)
    inside = np.flatnonzero((share > 5e-4) & (share < 1 - 5e-4))
    return float(centres[max(inside[0] - 1, 0)]), float(centres[min(inside[-1] + 2, len(centres) - 1)])
