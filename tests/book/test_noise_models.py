"""The noise models of the page: rates, what is kept, and statistics against closed forms and slow loops."""

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fuzzing import refused
from IPython.display import HTML

from nlbook import noise_models, noise_page, noise_sources
from nlbook.figures import noise as drawn
from nlbook.noise_models import NoiseModels
from nlbook.noise_sources import KEPT, cifar_models, cifar_summary, digits_models, kept_summary, true_margin


@pytest.fixture(scope="module")
def digits() -> NoiseModels:
    return digits_models(0.35)


@pytest.fixture(scope="module")
def without_data(tmp_path_factory: pytest.TempPathFactory) -> NoiseModels:
    return cifar_models(tmp_path_factory.mktemp("empty"))


def test_digits_have_the_rate_asked_for_and_only_pmd_noise_follows_the_margin(digits: NoiseModels) -> None:
    models = digits.summary().models
    assert set(models) == {"symmetric", "asymmetric", "PMD I", "PMD II", "PMD III", "PMD I + uniform"}
    for name, one in models.items():
        expected, error = (0.2, 0.03) if name == "asymmetric" else (0.35, 0.045)
        assert one.rate == pytest.approx(expected, abs=1e-3 if name == "symmetric" else error)
        assert (abs(one.auc - 0.5) > 3 * one.auc_error) == name.startswith("PMD")
    assert (models["asymmetric"].top_share, models["asymmetric"].entropy) == (1, 0)  # one wrong class; then all nine
    assert models["symmetric"].top_share < 0.25 and models["symmetric"].entropy > 0.95


def test_without_data_the_kept_numbers_are_shown_with_the_reason(without_data: NoiseModels, tmp_path: Path) -> None:
    assert set(without_data.labels) == {"symmetric", "asymmetric", "human, worst"} and without_data.images is None
    summary, source = cifar_summary(without_data)
    assert summary == kept_summary()
    assert f"{summary.model_dump_json(indent=1)}\n" == KEPT.read_text(encoding="utf-8")
    assert source.startswith(f"read from {KEPT}") and "PMD" in source and "the images" in source
    refused(lambda: noise_sources.keep(tmp_path), "nothing was written")


def test_the_kept_numbers_are_those_of_the_data(data_folder: Path) -> None:
    models = cifar_models(data_folder)
    if "human, random 1" not in models.labels or "PMD I" not in models.labels:
        pytest.skip("the human labels and the PMD label files of CIFAR-10 are not on this machine")
    assert models.summary() == kept_summary(), "write them again: python -m nlbook.noise_sources"


def test_kept_numbers_agree_with_committed_labels_and_people_share_errors(without_data: NoiseModels) -> None:
    kept, own = kept_summary(), without_data.summary()
    assert kept.count == len(without_data.clean) and kept.names == without_data.names
    assert own.models == {name: kept.models[name] for name in own.models}
    for name, one in kept.agreements.items():
        beyond_chance = one["both"] / one["both_expected"]
        assert beyond_chance > 1.2 if name.startswith("human") else beyond_chance == pytest.approx(1, rel=0.1)


def test_labels_of_other_images_are_refused(tmp_path: Path, data_folder: Path) -> None:
    path = noise_sources.human.human_file("cifar10n", data_folder)
    if not path.is_file():
        pytest.skip("the human labels of CIFAR-10 are not on this machine")
    arrays = noise_sources.human.read_human_file("cifar10n", path, None)
    keys = noise_sources.human.HUMAN_FILES["cifar10n"].keys
    shifted = {key: np.roll(arrays[name], 1) for name, key in keys.items()}
    np.savez(tmp_path / "cifar10n.npz", clean_label=np.roll(arrays["clean"], 1), **shifted)
    refused(lambda: cifar_models(tmp_path), "official order")


def test_the_rows_of_the_gallery_are_hit_as_their_titles_say(digits: NoiseModels) -> None:
    one, two = (digits.labels[name] != digits.clean for name in ("PMD I", "symmetric"))
    expected = {"PMD I and symmetric": (True, True), "PMD I only": (True, False), "symmetric only": (False, True)}
    for title, index in digits.hit_rows("PMD I", "symmetric").items():
        assert {*zip(one[index], two[index], strict=True)} == {expected[title]}
        assert len(set(digits.clean[index])) == len(index) == 6


def test_the_page_is_drawn_without_images(digits: NoiseModels, without_data: NoiseModels) -> None:
    page = noise_page.NoisePage(digits, without_data, (digits.summary(), kept_summary()), "somewhere")
    made = [draw(page.numbers) for draw in (drawn.class_rate_dots, drawn.lift_maps, drawn.margin_curves)]
    for figure in (*map(drawn.matrix_grid, page.numbers), *made):
        figure.canvas.draw()
    assert page.table().shape == (16, 5) and page.agreements().shape == (8, 4)
    assert str(page.sources().data).count("<li>") == 2
    shown = page.gallery(page.cifar, "human, random 1", "PMD I")
    assert isinstance(shown, HTML) and "Not on this machine" in str(shown.data)
    figure = page.gallery(page.digits, "PMD I", "symmetric")
    assert isinstance(figure, plt.Figure) and sum(len(ax.images) for ax in figure.axes) == 18


def test_every_model_has_a_look_of_its_own_and_the_matrices_of_the_grid_have_no_diagonal(digits: NoiseModels) -> None:
    figure = drawn.matrix_grid(digits.summary())
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 6 and {ax.images[0].norm.vmax for ax in panels} == {panels[0].images[0].norm.vmax}
    assert all(np.isnan(np.diag(np.ma.filled(ax.images[0].get_array(), np.nan))).all() for ax in panels)
    assert {*digits.summary().shown(), *kept_summary().shown()} <= set(drawn.MODELS)
    for part in zip(*drawn.MODELS.values(), strict=True):
        assert len(set(part)) == len(drawn.MODELS)


def labels(seed: int, count: int = 200, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, classes, count)
    return clean, np.where(rng.random(count) < 0.4, rng.integers(0, classes, count), clean)


def test_the_margin_the_spread_and_the_lift_of_small_cases() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(true_margin(p, np.array([0, 1])), [0.5, -0.1])
    clean, noisy = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 1, 0, 2])
    entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    expected = (2 + 1) / 4, (3 * entropy + 1 * 0) / 4 / np.log(2)
    assert noise_models.wrong_spread(clean, noisy, 3) == pytest.approx(expected)
    clean, mask = np.repeat([0, 1], 50), np.arange(100) % 5 == 0
    assert noise_models.lift(clean, mask, mask) == pytest.approx(5)
    assert noise_models.lift(clean, mask, ~mask) == 0
    assert noise_models.lift(clean, mask, clean == 1) == pytest.approx(1)


def test_labels_without_errors_have_no_statistics_of_errors() -> None:
    clean = np.arange(6) % 3
    wrong = np.zeros(6, dtype=bool)
    assert np.isnan(noise_models.wrong_spread(clean, clean, 3)).all()
    assert np.isnan(noise_models.within_class_auc(np.arange(6.0), wrong, clean)).all()
    assert np.isnan(noise_models.lift(clean, wrong, ~wrong))
    found = noise_models.agreement(clean, clean, clean, 3)
    np.testing.assert_equal(found, {"both": 0, "both_expected": 0, "same": np.nan, "same_expected": np.nan})


@pytest.mark.parametrize("seed", range(4))
def test_the_auc_is_that_of_a_loop_over_pairs_of_one_class(seed: int) -> None:
    clean, noisy = labels(seed, 60)
    wrong = noisy != clean
    margin = np.random.default_rng(seed).integers(0, 6, 60).astype(float)
    pairs = [
        (margin[i] < margin[j]) + 0.5 * (margin[i] == margin[j])
        for i, j in itertools.product(np.flatnonzero(wrong), np.flatnonzero(~wrong))
        if clean[i] == clean[j]
    ]
    assert noise_models.within_class_auc(margin, wrong, clean)[0] == pytest.approx(np.mean(pairs))


def test_classes_that_differ_in_margin_and_rate_do_not_move_the_auc_and_its_error_is_that_of_draws() -> None:
    rng = np.random.default_rng(0)
    clean = np.repeat([0, 1], 100)
    values = []
    for _ in range(400):
        margin = rng.random(200) + 5 * clean
        wrong = rng.permuted(np.repeat([[True] * 60 + [False] * 40, [True] * 10 + [False] * 90], 1, axis=0), axis=1)
        values.append(noise_models.within_class_auc(margin, wrong.ravel(), clean))
    found, errors = np.array(values, dtype=float).T
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert found.std() == pytest.approx(errors.mean(), rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_counted_by_a_loop_and_expected_by_one_over_all_pairs_of_a_class(seed: int) -> None:
    clean, first = labels(seed)
    second = labels(seed + 10)[1]
    both = [(a, b) for a, b, c in zip(first, second, clean, strict=True) if a != c and b != c]
    found = noise_models.agreement(clean, first, second, 4)
    assert found["both"] == pytest.approx(len(both) / 200)
    assert found["same"] == pytest.approx(np.mean([a == b for a, b in both]))
    weights = 1 / np.bincount(clean)[clean] / 200  # any of the first with any of the second of its class
    mixed = [
        (w, a, b) for a, c, w in zip(first, clean, weights, strict=True) for b in second[clean == c] if c not in (a, b)
    ]
    expected = sum(w for w, *_ in mixed)
    assert found["both_expected"] == pytest.approx(expected)
    assert found["same_expected"] == pytest.approx(sum(w for w, a, b in mixed if a == b) / expected)


def test_the_rates_by_margin_are_those_of_a_slow_count_of_tenths_within_the_classes() -> None:
    clean, noisy = labels(0, 400)
    margin, wrong = np.random.default_rng(1).integers(0, 50, 400) / 50, noisy != clean
    tenths: list[list[bool]] = [[] for _ in range(10)]
    for c in range(4):
        rows = sorted(np.flatnonzero(clean == c), key=lambda i: (margin[i], i))
        for place, i in enumerate(rows):
            tenths[10 * place // len(rows)].append(wrong[i])
    expected = [np.mean(tenth) / wrong.mean() for tenth in tenths]
    np.testing.assert_allclose(noise_models.rates_by_margin(margin, wrong, clean), expected)
