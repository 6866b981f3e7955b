"""How the per-sample loss is distributed, and what the mixture makes of it."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from nlkit.figures.style import CLEAN, NEUTRAL, NOISY, mark_warm_up
from nlkit.training.measure import LOSS_EDGES
from nlkit.training.runs import Run


def snapshots(run: Run) -> list[int]:
    """The epochs whose samples are in the record."""
    columns = [str(name) for name in run.samples]
    return sorted(int(name.removeprefix("p_clean_")) for name in columns if name.startswith("p_clean_"))


def warm_up(run: Run) -> int | None:
    """Number of warm-up epochs of the run's method, None where it has none."""
    return getattr(run.params.method, "warm_up", None)


def groups(samples: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Label, colour and mask [N] of the samples with a correct and with a wrong label, or of all of them."""
    if "clean" not in samples:
        return [("all labels", NEUTRAL, np.ones(len(samples), dtype=bool))]
    right = (samples["noisy"] == samples["clean"]).to_numpy()
    return [("correct label", CLEAN, right), ("wrong label", NOISY, ~right)]


def loss_histograms(run: Run) -> Figure:
    """Loss of each training sample under network 1 at the recorded epochs, with the fitted mixture over it."""
    epochs = snapshots(run)
    figure, axes = plt.subplots(1, len(epochs), figsize=(2.6 * len(epochs), 2.9), squeeze=False)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        highest = _histogram(ax, run, epoch)
        row = run.epochs.iloc[epoch - 1]
        if row["mixture_means"] is not None:
            mixture = (row["mixture_weights"], row["mixture_means"], row["mixture_variances"])
            draw_mixture(ax, *mixture, row["loss_min"], row["loss_max"], len(run.samples) / 40)
        phase = " (warm-up)" if warm_up(run) and epoch <= (warm_up(run) or 0) else ""
        ax.set(title=f"epoch {epoch}{phase}", xlabel="loss", yscale="log", ylim=(0.5, 4 * highest))
    axes[0][0].set_ylabel("samples")
    axes[0][-1].legend(fontsize=8, loc="upper right")
    return figure


def _histogram(ax: Axes, run: Run, epoch: int) -> float:
    """Draw the groups of one epoch; returns the highest count."""
    losses = run.samples[f"loss_{epoch}"].to_numpy(dtype=np.float64)
    bins = list(np.linspace(losses.min(), losses.max(), 41))
    drawn = [ax.hist(losses[mask], bins, color=c, alpha=0.6, label=name) for name, c, mask in groups(run.samples)]
    return float(max(np.max(counts) for counts, _, _ in drawn))


def draw_mixture(
    ax: Axes, weights: ArrayLike, means: ArrayLike, variances: ArrayLike, low: float, high: float, scale: float,
    names: tuple[str, str] = ("mixture: low", "mixture: high"),
) -> None:  # fmt: skip
    """The two weighted densities of a mixture over values that were taken from [low, high] to [0, 1], times `scale`."""
    z = np.linspace(0, 1, 800)
    components = np.stack([np.asarray(one, dtype=np.float64) for one in (weights, means, variances)], axis=1)
    for (weight, mean, variance), style, name in zip(components, ("-", "--"), names, strict=True):
        density = weight * np.exp(-((z - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        ax.plot(low + z * (high - low), scale * density, color="black", linestyle=style, linewidth=1.1, label=name)


def p_clean_histograms(run: Run) -> Figure:
    """P(clean) of each training sample under network 1 at the recorded epochs; dotted: the threshold."""
    epochs = snapshots(run)
    figure, axes = plt.subplots(1, len(epochs), figsize=(2.6 * len(epochs), 2.7), squeeze=False, sharey=True)
    for ax, epoch in zip(axes[0], epochs, strict=True):
        values = run.samples[f"p_clean_{epoch}"].to_numpy(dtype=np.float64)
        for label, colour, mask in groups(run.samples):
            ax.hist(values[mask], list(np.linspace(0, 1, 26)), color=colour, alpha=0.6, label=label)
        ax.axvline(threshold(run), color=NEUTRAL, linestyle=":", linewidth=1.2)
        ax.set(title=f"epoch {epoch}", xlabel="P(clean)", yscale="log", ylim=(0.5, None))
    axes[0][0].set_ylabel("samples")
    axes[0][0].legend(fontsize=8)
    return figure


def threshold(run: Run) -> float:
    """P(clean) above which a label is trusted."""
    return float(getattr(run.params.method, "threshold", 0.5))


def _histogram_columns(epochs: pd.DataFrame) -> list[tuple[str, str, str]]:
    if "hist_clean" in epochs:
        return [("hist_clean", "correct labels", CLEAN), ("hist_noisy", "wrong labels", NOISY)]
    return [("hist_all", "all labels", NEUTRAL)]


def _edges() -> np.ndarray:
    """Finite loss edges [66] for drawing; the open outer bins get the width of their neighbours."""
    edges = LOSS_EDGES.copy()
    ratio = edges[2] / edges[1]
    edges[0], edges[-1] = edges[1] / ratio, edges[-2] * ratio
    return edges


def loss_heatmap(run: Run) -> Figure:
    """Distribution of the loss over all epochs, correct and wrong labels apart; dotted: end of the warm-up."""
    columns = _histogram_columns(run.epochs)
    figure, axes = plt.subplots(1, len(columns), figsize=(4.4 * len(columns), 3.2), squeeze=False, sharey=True)
    x = np.arange(len(run.epochs) + 1) + 0.5
    for ax, (column, label, _) in zip(axes[0], columns, strict=True):
        counts = np.stack(list(run.epochs[column])).T.astype(np.float64)
        share = counts / np.maximum(counts.sum(axis=0), 1)
        mesh = ax.pcolormesh(
            x, _edges(), np.ma.masked_equal(share, 0), cmap="viridis", norm=LogNorm(1e-3, 0.5), rasterized=True
        )
        mark_warm_up(ax, warm_up(run))
        ax.set(title=label, xlabel="epoch", yscale="log")
        ax.grid(False)
    axes[0][0].set_ylabel("loss")
    figure.colorbar(mesh, ax=axes[0], label="share of samples", extend="max")
    return figure


def loss_ridges(run: Run, rows: int = 9) -> Figure:
    """Ridges of the loss distribution, one row an epoch from top to bottom, on a logarithmic axis."""
    total = len(run.epochs)
    chosen = sorted({round(e) for e in np.geomspace(1, total, rows)} | {warm_up(run) or total})
    centres = np.sqrt(_edges()[1:] * _edges()[:-1])
    figure, ax = plt.subplots(figsize=(7.2, 0.42 * len(chosen) + 1.2))
    for position, epoch in enumerate(chosen):
        _ridge(ax, run.epochs.iloc[epoch - 1], centres, -position, first=position == 0)
    ax.set_yticks([-p for p in range(len(chosen))], [_ridge_label(run, epoch) for epoch in chosen])
    ax.set(xscale="log", xlabel="loss of a training sample under its given label", xlim=_range(run, chosen, centres))
    ax.set_ylim(0.3 - len(chosen), 1.0)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure


def _range(run: Run, epochs: list[int], centres: np.ndarray) -> tuple[float, float]:
    """The losses between which all but one in a thousand samples of the drawn epochs lie."""
    columns = [name for name, _, _ in _histogram_columns(run.epochs)]
    counts = sum(np.asarray(run.epochs[name].iloc[epoch - 1]) for name in columns for epoch in epochs)
    share = np.cumsum(counts) / np.sum(counts)
    inside = np.flatnonzero((share > 5e-4) & (share < 1 - 5e-4))
    return float(centres[max(inside[0] - 1, 0)]), float(centres[min(inside[-1] + 2, len(centres) - 1)])


def _ridge(ax: Axes, row: pd.Series, centres: np.ndarray, base: float, first: bool) -> None:
    for column, label, colour in _histogram_columns(row.to_frame().T):
        counts = np.convolve(np.asarray(row[column], dtype=np.float64), [0.25, 0.5, 0.25], mode="same")
        height = 0.9 * counts / max(counts.max(), 1)
        options: dict[str, Any] = {"label": label} if first else {}
        ax.fill_between(centres, base, base + height, color=colour, alpha=0.55, linewidth=0, **options)
        ax.plot(centres, base + height, color=colour, linewidth=0.8)


def _ridge_label(run: Run, epoch: int) -> str:
    return f"epoch {epoch}" + (" (warm-up ends)" if epoch == warm_up(run) else "")
