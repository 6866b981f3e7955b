"""What CoDiM pulls together: the positive pairs of a batch, by variant of the contrastive loss."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor
from torch.nn import functional

from nlkit.figures.reading import snapshots, threshold
from nlkit.figures.style import CLEAN, NEUTRAL, NOISY
from nlkit.parts import semi
from nlkit.parts.positives import Variant, contrast_classes, same_image_or_class
from nlkit.training.runs import Run

SIDE = 24
"""Images of X, and of U, in the batch that is drawn."""
VARIANTS: tuple[tuple[Variant, str], ...] = (("self", "Self"), ("sup", "Sup"), ("sup_pseudo", "Sup + pseudo-labels"))
COLOURS = ("white", "black", CLEAN, NOISY, NEUTRAL)


def positive_pairs(run: Run, epoch: int | None = None) -> Figure:
    """Positive pairs of one batch under each variant, from the P(clean) and the predictions of a recorded epoch.

    The first recorded epoch after the warm-up is shown, or the one that is given. Each image has two rows, its views;
    the images of X stand before those of U, and each part is sorted by class. The ensemble's prediction on the plain
    image stands in for the guesses of a step, which are made on random views.
    """
    method = run.params.method
    later = [one for one in snapshots(run) if one > method.warm_up]
    epoch = epoch or (later or snapshots(run))[0]
    chosen, size = _batch(run, epoch)
    refined, guess = _targets(run, epoch, chosen[:size], chosen[size:], method.temperature)
    source = torch.arange(len(chosen)).repeat_interleave(2)
    truth = run.samples["clean"].to_numpy()[chosen].repeat(2) if "clean" in run.samples else None
    figure, axes = plt.subplots(1, len(VARIANTS), figsize=(10.2, 3.9))
    for ax, (variant, title) in zip(axes, VARIANTS, strict=True):
        classes = contrast_classes(variant, refined, guess, method.tau_p).repeat_interleave(2)
        pairs = same_image_or_class(source, classes)(torch.arange(len(source))).numpy()
        _panel(ax, pairs, source.numpy(), truth, 2 * size)
        ax.set_title(f"{title}: {pairs.sum(axis=1).mean() - 1:.1f} positives a row" if variant != "self" else title)
    _legend(figure, truth is not None)
    return figure


def _batch(run: Run, epoch: int) -> tuple[np.ndarray, int]:
    """Indices of up to SIDE images of X, then of U, each part sorted by class; and how many are of X."""
    trusted = run.samples[f"p_clean_{epoch}"].to_numpy(dtype=np.float64) > threshold(run)
    order = run.samples["clean" if "clean" in run.samples else f"guess_{epoch}"].to_numpy()
    rng, parts = np.random.default_rng(0), []
    for mask in (trusted, ~trusted):
        part = np.flatnonzero(mask)
        part = rng.choice(part, min(SIDE, len(part)), replace=False)
        parts.append(part[np.argsort(order[part], kind="stable")])
    return np.concatenate(parts), len(parts[0])


def _targets(run: Run, epoch: int, x: np.ndarray, u: np.ndarray, temperature: float) -> tuple[Tensor, Tensor]:
    """Refined targets of X and guesses of U; what the recorded confidence leaves is spread over the other classes."""
    classes = len(run.record["data"]["classes"])

    def column(name: str, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(run.samples[name].to_numpy(dtype=np.float64)[rows])

    def prediction(rows: np.ndarray) -> Tensor:
        best = functional.one_hot(column(f"guess_{epoch}", rows).long(), classes)
        sure = column(f"sure_{epoch}", rows)[:, None]
        return torch.where(best > 0, sure, (1 - sure) / max(classes - 1, 1))

    labels = functional.one_hot(column("noisy", x).long(), classes).double()
    refined = semi.refine(labels, prediction(x), column(f"p_clean_{epoch}", x), temperature)
    return refined, semi.sharpen(prediction(u), temperature)


def _panel(ax: Axes, pairs: np.ndarray, source: np.ndarray, truth: np.ndarray | None, labelled: int) -> None:
    """One matrix: 1 two views of an image, 2 one true class, 3 different classes, 4 unknown."""
    kind = np.full(pairs.shape, 4) if truth is None else np.where(truth[:, None] == truth, 2, 3)
    kind = np.where(source[:, None] == source, 1, kind)
    ax.imshow(np.where(pairs, kind, 0), cmap=ListedColormap(COLOURS), vmin=0, vmax=4, interpolation="nearest")
    for draw in (ax.axhline, ax.axvline):
        draw(labelled - 0.5, color=NEUTRAL, linewidth=0.8)
    middles = [labelled / 2, (labelled + len(pairs)) / 2]
    ax.set_xticks(middles, ["X", "U"])
    ax.set_yticks(middles, ["X", "U"])
    ax.tick_params(length=0)
    ax.grid(False)


def _legend(figure: Figure, known: bool) -> None:
    names = {"one image": "black"}
    names |= {"one class, rightly": CLEAN, "one class, wrongly": NOISY} if known else {"one class": NEUTRAL}
    handles = [Patch(color=colour, label=name) for name, colour in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
