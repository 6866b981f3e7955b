"""The noise models of the page: their rates, what is kept of them, and what the page says where data are missing."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from IPython.display import HTML

from nlbook import noise_page, noise_sources
from nlbook.figures import noise as drawn
from nlbook.noise_models import NoiseModels, read_summary
from nlbook.noise_sources import KEPT, cifar_models, cifar_summary, digits_models, true_margin, uniform_on_top
from nlkit import NlkitError

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def digits() -> NoiseModels:
    return digits_models(0.35)


@pytest.fixture(scope="module")
def without_data(tmp_path_factory: pytest.TempPathFactory) -> NoiseModels:
    return cifar_models(tmp_path_factory.mktemp("empty"))


def test_models_on_digits_have_the_rate_that_was_asked_for_and_only_pmd_noise_follows_the_margin(
    digits: NoiseModels,
) -> None:
    models = digits.summary().models
    assert set(models) == {"symmetric", "asymmetric", "PMD I", "PMD II", "PMD III", "PMD I + uniform"}
    for name, one in models.items():
        expected, error = (0.2, 0.03) if name == "asymmetric" else (0.35, 0.045)
        assert one.rate == pytest.approx(expected, abs=1e-3 if name == "symmetric" else error)
        assert one.auc is not None and one.auc_error is not None
        assert (abs(one.auc - 0.5) > 3 * one.auc_error) == name.startswith("PMD")


def test_uniform_noise_on_top_makes_up_the_rate() -> None:
    moved = uniform_on_top(0.2, 0.5, 10)
    assert 0.2 * (1 - moved / 9) + 0.8 * moved == pytest.approx(0.5)  # a wrong label that moves is right in 1 of 9


def test_the_margin_of_the_true_class() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(true_margin(p, np.array([0, 1])), [0.5, -0.1])


def test_a_summary_survives_being_written_and_read(digits: NoiseModels, tmp_path: Path) -> None:
    summary = digits.summary()
    (tmp_path / "kept.json").write_text(summary.model_dump_json())
    assert read_summary(tmp_path / "kept.json") == summary
    for change in (lambda text: text[:-9], lambda text: text.replace('"rate"', '"rat"'), lambda text: "[]"):
        (tmp_path / "kept.json").write_text(change(summary.model_dump_json()))
        with pytest.raises(NlkitError, match=r"kept\.json"):
            read_summary(tmp_path / "kept.json")


def test_without_data_the_numbers_are_those_that_were_kept_and_the_line_says_what_is_missing(
    without_data: NoiseModels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(without_data.labels) == {"symmetric", "asymmetric", "human, worst"} and without_data.images is None
    summary, source = cifar_summary(without_data)
    assert summary == read_summary(ROOT / KEPT)
    assert source.startswith(f"read from {KEPT}") and "PMD" in source and "the images" in source
    monkeypatch.setattr(noise_sources, "KEPT", Path("nowhere.json"))
    summary, source = cifar_summary(without_data)
    assert set(summary.models) == set(without_data.labels) and "this machine lacks" in source
    with pytest.raises(NlkitError, match="nothing was written"):
        noise_sources.keep(tmp_path)


def test_the_kept_numbers_are_those_of_the_data(data_folder: Path) -> None:
    models = cifar_models(data_folder)
    if "human, random 1" not in models.labels or "PMD I" not in models.labels:
        pytest.skip("the human labels and the PMD label files of CIFAR-10 are not on this machine")
    kept = read_summary(ROOT / KEPT)
    assert models.summary().model_dump(exclude={"missing"}) == kept.model_dump(exclude={"missing"}), (
        "write them again: python -m nlbook.noise_sources"
    )


def test_the_kept_numbers_agree_with_the_committed_labels_and_people_share_their_errors(
    without_data: NoiseModels,
) -> None:
    kept, own = read_summary(ROOT / KEPT), without_data.summary()
    assert kept.count == len(without_data.clean) and kept.names == without_data.names
    assert own.models == {name: kept.models[name] for name in own.models}
    for name, one in kept.agreements.items():
        beyond_chance = one.both / one.both_expected
        assert beyond_chance > 1.2 if name.startswith("human") else beyond_chance == pytest.approx(1, rel=0.1)


def test_labels_of_other_images_are_refused(tmp_path: Path, data_folder: Path) -> None:
    path = noise_sources.human.find_human_file("cifar10n", data_folder)
    if path is None:
        pytest.skip("the human labels of CIFAR-10 are not on this machine")
    arrays = noise_sources.human.read_human_file("cifar10n", path, None)
    keys = noise_sources.human.HUMAN_FILES["cifar10n"].keys
    shifted = {key: np.roll(arrays[name], 1) for name, key in keys.items()}
    np.savez(tmp_path / "cifar10n.npz", clean_label=np.roll(arrays["clean"], 1), **shifted)
    with pytest.raises(NlkitError, match="official order"):
        cifar_models(tmp_path)


def test_the_rows_of_the_gallery_are_hit_as_their_titles_say(digits: NoiseModels) -> None:
    one, two = (digits.labels[name] != digits.clean for name in ("PMD I", "symmetric"))
    expected = {"PMD I and symmetric": (True, True), "PMD I only": (True, False), "symmetric only": (False, True)}
    for title, index in digits.hit_rows("PMD I", "symmetric").items():
        assert {*zip(one[index], two[index], strict=True)} == {expected[title]}
        assert len(set(digits.clean[index])) == len(index) == 9


def test_every_model_has_a_look_of_its_own(digits: NoiseModels) -> None:
    assert set(digits.summary().rates()) <= set(drawn.MODELS)
    assert set(read_summary(ROOT / KEPT).rates()) <= set(drawn.MODELS)
    for part in zip(*drawn.MODELS.values(), strict=True):
        assert len(set(part)) == len(drawn.MODELS)


def test_the_page_is_drawn_with_all_numbers_with_few_and_without_images(
    digits: NoiseModels, without_data: NoiseModels
) -> None:
    few = without_data.summary()
    for summary in (read_summary(ROOT / KEPT), few):
        page = noise_page.NoisePage(digits, without_data, (digits.summary(), summary), "somewhere")
        made = [draw(page.numbers) for draw in (drawn.class_rate_dots, drawn.lift_maps, drawn.margin_curves)]
        for figure in (drawn.matrix_grid(page.numbers[0]), drawn.matrix_grid(summary), *made):
            figure.canvas.draw()
            plt.close(figure)
        assert len(page.table()) == 6 + len(summary.models) and str(page.sources().data).count("<li>") == 2
        assert set(page.agreements().columns) == {
            "both wrong", "by chance", "of these the same label", "the same by chance",
        }  # fmt: skip
    shown = page.gallery(page.cifar, "human, random 1", "PMD I")
    assert isinstance(shown, HTML) and "Not on this machine" in str(shown.data)
    figure = page.gallery(page.digits, "PMD I", "symmetric")
    assert isinstance(figure, plt.Figure) and sum(len(ax.images) for ax in figure.axes) == 27


def test_the_matrices_of_the_grid_have_no_diagonal(digits: NoiseModels) -> None:
    figure = drawn.matrix_grid(digits.summary())
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 6 and {ax.images[0].norm.vmax for ax in panels} == {panels[0].images[0].norm.vmax}
    assert all(np.isnan(np.diag(np.ma.filled(ax.images[0].get_array(), np.nan))).all() for ax in panels)
    plt.close(figure)
