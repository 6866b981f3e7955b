"""What nearest neighbours know: an encoder's worth before training, and what LRA-diffusion retrieves and samples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlbook.contest import spread
from nlkit import noise
from nlkit.figures.images import Images, show, voters
from nlkit.figures.style import CLEAN, CYCLE, NEUTRAL, NOISY, WIDTH, groups, panels
from nlkit.lazy import functional, torch
from nlkit.parts.diffusion import sampling_times
from nlkit.training import encoders
from nlkit.training.runs import Run


def vote_accuracy(run: Run, neighbours: Sequence[int] = (5, 20, 50, 100)) -> pd.DataFrame:
    """Test accuracy in percent of a vote of k neighbours, among raw pixels and the features of the run's encoder.

    The voters are the training images, of whose labels 0, 50 and 80 % are redrawn. One line where there is no encoder.
    """
    encoder = encoders.find(run.params, run.record["data"]["sha256"])
    if encoder is None:
        return pd.DataFrame([{"features": "the encoder is not on this machine"}])
    from nlkit.parts.features import count_votes, nearest
    from nlkit.parts.learner import ContrastiveLearner

    problem = run.problem()
    images, truth = problem.tests["test"]
    data = replace(problem.train, encoder=encoder.tensors)
    learner = ContrastiveLearner(data, run.params, "net1")
    learner.load_parts(encoder.tensors, "encoder")
    kinds: dict[str, Any] = {
        "raw pixels": lambda images: functional.normalize(images.float().flatten(1), dim=1),
        "encoder": learner.features,
    }
    ranked = {name: nearest(make(images), make(data.images), max(neighbours))[1] for name, make in kinds.items()}
    rows = []
    for rate in (0.0, 0.5, 0.8):
        labels = torch.from_numpy(noise.symmetric(data.labels.numpy(), rate, data.classes, 123))
        for name, index in ranked.items():
            voted = {k: count_votes(labels, index[:, :k], data.classes).argmax(dim=1) for k in neighbours}
            right = {f"k = {k}": f"{100 * float((v == truth).double().mean()):.1f}" for k, v in voted.items()}
            rows.append({"voters": f"{100 * rate:.0f} % noise", "features": name} | right)
    return pd.DataFrame(rows)


VOTERS = ("averaged weights", "weights of the last step", "vote of the neighbours")


def accuracy_columns(run: Run) -> dict[str, str]:
    """The columns of LRA-diffusion's epoch table: test accuracy in percent of both kinds of weights and of the vote."""
    averaged, raw = (2, 1) if getattr(run.params.method, "evaluate", "ema") == "raw" else (1, 2)
    return dict(zip(VOTERS, (f"accuracy_{k}" for k in (averaged, raw, 3)), strict=True))


def weights_and_vote(runs: Sequence[Run]) -> pd.DataFrame:
    """Last accuracy of LRA-diffusion's averaged and raw weights, beside the vote on the same features, by cell."""
    rows = []
    for run in runs:
        last = {name: run.epochs[column].iloc[-1] for name, column in accuracy_columns(run).items()}
        rows.append({"cell": run.params.cell} | last)
    cells = pd.DataFrame(rows, columns=["cell", *VOTERS]).groupby("cell", sort=False)
    return cells.agg(spread).assign(seeds=cells.size()).reset_index()


def weights_and_vote_curves(run: Run) -> Figure:
    """Test accuracy over epochs of the averaged and of the raw weights, above that of the neighbours' vote."""
    figure, ax = plt.subplots()
    styles = (CYCLE[0], "-"), (CYCLE[4], "-"), (NOISY, "--")
    for (label, column), (colour, style) in zip(accuracy_columns(run).items(), styles, strict=True):
        ax.plot(run.epochs["epoch"], run.epochs[column], style, color=colour, label=label)
    ax.set(xlabel="epoch", ylabel="test accuracy in %")
    ax.legend()
    return figure


def label_trajectories(run: Run) -> Figure:
    """Label vectors of a few training images through the sampling steps after the last epoch, one line a class."""
    method: Any = run.params.method
    times = ["start", *map(str, reversed(sampling_times(method.timesteps, method.sampling_steps)))]
    picks, names = list(voters(run)), run.record["data"]["classes"]
    vectors = np.asarray(run.epochs["label_vectors"].iloc[-1]).reshape(len(times), -1, len(names))
    figure, axes = panels(len(picks), 2.6, columns=2, sharey=True)
    for ax, number in zip(axes, picks, strict=True):
        path, sample = vectors[:, number], run.samples.iloc[number]
        given, decided = int(sample["noisy"]), int(np.abs(path[-1] - 1).argmin())
        ax.plot(np.delete(path, [given, decided], axis=1), color=NEUTRAL, linewidth=0.8, alpha=0.5)
        right = sample.get("clean", -1)
        ax.plot(path[:, given], color=CLEAN if right == given else NOISY, label=f"given: {names[given]}")
        if decided != given:
            colour = CLEAN if right == decided else CYCLE[5]
            ax.plot(path[:, decided], color=colour, linestyle="--", label=f"found: {names[decided]}")
        ax.set_xticks(range(0, len(times), 2), times[::2], rotation=90)
        ax.set(title=f"image {number}", xlabel="time of the step")
        ax.legend(loc="upper left")
    figure.supylabel("coordinate of the label vector")
    axes[0].set_ylim(None, max(1.55, float(vectors[:, picks].max()) + 0.35))
    return figure


def retrieved_labels(run: Run, images: Images) -> Figure:
    """A few training images, their nearest neighbours with labels (blue: right, red: wrong), and the vote of all k."""
    names, near = run.record["data"]["classes"], voters(run)
    votes = np.asarray(run.epochs["votes"].iloc[-1], dtype=np.int64).reshape(-1, len(names))
    columns = 1 + max(map(len, near.values()))
    size, widths = (WIDTH, 0.95 * len(near)), [1] * columns + [3.2]
    figure, axes = plt.subplots(len(near), columns + 1, figsize=size, squeeze=False, width_ratios=widths)
    for line, (number, nearest) in zip(axes, near.items(), strict=True):
        for ax, index in zip(line[:-1], [number, *nearest], strict=True):
            show(ax, images[index])
            ax.set(xticks=[], yticks=[], frame_on=False)
            ax.grid(visible=False)
            sample = run.samples.iloc[index]
            colour = "black" if "clean" not in sample else CLEAN if sample["noisy"] == sample["clean"] else NOISY
            ax.set_xlabel(names[int(sample["noisy"])], color=colour, labelpad=2)
        _bars(line[-1], votes[number], run.samples.iloc[number], names)
    axes[0][0].set_title("given", color=NEUTRAL)
    axes[0][1].set_title("nearest", color=NEUTRAL)
    axes[0][-1].set_title(f"votes of {votes[0].sum()} neighbours")
    return figure


def _bars(ax: Axes, votes: np.ndarray, sample: pd.Series, names: list[str]) -> None:
    """Votes of the four classes that have most; colours as those of the labels."""
    order = [c for c in np.argsort(-votes, kind="stable")[:4] if votes[c]]
    known = {int(sample["noisy"]): NOISY, int(sample.get("clean", -1)): CLEAN}
    ax.barh([names[c] for c in order], votes[order], color=[known.get(int(c), NEUTRAL) for c in order])
    ax.set(xlim=(0, votes.sum()), ylim=(3.6, -0.6), xticks=[], frame_on=False)
    ax.grid(visible=False)
    ax.bar_label(ax.containers[0], padding=2)  # type: ignore[arg-type]


def vote_shares(run: Run) -> Figure:
    """Share of the k neighbours that carry the given label of an image, for correct and for wrong labels."""
    method: Any = run.params.method
    column = f"vote_{run.params.training.epochs}"
    step = max(1, -(-method.k // 25))  # bins of whole votes, at most about 25
    edges = (np.arange(0, method.k + step + 1, step) - 0.5) / method.k
    figure, ax = plt.subplots()
    for label, colour, mask in groups(run.samples):
        values = run.samples[column].to_numpy(dtype=np.float64)[mask]
        ax.hist(values, list(edges), color=colour, alpha=0.6, label=label)
    chance = 1 / len(run.record["data"]["classes"])
    ax.axvline(chance, color="black", linestyle=":", label="one class of all, by chance")
    ax.set(xlabel=f"share of the {method.k} neighbours with the same label", ylabel="samples")
    ax.legend()
    return figure
