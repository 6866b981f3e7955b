"""Curves over epochs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from nlkit.figures.reading import loss_counts, loss_edges, warm_up
from nlkit.figures.style import CYCLE, NEUTRAL, NOISY, mark_warm_up
from nlkit.training.runs import Run


def accuracy_curves(run: Run) -> Figure:
    """Test accuracy of each network and of the ensemble over epochs."""
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    singles = [name for name in run.epochs if str(name).removeprefix("accuracy_").isdigit()]
    for name, colour in zip(singles, CYCLE[2:], strict=False):
        label = f"network {str(name)[-1]}" if len(singles) > 1 else "the network"
        ax.plot(run.epochs["epoch"], run.epochs[name], color=colour, linewidth=1.1, label=label)
    if len(singles) > 1:
        ax.plot(run.epochs["epoch"], run.epochs["accuracy"], color="black", linewidth=1.6, label="ensemble")
    mark_warm_up(ax, warm_up(run), label="end of warm-up")
    ax.set(xlabel="epoch", ylabel="test accuracy in %")
    ax.legend()
    return figure


def split_curves(run: Run) -> Figure:
    """AUC, precision and recall of the split over epochs; without clean labels the share that is trusted."""
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    known = run.epochs["auc"].notna().any()
    names = ["auc", "precision", "recall"] if known else ["share_clean"]
    labels = {"auc": "AUC of P(clean)", "share_clean": "share of labels trusted"}
    for name, style in zip(names, ("-", "--", "-."), strict=False):
        values = run.epochs[name].astype(float)
        ax.plot(run.epochs["epoch"], values, linestyle=style, label=labels.get(name, name))
    mark_warm_up(ax, warm_up(run), label="end of warm-up")
    ax.set(xlabel="epoch", ylabel="split quality", ylim=(None, 1.01))
    ax.legend(loc="lower right")
    return figure


def memorisation(run: Run) -> Figure:
    """Median loss of correct and wrong labels, and test accuracy, over epochs."""
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.1))
    for label, colour, counts in loss_counts(run.epochs):
        axes[0].plot(run.epochs["epoch"], histogram_medians(counts), color=colour, label=label)
    axes[0].set(xlabel="epoch", ylabel="median loss", yscale="log", title="Loss of training samples")
    axes[0].legend()
    epochs, accuracy = run.epochs["epoch"], run.epochs["accuracy"]
    axes[1].plot(epochs, accuracy, color="black")
    best = int(accuracy.to_numpy().argmax())
    for place, marker, colour, label in ((best, "o", NEUTRAL, "best epoch"), (-1, "s", NOISY, "last epoch")):
        axes[1].plot(epochs.iloc[place], accuracy.iloc[place], marker, color=colour, label=label)
    axes[1].set(xlabel="epoch", ylabel="accuracy in %", title="Test accuracy")
    axes[1].legend()
    return figure


def histogram_medians(histograms: np.ndarray) -> np.ndarray:
    """Median loss [epochs] of loss histograms [epochs, 65], interpolated within its bin; NaN of an empty one."""
    edges, medians = np.append(0.0, loss_edges()[1:]), []
    for counts in histograms:
        below = np.append(0, np.cumsum(counts))
        medians.append(np.interp(below[-1] / 2, below, edges) if below[-1] else np.nan)
    return np.array(medians)
