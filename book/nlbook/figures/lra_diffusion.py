"""What LRA-diffusion does: the labels that it retrieves, and the label vectors that it samples."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlkit.data.problem import Problem
from nlkit.figures.reading import groups
from nlkit.figures.style import CLEAN, CYCLE, NEUTRAL, NOISY
from nlkit.parts.diffusion import sampling_times
from nlkit.training.runs import Run


def label_trajectories(run: Run, count: int = 4) -> Figure:
    """Label vectors of a few training images through the sampling steps after the last epoch, one line a class."""
    vectors, picks = _label_vectors(run), _picks(run, count)
    names, times = run.record["data"]["classes"], _times(run)
    figure, axes = plt.subplots(1, len(picks), figsize=(2.2 * len(picks), 2.9), sharey=True, squeeze=False)
    for ax, number in zip(axes[0], picks, strict=True):
        path, sample = vectors[:, number], run.samples.iloc[number]
        given, decided = int(sample["noisy"]), int(np.abs(path[-1] - 1).argmin())
        for c in range(path.shape[1]):
            if c not in (given, decided):
                ax.plot(path[:, c], color=NEUTRAL, linewidth=0.8, alpha=0.5)
        known, wrong = "clean" in sample, "clean" in sample and sample["clean"] != given
        ax.plot(path[:, given], color=NOISY if wrong or not known else CLEAN, label=f"given: {names[given]}")
        if decided != given:
            right = known and sample["clean"] == decided
            ax.plot(
                path[:, decided], color=CLEAN if right else CYCLE[5], linestyle="--", label=f"found: {names[decided]}"
            )
        ax.set_xticks(range(0, len(times), 2), times[::2], fontsize=8, rotation=90)
        ax.set(title=f"image {number}", xlabel="time of the step")
        ax.legend(fontsize=8, loc="upper left")
    axes[0][0].set_ylabel("coordinate of the label vector")
    axes[0][0].set_ylim(None, max(1.55, float(vectors[:, picks].max()) + 0.35))
    return figure


def _label_vectors(run: Run) -> np.ndarray:
    """[S + 1, images, C] of the last epoch."""
    flat = np.asarray(run.epochs["label_vectors"].iloc[-1], dtype=np.float64)
    method = run.params.method
    return flat.reshape(method.sampling_steps + 1, -1, len(run.record["data"]["classes"]))


def _times(run: Run) -> list[str]:
    method = run.params.method
    return ["start", *map(str, reversed(sampling_times(method.timesteps, method.sampling_steps)))]


def _picks(run: Run, count: int) -> list[int]:
    """The first recorded images, those with a wrong label before the others, where that is known."""
    shown = run.samples.head(_label_vectors(run).shape[1])
    if "clean" in shown:
        wrong = (shown["noisy"] != shown["clean"]).to_numpy()
        return [*np.flatnonzero(wrong)[: count - 1], *np.flatnonzero(~wrong)][:count]
    return list(range(min(count, len(shown))))


def retrieved_labels(run: Run, problem: Problem, count: int = 4) -> Figure:
    """A few training images, their nearest neighbours with the labels that these carry, and the vote of all k."""
    row, picks = run.epochs.iloc[-1], _picks(run, count)
    names = run.record["data"]["classes"]
    shown = _label_vectors(run).shape[1]
    neighbours = np.asarray(row["neighbours"], dtype=np.int64).reshape(shown, -1)
    votes = np.asarray(row["votes"], dtype=np.int64).reshape(shown, -1)
    columns = neighbours.shape[1] + 1
    figure, axes = plt.subplots(
        len(picks), columns + 1, figsize=(0.72 * columns + 3.0, 1.25 * len(picks)), squeeze=False,
        width_ratios=[1] * columns + [3.2],
    )  # fmt: skip
    for line, number in zip(axes, picks, strict=True):
        for ax, index in zip(line[:-1], [number, *neighbours[number]], strict=True):
            _show(ax, problem.train.images[int(index)].numpy())
            _name(ax, run.samples.iloc[int(index)], names)
        line[0].set_title("given label", fontsize=9, color=NEUTRAL) if number == picks[0] else None
        _bars(line[-1], votes[number], run.samples.iloc[number], names)
    axes[0][1].set_title("nearest first", fontsize=9, color=NEUTRAL)
    axes[0][-1].set_title(f"votes of {votes[0].sum()} neighbours", fontsize=9)
    return figure


def _show(ax: Axes, image: np.ndarray) -> None:
    grey = image.shape[-1] == 1
    ax.imshow(image[..., 0] if grey else image, cmap="gray_r" if grey else None, vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _name(ax: Axes, sample: pd.Series, names: list[str]) -> None:
    """The observed label below an image: blue where it is right, vermilion where it is wrong, else black."""
    colour = "black" if "clean" not in sample else CLEAN if sample["noisy"] == sample["clean"] else NOISY
    ax.set_xlabel(names[int(sample["noisy"])], fontsize=10, color=colour, labelpad=2)


def _bars(ax: Axes, votes: np.ndarray, sample: pd.Series, names: list[str]) -> None:
    """Votes by class, the largest few where there are many classes; colours as those of the labels."""
    order = np.sort(np.argsort(-votes, kind="stable")[:10])
    colours = [NEUTRAL] * len(order)
    for place, c in enumerate(order):
        if c == sample["noisy"]:
            colours[place] = NOISY
        if "clean" in sample and c == sample["clean"]:
            colours[place] = CLEAN
    ax.bar(range(len(order)), votes[order], color=colours)
    ax.set_xticks(range(len(order)), [names[c] for c in order], fontsize=7)
    ax.tick_params(axis="y", labelsize=7)


def vote_shares(run: Run) -> Figure:
    """Share of the k neighbours that carry the given label of an image, for correct and for wrong labels."""
    method = run.params.method
    column = f"vote_{run.params.training.epochs}"
    step = max(1, -(-method.k // 25))  # bins of whole votes, at most about 25
    edges = (np.arange(0, method.k + step + 1, step) - 0.5) / method.k
    figure, ax = plt.subplots(figsize=(6.4, 3.1))
    for label, colour, mask in groups(run.samples):
        values = run.samples[column].to_numpy(dtype=np.float64)[mask]
        ax.hist(values, list(edges), color=colour, alpha=0.6, label=label)
    ax.axvline(
        1 / len(run.record["data"]["classes"]), color="black", linestyle=":", label="one class of all, by chance"
    )
    ax.set(xlabel=f"share of the {method.k} neighbours with the same label", ylabel="samples")
    ax.legend()
    return figure


def weights_and_vote(run: Run) -> Figure:
    """Test accuracy over epochs of the averaged and of the raw weights, above that of the neighbours' vote."""
    names = {"accuracy_1": "averaged weights", "accuracy_2": "weights of the last step"}
    if getattr(run.params.method, "evaluate", "ema") == "raw":
        names = {"accuracy_2": names["accuracy_1"], "accuracy_1": names["accuracy_2"]}
    figure, ax = plt.subplots(figsize=(6.4, 3.2))
    for (column, label), colour in zip(names.items(), (CYCLE[0], CYCLE[4]), strict=True):
        ax.plot(run.epochs["epoch"], run.epochs[column], color=colour, label=label)
    ax.plot(run.epochs["epoch"], run.epochs["accuracy_3"], color=NOISY, linestyle="--", label="vote of the neighbours")
    ax.set(xlabel="epoch", ylabel="test accuracy in %")
    ax.legend()
    return figure
