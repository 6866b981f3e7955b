"""The figures of TCL, CoDiM, pre-training and LRA-diffusion, from short runs; and the parameters of a notebook."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import yaml
from fuzzing import refused
from matplotlib.figure import Figure
from torch.nn import functional

import nlkit
from nlbook import votes
from nlbook.figures import contrast
from nlkit.figures import notebook
from nlkit.figures.images import voters
from nlkit.figures.losses import BINS
from nlkit.kernels.soft_targets import naive as soft_targets
from nlkit.methods import codim as contrastive
from nlkit.params import read_tree


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., nlkit.Run]:
    """A function that trains three epochs of a cell on a small network, in a folder of its own."""

    def run(cell: str, **own: Any) -> nlkit.Run:
        short: dict[str, Any] = {"training.epochs": 3, "training.snapshots": [1, 2], "model.width": 4}
        short |= {"data.train_size": 300, **own}
        params = nlkit.load_params(tiny.ROOT / f"params/{cell}.yaml", **short)
        with contextlib.chdir(tmp_path_factory.mktemp("project")):
            return nlkit.run(params, out=Path.cwd() / "out", progress=False)

    return run


@pytest.fixture(scope="module")
def codim(short_run: Callable[..., nlkit.Run]) -> nlkit.Run:
    return short_run("codim/digits-sym-50", **{"method.encoder": None, "method.warm_up": 1, "method.tau_p": 0.2})


@pytest.fixture(scope="module")
def pretraining(short_run: Callable[..., nlkit.Run]) -> nlkit.Run:
    return short_run("simclr/digits", **{"method.neighbours": 9})


@pytest.fixture(scope="module", params=["set", "class"])
def tcl(request: pytest.FixtureRequest, short_run: Callable[..., nlkit.Run]) -> nlkit.Run:
    return short_run("tcl/digits-sym-50", **{"method.warm_up": 1, "method.mixture_per": request.param})


@pytest.fixture(scope="module")
def diffusion(short_run: Callable[..., nlkit.Run]) -> nlkit.Run:
    own = {"training.snapshots": [1], "method.draws": 2, "method.width": 16, "method.lr_warm_up": 1}
    return short_run("lra_diffusion/digits-sym-50-identity", **own)


def assert_drawn(run: nlkit.Run, figures: dict[Callable[[nlkit.Run], Figure], int], both: bool = True) -> None:
    """Each figure has so many axes, and data in all of them; where `both`, without clean labels too."""
    unknown = [tiny.with_tables(run, samples=run.samples.drop(columns="clean"))] * both
    for draw, axes in figures.items():
        for figure in map(draw, [run, *unknown]):
            figure.canvas.draw()
            assert [ax.has_data() for ax in figure.axes] == [True] * axes


def test_the_figures_of_codim_are_drawn_and_a_start_without_encoder_is_called_random(codim: nlkit.Run) -> None:
    assert_drawn(codim, {contrast.positive_pairs: 3, contrast.feature_geometry: 2})
    assert [ax.get_title() for ax in contrast.feature_geometry(codim).axes] == ["random start", "after epoch 3"]


def test_the_figures_of_tcl_are_drawn_with_names_of_classes_and_the_recorded_scores_and_mixture(tcl: nlkit.Run) -> None:
    assert_drawn(tcl, {contrast.score_histograms: 3, contrast.feature_maps: 2, contrast.label_map: 3})
    assert [text.get_text() for text in contrast.feature_maps(tcl).axes[1].texts] == tcl.record["data"]["classes"]
    figure = contrast.score_histograms(tcl)
    lines = 2 if tcl.params.method.mixture_per == "set" else 0  # type: ignore[union-attr]
    for ax, epoch in zip(figure.axes, (1, 2, 3), strict=True):
        counts = sum(patch.get_xy()[1 : 2 * BINS + 1 : 2, 1].sum() for patch in ax.patches)  # the steps of an outline
        assert counts == tcl.samples[f"score_{epoch}"].notna().sum() == 300
        assert len(ax.lines) == lines


def test_the_figures_of_diffusion_are_drawn_with_and_without_clean_labels(diffusion: nlkit.Run) -> None:
    figures = {votes.label_trajectories: 4, votes.vote_shares: 1, votes.weights_and_vote_curves: 1}
    assert_drawn(diffusion, figures | {lambda run: votes.retrieved_labels(run, run.images()): 24})


def test_pre_training_has_maps_and_neighbours_of_which_the_first_is_the_nearest(pretraining: nlkit.Run) -> None:
    gallery = {lambda run: contrast.neighbour_gallery(run, run.images()): 56}
    assert_drawn(pretraining, {contrast.feature_maps: 2, **gallery}, both=False)
    index = np.array(pretraining.epochs["neighbours"].iloc[-1]).reshape(8, 6)
    assert all(row not in index[row] and len(set(index[row])) == 6 for row in range(8))


def test_pairs_grow_from_variant_to_variant_and_are_coloured_by_the_truth(codim: nlkit.Run) -> None:
    figure = contrast.positive_pairs(codim)
    masks = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    for mask in masks:
        assert np.array_equal(mask, mask.T) and (np.diag(mask) == 1).all()
    assert (masks[0] == 1).sum() == 2 * len(masks[0]) and set(np.unique(masks[0])) == {0, 1}
    counts = [int((mask > 0).sum()) for mask in masks]
    assert counts[0] < counts[1] < counts[2]
    assert {2, 3} <= set(np.unique(masks[2]))


@pytest.mark.parametrize("variant", ["self", "sup", "sup_pseudo"])
def test_the_classes_of_the_figure_are_those_of_the_method(codim: nlkit.Run, variant: contrastive.Variant) -> None:
    chosen, size = contrast._batch(codim, 2)
    targets = contrast._targets(codim, 2, chosen, size, 0.5)
    rows, classes = codim.samples.iloc[chosen], 10
    sure, guess, label = (torch.from_numpy(rows[name].to_numpy(float)) for name in ("sure_2", "guess_2", "noisy"))
    p = torch.where(functional.one_hot(guess.long(), classes) > 0, sure[:, None], (1 - sure[:, None]) / (classes - 1))
    trust = torch.from_numpy(rows["p_clean_2"].to_numpy(float))[:size]
    one_hot = functional.one_hot(label.long(), classes)[:size].double()
    refined = soft_targets.sharpen(soft_targets.blend(one_hot, p[:size], trust), 0.5)
    guessed = soft_targets.sharpen(p[size:], 0.5)
    np.testing.assert_allclose(targets, torch.cat([refined, guessed]).numpy())
    expected = contrastive.contrast_classes(variant, refined, guessed, 0.2)
    assert contrast.contrast_classes(variant, targets, size, 0.2).tolist() == expected.tolist()


def test_the_vote_has_all_its_rows(pretraining: nlkit.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(pretraining.folder.parent)
    table = votes.vote_accuracy(pretraining, (1, 20))
    assert list(table["features"]) == ["raw pixels", "encoder"] * 3
    assert all(0 <= float(value) <= 100 for value in table["k = 20"])
    recorded = pretraining.record["accuracy"]["last"]  # of nine voters
    assert float(table["k = 20"].iloc[1]) == pytest.approx(recorded, abs=15)
    monkeypatch.chdir(tmp_path)
    assert "not on this machine" in str(votes.vote_accuracy(pretraining).iloc[0, 0])


def test_label_vectors_start_at_zero_and_end_at_the_recorded_decision(diffusion: nlkit.Run) -> None:
    figure = votes.label_trajectories(diffusion)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        lines = np.stack([line.get_ydata() for line in ax.lines])
        assert lines.shape == (10, 11) and not lines[:, 0].any()
        number = int(ax.get_title().removeprefix("image "))
        ends = {line.get_label(): abs(line.get_ydata()[-1] - 1) for line in ax.lines}  # type: ignore[index]
        nearest = min(ends.values())
        prediction, given = (str(diffusion.samples[column].iloc[number]) for column in ("prediction", "noisy"))
        named = f"given: {given}" if prediction == given else f"found: {prediction}"
        assert ends[named] == pytest.approx(nearest)


def test_the_histogram_counts_every_sample_once_and_the_bars_the_votes_of_k_neighbours(diffusion: nlkit.Run) -> None:
    assert sum(patch.get_height() for patch in votes.vote_shares(diffusion).axes[0].patches) == 300
    figure = votes.retrieved_labels(diffusion, diffusion.images())
    bars = [[patch.get_width() for patch in ax.patches] for ax in figure.axes if ax.patches]
    recorded = np.reshape(diffusion.epochs["votes"].iloc[-1], (-1, 10))[list(voters(diffusion))]
    assert bars == [[count for count in sorted(row, reverse=True)[:4] if count] for row in recorded.tolist()]


def test_the_table_has_the_accuracies_of_both_weights_and_of_the_vote(diffusion: nlkit.Run) -> None:
    last = diffusion.epochs.iloc[-1]
    assert last["accuracy"] == last["accuracy_1"]
    row = votes.weights_and_vote([diffusion]).iloc[0]
    assert row.tolist() == [diffusion.params.cell, *(f"{last[f'accuracy_{k}']:.1f}" for k in (1, 2, 3)), 1]
    method = diffusion.params.method.model_copy(update={"evaluate": "raw"})
    raw = replace(diffusion, params=diffusion.params.model_copy(update={"method": method}))
    assert votes.weights_and_vote([raw]).iloc[0]["averaged weights"] == f"{last['accuracy_2']:.1f}"


DEFAULTS = 'params = "dividemix/digits-sym-50"\nseed = 0'
CELL = tiny.ROOT / "params/cross_entropy/digits-sym-50-views.yaml"
"""A file that names a base."""
Kernel = Callable[..., dict[str, Any]]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A function that runs cells of literal assignments in the folder of notebooks, and returns what a kernel holds."""
    monkeypatch.chdir(tiny.ROOT / "notebooks")

    def run(*cells: str) -> dict[str, Any]:
        values: dict[str, Any] = {"In": ["", *cells], "Out": {}, "_i": "x", "_": 3, "exit": exit, "pathlib": Path}
        for cell in cells:
            exec(cell, values)
        return values

    return run


def test_the_defaults_name_a_parameter_file_and_an_injected_cell_overrides_keys_and_groups(kernel: Kernel) -> None:
    expected = nlkit.load_params(tiny.ROOT / "params/dividemix/digits-sym-50.yaml")
    assert notebook.parameters(kernel(DEFAULTS)) == expected
    assert notebook.parameters({"params": "dividemix/digits-sym-50", "seed": 0}) == expected  # a kernel that was reset
    found = notebook.parameters(kernel(DEFAULTS, 'seed = 3\nnoise = {"rate": 0.25}'))
    assert (found.seed, found.noise.rate, found.noise.kind) == (3, 0.25, "symmetric")  # type: ignore[union-attr]


def test_an_injected_parameter_file_replaces_the_defaults_altogether(kernel: Kernel) -> None:
    for content in (nlkit.load_params(CELL).model_dump(mode="json"), read_tree(CELL), yaml.safe_load(CELL.read_text())):
        lines = [f"{name} = {value!r}" for name, value in content.items()]
        assert notebook.parameters(kernel(DEFAULTS, "\n".join(lines))) == nlkit.load_params(CELL)


@pytest.mark.parametrize("cell", ["nosie = 1", "nosie = {'rate': 0.1}", "nosie = None", "seeds = [1, 2]"])
def test_an_unknown_parameter_is_refused_by_name(cell: str, kernel: Kernel) -> None:
    refused(lambda: notebook.parameters(kernel(DEFAULTS, cell)), f"unknown key '{cell.split()[0]}'")


def test_what_later_cells_assign_is_no_parameter_when_the_notebook_is_run_again(kernel: Kernel) -> None:
    values = kernel(DEFAULTS)
    notebook.parameters(values)
    exec('names = ["a", "b"]\nx = 3\nseed = 4\nnoise = {"rate": 0.25}', values)
    found = notebook.parameters(values)
    assert (found.seed, found.noise.rate) == (4, 0.25)  # type: ignore[union-attr]
