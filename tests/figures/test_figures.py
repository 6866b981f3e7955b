from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

import nlkit
from nlkit import figures
from nlkit.data.problem import Problem
from nlkit.figures.curves import histogram_medians
from nlkit.figures.images import gallery_rows
from nlkit.training.measure import LOSS_EDGES

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
FIGURES = ("loss_histograms", "p_clean_histograms", "loss_heatmap", "loss_ridges", "memorisation")
FIGURES += ("accuracy_curves", "split_curves", "split_confusion")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nlkit.Run:
    """A short DivideMix run on digits."""
    short = {"training.epochs": 3, "training.snapshots": [1, 2], "method.warm_up": 2, "model.width": 4}
    params = nlkit.load_params(ROOT / "params/dividemix/digits-sym-50.yaml", **short)
    return nlkit.run(params, out=tmp_path_factory.mktemp("run"), progress=False)


def without_clean(run: nlkit.Run) -> nlkit.Run:
    """The same run as if nobody knew the clean labels."""
    epochs = run.epochs.drop(columns=["hist_clean", "hist_noisy", "auc_1", "auc_2"])
    hists = [np.add(*pair) for pair in zip(run.epochs["hist_clean"], run.epochs["hist_noisy"], strict=True)]
    epochs = epochs.assign(hist_all=hists, auc=np.nan)
    return replace(run, samples=run.samples.drop(columns="clean"), epochs=epochs)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_with_and_without_clean_labels(run: nlkit.Run, name: str, known: bool) -> None:
    figure = getattr(figures, name)(run if known else without_clean(run))
    figure.canvas.draw()
    assert all(ax.has_data() for ax in figure.axes)
    plt.close(figure)


@pytest.mark.parametrize("known", [True, False])
def test_the_matrices_of_a_run_are_row_stochastic(run: nlkit.Run, known: bool) -> None:
    matrices = figures.run_matrices(run if known else without_clean(run))
    assert len(matrices) == 1 + known
    for matrix in matrices.values():
        sums = matrix.sum(axis=1)
        np.testing.assert_allclose(sums[sums > 0], 1)
    figures.transition_matrices(matrices, run.record["data"]["classes"]).canvas.draw()


def test_the_gallery_shows_what_its_titles_say(run: nlkit.Run) -> None:
    rows = gallery_rows(run, 5)
    errors = rows["surest label errors"]
    assert (errors["prediction"] != errors["noisy"]).all() and (errors["p_clean"] <= 0.5).all()
    assert errors["confidence"].is_monotonic_decreasing
    hardest = rows["hardest correct labels"]
    assert (hardest["noisy"] == hardest["clean"]).all() and hardest["p_clean"].is_monotonic_increasing
    assert set(gallery_rows(without_clean(run), 5)) <= {"surest label errors"}


def test_the_gallery_draws_the_images_of_the_run(run: nlkit.Run) -> None:
    problem = run.problem()
    assert isinstance(problem, Problem)
    figure = figures.gallery(run, problem, count=4)
    assert sum(len(ax.images) for ax in figure.axes) == sum(map(len, gallery_rows(run, 4).values()))
    plt.close(figure)


def test_histogram_medians_lie_within_the_bin_of_the_median() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.1, 3.0):
        losses = rng.exponential(scale, 1001)
        counts, _ = np.histogram(losses, LOSS_EDGES)
        middle = int(np.searchsorted(LOSS_EDGES, np.median(losses))) - 1
        median = histogram_medians(pd.Series([counts]))[0]
        assert LOSS_EDGES[middle] <= median <= LOSS_EDGES[middle + 1]
