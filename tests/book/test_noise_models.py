"""The noise models of the page: their rates, what is kept of them, and what the page says where data are missing."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from IPython.display import HTML

from nlbook import noise_page, noise_sources
from nlbook.figures import noise as drawn
from nlbook.noise_models import NoiseModels, NoiseSummary, read_summary
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


def test_every_model_on_digits_has_the_rate_that_was_asked_for(digits: NoiseModels) -> None:
    rates = {name: float((labels != digits.clean).mean()) for name, labels in digits.labels.items()}
    assert rates.pop("asymmetric") == pytest.approx(0.2, abs=0.03)
    assert set(rates) == {"symmetric", "PMD I", "PMD II", "PMD III", "PMD I + uniform"}
    assert rates.pop("symmetric") == pytest.approx(0.35, abs=1e-3)
    for rate in rates.values():
        assert rate == pytest.approx(0.35, abs=4 * np.sqrt(0.35 * 0.65 / len(digits.clean)))


def test_only_noise_that_looks_at_the_image_follows_the_margin(digits: NoiseModels) -> None:
    numbers = digits.summary().models
    for name, one in numbers.items():
        assert one.auc is not None and one.auc_error is not None
        far = abs(one.auc - 0.5) / one.auc_error
        assert far > 3 if name.startswith("PMD") else far < 3


def test_uniform_noise_on_top_makes_up_the_rate() -> None:
    rng = np.random.default_rng(0)
    clean = np.arange(100_000) % 10
    below = np.where(rng.random(len(clean)) < 0.2, (clean + 1) % 10, clean)
    moved = rng.random(len(clean)) < uniform_on_top(0.2, 0.5, 10)
    labels = np.where(moved, (below + rng.integers(1, 10, len(clean))) % 10, below)
    assert (labels != clean).mean() == pytest.approx(0.5, abs=0.01)


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


def test_the_kept_numbers_agree_with_the_committed_labels(without_data: NoiseModels) -> None:
    kept, own = read_summary(ROOT / KEPT), without_data.summary()
    assert kept.count == len(without_data.clean) and kept.names == without_data.names
    for name, one in own.models.items():
        assert kept.models[name] == one


def test_people_share_their_errors_more_than_chance_and_draws_do_not() -> None:
    for name, one in read_summary(ROOT / KEPT).agreements.items():
        assert one.same is not None and one.same_expected is not None
        if name.startswith("human"):
            assert one.both > 1.2 * one.both_expected and one.same > 1.2 * one.same_expected
        else:
            assert one.both == pytest.approx(one.both_expected, rel=0.1)


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
    rows = digits.hit_rows("PMD I", "symmetric")
    one, two = (digits.labels[name] != digits.clean for name in ("PMD I", "symmetric"))
    assert one[rows["PMD I and symmetric"]].all() and two[rows["PMD I and symmetric"]].all()
    assert one[rows["PMD I only"]].all() and not two[rows["PMD I only"]].any()
    for index in rows.values():
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


def test_the_notebook_gets_its_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NLKIT_DATA", str(tmp_path))
    page = noise_page.noise_page(0.3)
    assert isinstance(page.numbers[1], NoiseSummary)
    assert page.numbers[0].models["symmetric"].rate == pytest.approx(0.3, abs=1e-3)
