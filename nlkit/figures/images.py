"""Galleries of training images with what is known about their labels."""

from collections.abc import Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nlkit.figures.style import CLEAN, NOISY, WIDTH, threshold
from nlkit.training.runs import Run

COLUMNS = 6
"""Images in a row of the page's width."""


class Images(Protocol):
    """Images to be taken one by one: `images[i]` is uint8 [H, W, 1 or 3]."""

    def __getitem__(self, index: int, /) -> Any: ...


def gallery_rows(run: Run, count: int = COLUMNS) -> dict[str, pd.DataFrame]:
    """Samples to show, by row title; the last two rows need clean labels.

    Surest errors: trusted least, and the networks are most confident of another label. Hardest clean: correct
    labels trusted least. Mistakes of the split: wrong labels trusted most.
    """
    samples = run.samples.astype({"p_clean": np.float64, "confidence": np.float64})
    doubted = samples[samples["prediction"] != samples["noisy"]]
    doubted = doubted[doubted["p_clean"] <= threshold(run)]
    rows = {"surest label errors": doubted.sort_values(["confidence", "p_clean"], ascending=[False, True])}
    if "clean" in samples:
        right = samples["noisy"] == samples["clean"]
        rows["hardest correct labels"] = samples[right].sort_values(["p_clean", "confidence"])
        trusted = samples[~right & (samples["p_clean"] > threshold(run))]
        rows["wrong labels that the split trusts"] = trusted.sort_values("p_clean", ascending=False, kind="stable")
    return {title: table.head(count) for title, table in rows.items() if len(table)}


def gallery(run: Run, images: Images, count: int = COLUMNS) -> Figure:
    """Training images by row: given label (blue: correct, vermilion: wrong), P(clean) and, after it, the guess."""
    rows = gallery_rows(run, count)
    names = run.record["data"]["classes"]
    figure, axes = image_grid(len(rows), count)
    for line, (title, table) in zip(axes, rows.items(), strict=True):
        heading(line[0], title)
        for ax, (_, sample) in zip(line, table.iterrows(), strict=False):
            show(ax, images[int(sample["index"])])
            text = f"{names[int(sample['noisy'])]}\n{sample['p_clean']:.2f}\n→ {names[int(sample['prediction'])]}"
            known = "clean" in sample
            colour = (CLEAN if sample["noisy"] == sample["clean"] else NOISY) if known else "black"
            ax.text(0.5, 1.04, text, transform=ax.transAxes, ha="center", va="bottom", color=colour)
    settle(figure)
    return figure


def noise_gallery(
    images: Images, clean: np.ndarray, noisy: np.ndarray, names: Sequence[str], count: int = 10
) -> Figure:
    """The first wrongly labelled image of each class: true class above, observed label below."""
    wrong = [np.flatnonzero((clean == c) & (noisy != c)) for c in range(len(names))]
    picks = [int(index[0]) for index in wrong if len(index)][:count]
    figure, axes = image_grid(2, max(-(-len(picks) // 2), 1), extra=0.5)
    for ax, i in zip(axes.flat, picks, strict=False):
        show(ax, images[i])
        ax.set_title(f"is {names[clean[i]]}", color=CLEAN)
        below = f"label {names[noisy[i]]}"
        ax.text(0.5, -0.08, below, transform=ax.transAxes, ha="center", va="top", color=NOISY)
    return figure


def image_grid(rows: int, columns: int, extra: float = 0.95) -> tuple[Figure, np.ndarray]:
    """Axes [rows, columns] for square images, with `extra` inches a row for text."""
    side = min(WIDTH / columns, 1.0)
    height = (side + extra) * rows
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.25 / height))
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, height), squeeze=False, layout=layout)
    for ax in axes.flat:
        ax.set_axis_off()
    return figure, axes


def heading(ax: Axes, title: str, height: float = 1.62) -> None:
    """A title over the first image of a row, at a height in images; it may be wider, so the layout leaves it out."""
    ax.text(0, height, title, transform=ax.transAxes, fontweight="bold").set_in_layout(False)


def settle(figure: Figure) -> None:
    """Lay out now and for good, and count the headings in again, so that a tight crop leaves them whole."""
    if layout := figure.get_layout_engine():
        layout.execute(figure)
    figure.set_layout_engine("none")
    for ax in figure.axes:
        for text in ax.texts:
            text.set_in_layout(True)


def show(ax: Axes, image: Any) -> None:
    """One image uint8 [H, W, 1 or 3], an array or a tensor on the CPU."""
    image = np.asarray(image)
    grey = image.shape[-1] == 1
    look: dict[str, Any] = {"cmap": "gray_r" if grey else None, "interpolation": "none"}  # or it is stored enlarged
    ax.imshow(image[..., 0] if grey else image, vmin=0, vmax=255, **look)
