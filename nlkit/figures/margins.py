"""Where noise that depends on the image hits: wrong labels by the margin of a classifier."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from nlkit.figures.style import CLEAN, NOISY


def margins(delta: np.ndarray, wrong: np.ndarray, bins: int = 10) -> Figure:
    """Counts of correct and wrong labels [N] by margin [N] in [0, 1], and the share of wrong ones in each bin.

    The bars reach one standard error up and down.
    """
    edges = np.linspace(0, 1, bins + 1)
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.1))
    parts, colours = [delta[~wrong], delta[wrong]], [CLEAN, NOISY]
    axes[0].hist(parts, list(edges), stacked=True, color=colours, alpha=0.75, label=["correct label", "wrong label"])
    axes[0].set(xlabel="margin", ylabel="samples", title="How sure the classifier is")
    axes[0].legend(loc="upper left")
    total, hit = (np.histogram(values, edges)[0] for values in (delta, delta[wrong]))
    share = hit / np.maximum(total, 1)
    error = np.sqrt(share * (1 - share) / np.maximum(total, 1))
    centres, filled = (edges[1:] + edges[:-1]) / 2, total > 0
    axes[1].errorbar(
        centres[filled], 100 * share[filled], 100 * error[filled], fmt="o-", color=NOISY, capsize=3, label="each bin"
    )
    axes[1].axhline(100 * wrong.mean(), color="black", linestyle="--", linewidth=1.1, label="all samples")
    axes[1].set(xlabel="margin", ylabel="wrong labels in %", xlim=(0, 1), ylim=(0, None), title="How often it is wrong")
    axes[1].legend(loc="lower left")
    return figure
