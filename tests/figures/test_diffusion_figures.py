"""The figures of LRA-diffusion, from a short run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import nlkit
from nlbook import votes

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nlkit.Run:
    short: dict[str, Any] = {"training.epochs": 3, "training.snapshots": [1], "data.train_size": 300, "model.width": 4}
    short |= {"method.draws": 2, "method.width": 16, "method.lr_warm_up": 1}
    params = nlkit.load_params(ROOT / "params/lra_diffusion/digits-sym-50-identity.yaml", **short)
    return nlkit.run(params, out=tmp_path_factory.mktemp("run"), progress=False)


@pytest.mark.parametrize("known", [True, False])
def test_each_figure_is_drawn_with_and_without_clean_labels(run: nlkit.Run, known: bool) -> None:
    shown = run if known else replace(run, samples=run.samples.drop(columns="clean"))
    drawn = [getattr(votes, name)(shown) for name in ("label_trajectories", "vote_shares", "weights_and_vote_curves")]
    for figure in [*drawn, votes.retrieved_labels(shown, run.images())]:
        figure.canvas.draw()
        assert all(ax.has_data() for ax in figure.axes)
        plt.close(figure)


def test_label_vectors_start_at_zero_and_end_at_the_recorded_decision(run: nlkit.Run) -> None:
    figure = votes.label_trajectories(run)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        lines = np.stack([line.get_ydata() for line in ax.lines])
        assert lines.shape == (10, 11) and not lines[:, 0].any()
        number = int(ax.get_title().removeprefix("image "))
        ends = {line.get_label(): abs(line.get_ydata()[-1] - 1) for line in ax.lines}  # type: ignore[index]
        nearest = min(ends.values())
        prediction, given = (str(run.samples[column].iloc[number]) for column in ("prediction", "noisy"))
        named = f"given: {given}" if prediction == given else f"found: {prediction}"
        assert ends[named] == pytest.approx(nearest)
    plt.close(figure)


def test_the_histogram_counts_every_sample_once(run: nlkit.Run) -> None:
    figure = votes.vote_shares(run)
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 300
    plt.close(figure)


def test_the_bars_are_the_votes_of_k_neighbours(run: nlkit.Run) -> None:
    figure = votes.retrieved_labels(run, run.images())
    bars = [ax for ax in figure.axes if ax.patches]
    assert len(bars) == 4
    assert all(sum(patch.get_height() for patch in ax.patches) == 10 for ax in bars)
    plt.close(figure)


def test_the_table_has_the_accuracies_of_both_weights_and_of_the_vote(run: nlkit.Run) -> None:
    last = run.epochs.iloc[-1]
    assert last["accuracy"] == last["accuracy_1"]
    row = votes.weights_and_vote([run]).iloc[0]
    assert row.tolist() == [run.params.cell, *(f"{last[f'accuracy_{k}']:.1f}" for k in (1, 2, 3)), 1]
    method = run.params.method.model_copy(update={"evaluate": "raw"})
    raw = replace(run, params=run.params.model_copy(update={"method": method}))
    assert votes.weights_and_vote([raw]).iloc[0]["averaged weights"] == f"{last['accuracy_2']:.1f}"
