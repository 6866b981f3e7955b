"""One look for all figures: colours that colour-blind readers can tell apart, and vector output."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes

CLEAN = "#0072B2"
NOISY = "#D55E00"
NEUTRAL = "#5A5A5A"
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""The palette of Okabe and Ito, blue and vermilion first."""

SETTINGS: Any = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "nlkit",
}


def use_book_style() -> None:
    """Set matplotlib's defaults, and SVG as the output of notebook cells."""
    plt.rcParams.update(SETTINGS)
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    set_matplotlib_formats("svg", metadata={"Date": None})


def mark_warm_up(axes: Axes, warm_up: int | None, vertical: bool = True, label: str | None = None) -> None:
    """A dotted line after the last warm-up epoch, where the method has a warm-up."""
    if warm_up:
        draw = axes.axvline if vertical else axes.axhline
        draw(warm_up + 0.5, color=NEUTRAL, linestyle=":", linewidth=1.2, label=label)
