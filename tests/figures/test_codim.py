"""The figures of CoDiM and of pre-training, from short runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

import nlkit
from nlbook import votes
from nlbook.figures import contrast
from nlkit.parts import contrast as contrastive
from nlkit.parts import semi

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]


def short_run(cell: str, folder: Path, **own: Any) -> nlkit.Run:
    short: dict[str, Any] = {"training.epochs": 3, "training.snapshots": [1, 2], "model.width": 4}
    short |= {"data.train_size": 200, **own}
    return nlkit.run(nlkit.load_params(ROOT / f"params/{cell}.yaml", **short), out=folder, progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nlkit.Run:
    own = {"method.encoder": None, "method.warm_up": 1, "method.tau_p": 0.2}
    return short_run("codim/digits-sym-50", tmp_path_factory.mktemp("run"), **own)


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> nlkit.Run:
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return short_run("simclr/digits", folder / "out", **{"method.neighbours": 9})


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["positive_pairs", "feature_geometry"])
def test_each_figure_is_drawn_with_and_without_clean_labels(run: nlkit.Run, name: str, known: bool) -> None:
    shown = run if known else replace(run, samples=run.samples.drop(columns="clean"))
    figure = getattr(contrast, name)(shown)
    figure.canvas.draw()
    assert len(figure.axes) == (3 if name == "positive_pairs" else 2)
    assert all(ax.has_data() for ax in figure.axes)
    plt.close(figure)


def test_pairs_grow_from_variant_to_variant_and_are_coloured_by_the_truth(run: nlkit.Run) -> None:
    figure = contrast.positive_pairs(run, epoch=2)
    masks = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    for mask in masks:
        assert np.array_equal(mask, mask.T) and (np.diag(mask) == 1).all()
    assert (masks[0] == 1).sum() == 2 * len(masks[0]) and set(np.unique(masks[0])) == {0, 1}
    counts = [int((mask > 0).sum()) for mask in masks]
    assert counts[0] < counts[1] < counts[2]
    assert {2, 3} <= set(np.unique(masks[2]))
    plt.close(figure)


@pytest.mark.parametrize("variant", ["self", "sup", "sup_pseudo"])
def test_the_classes_of_the_figure_are_those_of_the_method(run: nlkit.Run, variant: contrastive.Variant) -> None:
    chosen, size = contrast._batch(run, 2)
    targets = contrast._targets(run, 2, chosen, size, 0.5)
    rows, classes = run.samples.iloc[chosen], 10
    sure, guess, label = (torch.from_numpy(rows[name].to_numpy(float)) for name in ("sure_2", "guess_2", "noisy"))
    p = torch.where(
        torch.nn.functional.one_hot(guess.long(), classes) > 0, sure[:, None], (1 - sure[:, None]) / (classes - 1)
    )
    trust = torch.from_numpy(rows["p_clean_2"].to_numpy(float))[:size]
    refined = semi.refine(torch.nn.functional.one_hot(label.long(), classes)[:size].double(), p[:size], trust, 0.5)
    guessed = semi.sharpen(p[size:], 0.5)
    np.testing.assert_allclose(targets, torch.cat([refined, guessed]).numpy())
    expected = contrastive.contrast_classes(variant, refined, guessed, 0.2)
    assert contrast.contrast_classes(variant, targets, size, 0.2).tolist() == expected.tolist()


def test_the_start_of_a_run_without_encoder_is_called_random(run: nlkit.Run) -> None:
    figure = contrast.feature_geometry(run)
    assert [ax.get_title() for ax in figure.axes] == ["random start", "after epoch 3"]
    plt.close(figure)


def test_pre_training_has_maps_and_neighbours(pretraining: nlkit.Run) -> None:
    for figure in (
        contrast.feature_maps(pretraining),
        contrast.neighbour_gallery(pretraining, pretraining.images()),
    ):
        figure.canvas.draw()
        assert all(ax.has_data() for ax in figure.axes)
        plt.close(figure)


def test_the_first_neighbour_of_the_gallery_is_the_nearest_one(pretraining: nlkit.Run) -> None:
    index = np.array(pretraining.epochs["neighbours"].iloc[-1]).reshape(8, 6)
    assert all(row not in index[row] and len(set(index[row])) == 6 for row in range(8))


def test_the_vote_has_a_row_for_each_noise_and_kind_of_features(
    pretraining: nlkit.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(pretraining.folder.parent)
    table = votes.vote_accuracy(pretraining, (1, 20))
    assert list(table["features"]) == ["raw pixels", "encoder"] * 3
    assert all(0 <= float(value) <= 100 for value in table["k = 20"])
    first = float(table["k = 20"].iloc[1])
    recorded = pretraining.record["accuracy"]["last"]
    assert abs(first - recorded) < 15  # the record has nine voters
    monkeypatch.chdir(tmp_path)
    assert "not on this machine" in str(votes.vote_accuracy(pretraining).iloc[0, 0])
