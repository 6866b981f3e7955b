"""Methods that contrast: where images lie among the features, who is pulled together, and what TCL's prototypes say."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from sklearn.manifold import TSNE

from nlkit.figures.images import Images, image_grid, show
from nlkit.figures.losses import histograms
from nlkit.figures.style import CLEAN, NEUTRAL, NOISY, epoch_title, groups, legend_below, panels, snapshots, threshold
from nlkit.methods.simclr import QUERIES, SHOWN
from nlkit.training.runs import Run

MAPPED, SIDE = 500, 24  # images on a map of features, where more hide each other; images of X, and of U, in a batch
VARIANTS = {"self": "Self", "sup": "Sup", "sup_pseudo": "Sup + pseudo-labels"}
COLOURS = ("white", "black", CLEAN, NOISY, NEUTRAL)


def feature_maps(run: Run) -> Figure:
    """Features by t-SNE at the first and the last recorded epoch, with the names of classes; squares are prototypes."""
    recorded = snapshots(run)
    epochs = dict.fromkeys([recorded[0], recorded[-1]])
    return _maps(run, {f"after {epoch_title(run, epoch)}": ("map", epoch) for epoch in epochs})


def feature_geometry(run: Run) -> Figure:
    """Features of the first network by t-SNE, before the run (pre-trained or random) and after its last epoch."""
    last = snapshots(run)[-1]
    start = "pre-trained" if run.record.get("encoder") else "random start"
    return _maps(run, {start: ("start", last), f"after {epoch_title(run, last)}": ("map", last)})


def _maps(run: Run, layouts: Mapping[str, tuple[str, int]]) -> Figure:
    """One panel a title, with the coordinates that are recorded under a name at an epoch."""
    figure, axes = panels(len(layouts), 3.3)
    for ax, (title, (name, epoch)) in zip(axes, layouts.items(), strict=True):
        points, prototypes = _layout(run, name, epoch)
        for label, colour, mask in groups(run.samples.iloc[: len(points)]):
            if mask.any():
                x, y = points[mask].T
                ax.scatter(x, y, s=6, color=colour, alpha=0.5, linewidths=0, label=label, rasterized=True)
        if len(prototypes):
            ax.plot(*prototypes.T, "s", color="black", markerfacecolor="white", markersize=6, label="prototype")
        _name_classes(ax, run, points, prototypes)
        ax.set(title=title, xticks=[], yticks=[])
    legend_below(figure, axes[0], markerscale=2)
    return figure


def _layout(run: Run, name: str, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Places [n, 2] of recorded images and [C or 0, 2] of prototypes; neighbours are kept, distances are not."""
    columns = [str(one) for one in run.samples if re.fullmatch(rf"{name}_\d+_{epoch}", str(one))]
    points = run.samples[columns].dropna().to_numpy(dtype=np.float64)[:MAPPED]
    row, axes = run.epochs.iloc[epoch - 1], [one.split("_")[1] for one in columns]
    known = all(f"prototypes_{axis}" in row for axis in axes)
    prototypes = np.stack([row[f"prototypes_{axis}"] for axis in axes], axis=1) if known else points[:0]
    whole = np.concatenate([points, prototypes])
    laid = _laid_out(whole.tobytes(), *whole.shape)
    return laid[: len(points)], laid[len(points) :]


@lru_cache
def _laid_out(features: bytes, count: int, width: int) -> np.ndarray:
    """Places [n, 2] of features float64 [n, D]; pages of one encoder, made in one kernel, ask for the same ones."""
    tsne = TSNE(2, init="pca", random_state=0, perplexity=min(30.0, (count - 1) / 3), max_iter=350)
    return np.asarray(tsne.fit_transform(np.frombuffer(features).reshape(count, width)))


def _name_classes(ax: Axes, run: Run, points: np.ndarray, prototypes: np.ndarray) -> None:
    """The name of each class beside its prototype, else at the median of its images; the predicted, if unknown."""
    names = run.record["data"]["classes"]
    known = run.samples["clean" if "clean" in run.samples else "prediction"].to_numpy()[: len(points)]
    for number, name in enumerate(names if len(names) <= 20 else []):
        own = prototypes[[number]] if len(prototypes) else points[known == number]
        if len(own):
            shift = (9, 9) if len(prototypes) else (0, 0)
            ax.annotate(
                name, np.median(own, axis=0), xytext=shift, textcoords="offset points", ha="center", va="center",
                fontweight="bold", path_effects=[patheffects.withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip


def neighbour_gallery(run: Run, images: Images) -> Figure:
    """Training images above those of the nearest features, whose names are blue for the same true class, else red."""
    index = np.array(run.epochs["neighbours"].iloc[-1]).reshape(QUERIES, SHOWN)
    names, known = run.record["data"]["classes"], run.samples.get("clean")
    figure, axes = image_grid(SHOWN + 1, QUERIES, extra=0.18)
    for column, neighbours in enumerate(index):
        for row, i in enumerate([column, *neighbours]):
            show(axes[row][column], images[int(i)])
            if known is not None:
                colour = NEUTRAL if row == 0 else (CLEAN if known[i] == known[column] else NOISY)
                axes[row][column].set_title(names[int(known[i])], color=colour, pad=2)
    return figure


def score_histograms(run: Run) -> Figure:
    """Score of each training label at the recorded epochs, with the fitted mixture where there is one for all."""
    return histograms(run, "score", "score", "clean, wrong", (0.0, 1.0))


def label_map(run: Run) -> Figure:
    """Each label by the similarity of its image to the label's prototype and to the nearest other one."""
    epochs = snapshots(run)
    figure, axes = panels(len(epochs), 2.2, sharey=True)
    for ax, epoch in zip(axes, epochs, strict=True):
        own, other = (run.samples[f"{name}_{epoch}"].to_numpy(dtype=np.float64) for name in ("own", "other"))
        for label, colour, mask in groups(run.samples):
            ax.scatter(own[mask], other[mask], s=4, color=colour, alpha=0.4, linewidths=0, label=label, rasterized=True)
        ax.axline((0, 0), slope=1, color="black", linestyle=":", linewidth=1)
        ax.set(title=epoch_title(run, epoch), xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    plt.setp(axes[-3:], xlabel="own prototype")
    figure.supylabel("nearest other prototype")
    legend_below(figure, axes[0], markerscale=2.5)
    return figure


def positive_pairs(run: Run) -> Figure:
    """Positive pairs of one batch under each variant, from what is recorded of the first epoch after the warm-up.

    Each image has two rows, its views; those of X come first, and each part is sorted by class. The ensemble's
    prediction on the plain image stands in for the guesses of a step, which are made on random views.
    """
    method: Any = run.params.method
    epoch = next((one for one in snapshots(run) if one > method.warm_up), snapshots(run)[0])
    chosen, size = _batch(run, epoch)
    targets = _targets(run, epoch, chosen, size, method.temperature)
    source = np.arange(len(chosen)).repeat(2)
    truth = run.samples["clean"].to_numpy()[chosen].repeat(2) if "clean" in run.samples else None
    figure, axes = panels(len(VARIANTS), 2.6)
    for ax, (variant, title) in zip(axes, VARIANTS.items(), strict=True):
        classes = contrast_classes(variant, targets, size, method.tau_p).repeat(2)
        pairs = (source[:, None] == source) | ((classes[:, None] == classes) & (classes >= 0))
        _panel(ax, pairs, source, truth, 2 * size)
        ax.set_title(f"{title}\n{pairs.sum(axis=1).mean() - 1:.1f} positives a row" if variant != "self" else title)
    names = {"one image": "black"}
    names |= {"one class": NEUTRAL} if truth is None else {"one class, rightly": CLEAN, "one class, wrongly": NOISY}
    handles = [Patch(color=colour, label=name) for name, colour in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
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


def _targets(run: Run, epoch: int, chosen: np.ndarray, size: int, temperature: float) -> np.ndarray:
    """Targets [B_x + B_u, C]: predictions, mixed with the label for the first `size` rows, and sharpened."""
    rows, classes = run.samples.iloc[chosen], np.arange(len(run.record["data"]["classes"]))
    sure = rows[f"sure_{epoch}"].to_numpy(dtype=np.float64)[:, None]
    guessed = rows[f"guess_{epoch}"].to_numpy()[:, None] == classes
    p = np.where(guessed, sure, (1 - sure) / max(len(classes) - 1, 1))  # only the largest probability is recorded
    trust = np.where(np.arange(len(rows)) < size, rows[f"p_clean_{epoch}"].to_numpy(dtype=np.float64), 0.0)[:, None]
    p = trust * (rows["noisy"].to_numpy()[:, None] == classes) + (1 - trust) * p
    sharp = p ** (1 / temperature)
    return sharp / sharp.sum(axis=1, keepdims=True)


def contrast_classes(variant: str, targets: np.ndarray, size: int, tau_p: float) -> np.ndarray:
    """The class of each image in the contrastive loss [B_x + B_u], -1 for none, as `nlkit.methods.codim` has it."""
    labelled = np.arange(len(targets)) < size
    named = {"self": False, "sup": labelled, "sup_pseudo": labelled | (targets.max(axis=1) >= tau_p)}[variant]
    return np.where(named, targets.argmax(axis=1), -1)


def _panel(ax: Axes, pairs: np.ndarray, source: np.ndarray, truth: np.ndarray | None, labelled: int) -> None:
    """One matrix: 1 two views of an image, 2 one true class, 3 different classes, 4 unknown."""
    kind = np.full(pairs.shape, 4) if truth is None else np.where(truth[:, None] == truth, 2, 3)
    kind = np.where(source[:, None] == source, 1, kind)
    ax.imshow(np.where(pairs, kind, 0), cmap=ListedColormap(COLOURS), vmin=0, vmax=4, interpolation="nearest")
    for draw in (ax.axhline, ax.axvline):
        draw(labelled - 0.5, color=NEUTRAL, linewidth=0.8)
    middles = [labelled / 2, (labelled + len(pairs)) / 2]
    ax.set(xticks=middles, yticks=middles, xticklabels=["X", "U"], yticklabels=["X", "U"])
    ax.tick_params(length=0)
    ax.grid(False)
