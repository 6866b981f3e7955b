"""The figures of TCL, from a short run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest

import nlkit
from nlbook.figures import contrast

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]


def short_run(folder: Path, **own: Any) -> nlkit.Run:
    short: dict[str, Any] = {"training.epochs": 3, "training.snapshots": [1, 2], "method.warm_up": 1, "model.width": 4}
    params = nlkit.load_params(ROOT / "params/tcl/digits-sym-50.yaml", **short, **own)
    return nlkit.run(params, out=folder, progress=False)


@pytest.fixture(scope="module", params=["set", "class"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> nlkit.Run:
    return short_run(tmp_path_factory.mktemp("run"), **{"method.mixture_per": request.param, "data.train_size": 300})


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["score_histograms", "feature_maps", "label_map"])
def test_each_figure_is_drawn_with_and_without_clean_labels(run: nlkit.Run, name: str, known: bool) -> None:
    shown = run if known else replace(run, samples=run.samples.drop(columns="clean"))
    figure = getattr(contrast, name)(shown)
    figure.canvas.draw()
    assert len(figure.axes) == (2 if name == "feature_maps" else 3)
    assert all(ax.has_data() for ax in figure.axes)
    plt.close(figure)


def test_the_scores_of_a_figure_are_those_of_the_record_and_the_mixture_lies_over_them(run: nlkit.Run) -> None:
    figure = contrast.score_histograms(run)
    lines = 2 if run.params.method.mixture_per == "set" else 0  # type: ignore[union-attr]
    for ax, epoch in zip(figure.axes, (1, 2, 3), strict=True):
        counts = sum(patch.get_height() for patch in ax.patches)
        assert counts == run.samples[f"score_{epoch}"].notna().sum() == 300
        assert len(ax.lines) == lines
    plt.close(figure)


def test_a_map_shows_each_prototype_by_the_name_of_its_class(run: nlkit.Run) -> None:
    figure = contrast.feature_maps(run)
    assert [text.get_text() for text in figure.axes[1].texts] == run.record["data"]["classes"]
    plt.close(figure)
