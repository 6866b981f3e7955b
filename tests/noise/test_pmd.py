"""PMD noise: closed forms of the noise functions, rates, hybrids, the released files, and the kept network."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from fuzzing import refused

from nlkit import NlkitError, noise
from nlkit.data import load_dataset
from nlkit.data.problem import Problem
from nlkit.training import pmd_network
from nlkit.training.problem import load_problem

Soft = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def soft() -> Soft:
    """Probabilities [20000, 7] of a good but unsure classifier, and clean labels [20000]."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, 20_000)
    logits = rng.normal(size=(20_000, 7)) + 3 * np.eye(7)[clean]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), clean


def test_margins_are_the_two_largest_probabilities(soft: Soft) -> None:
    found = noise.margins(soft[0])
    np.testing.assert_array_equal(np.stack([found.second, found.first], axis=1), soft[0].argsort(axis=1)[:, -2:])
    np.testing.assert_allclose(found.delta, np.diff(np.sort(soft[0], axis=1))[:, -1])


@pytest.mark.parametrize(("kind", "half"), [(1, 0.375), (2, 0.875), (3, 1 - 0.875 / 3)])
def test_the_noise_functions_at_margins_of_zero_one_half_and_one_and_what_is_kept_there(kind: int, half: float) -> None:
    tau = noise.leave_probability(np.array([0.0, 0.5, 1.0]), kind)
    np.testing.assert_allclose(tau, [0.5 if kind == 1 else 1.0, half, 0.0])
    assert noise.keep_probability(np.ones(1), kind, 1.43, "code")[0] == pytest.approx(1 / 1.43)
    assert noise.keep_probability(np.ones(1), kind, 1.43, "paper")[0] == 1.0


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize(("reading", "rate"), [("code", 0.35), ("code", 0.7), ("paper", 0.3)])
def test_the_solved_factor_gives_the_wanted_rate(soft: Soft, kind: int, reading: noise.Reading, rate: float) -> None:
    probabilities, clean = soft
    found = noise.margins(probabilities)
    factor = noise.solve_factor(found, clean, kind, rate, reading)
    keep = noise.keep_probability(found.delta, kind, factor, reading)
    assert noise.expected_rate(found, clean, keep) == pytest.approx(rate, abs=1e-9)
    labels = noise.draw(found, keep, np.random.default_rng(1))
    assert bool(((labels == found.first) | (labels == found.second)).all())
    assert (labels != clean).mean() == pytest.approx(rate, abs=0.01)
    for low in (0.1, 0.4, 0.7):
        part = (found.delta >= low) & (found.delta < low + 0.1)
        share = (labels == found.first)[part].mean()
        assert share == pytest.approx(keep[part].mean(), abs=4 * 0.5 / np.sqrt(part.sum()))


def test_a_rate_that_cannot_be_had_is_refused_with_the_range(soft: Soft) -> None:
    probabilities, clean = soft
    with pytest.raises(NlkitError, match=r"noise\.rate' is 0\.99: .* from 0\.\d+ to 0\.\d+ only"):
        noise.solve_factor(noise.margins(probabilities), clean, 1, 0.99)


def test_uniform_noise_on_top_moves_its_share_to_other_labels_and_asymmetric_noise_follows_its_arrows() -> None:
    labels = np.arange(50_000) % 10
    noisy = noise.add_uniform(labels, 0.3, 10, np.random.default_rng(0))
    moved = noisy != labels
    assert moved.mean() == pytest.approx(0.3, abs=0.01)
    steps = np.bincount((noisy - labels)[moved] % 10, minlength=10)
    assert steps[0] == 0 and steps[1:] == pytest.approx(np.full(9, moved.sum() / 9), rel=0.1)
    labels, flips = np.arange(50_000) % 10, noise.CIFAR10_FLIPS
    noisy = noise.add_asymmetric(labels, 0.3, flips, np.random.default_rng(0))
    expected = noise.nominal_matrix(10, 0.3, flips)
    np.testing.assert_allclose(noise.transition_matrix(labels, noisy, 10), expected, atol=0.03)
    assert (noise.transition_matrix(labels, noisy, 10)[expected == 0] == 0).all()


def test_flips_within_blocks_are_cycles_of_five() -> None:
    flips = noise.block_flips(100)
    assert [flips[c] for c in (0, 1, 4, 5, 98, 99)] == [1, 2, 0, 6, 99, 95]
    assert sorted(flips.values()) == list(range(100))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own as the current one, so that nothing is kept from other runs; a short training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(pmd_network.RECIPES, "digits", pmd_network.DIGITS | {"width": 8, "epochs": 2, "lr": 0.02})
    return tmp_path


def problem_of(**overrides: object) -> Problem:
    wanted = {"noise": {"kind": "pmd", "rate": None, "factor": 1.3}, "data.train_size": 300, **overrides}
    return load_problem(tiny.params("cross_entropy", **wanted), Path("unused"), torch.device("cpu"))


def test_the_network_is_trained_once_and_again_where_it_is_damaged(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = torch.get_rng_state()
    first = problem_of()
    assert torch.equal(torch.get_rng_state(), stream)
    (path,) = (here / "runs" / "pmd").glob("digits-*.npz")
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    torch.rand(3)
    assert problem_of().noise.sha256 == first.noise.sha256
    monkeypatch.setattr(pmd_network, "_train", lambda *_: pytest.fail("trained again"))
    assert problem_of().noise.sha256 == first.noise.sha256
    np.testing.assert_array_equal(problem_of().train.labels, first.train.labels)


def test_the_labels_depend_on_the_seed_of_the_noise_and_on_the_data(here: Path) -> None:
    kinds = [{}, {"noise.seed": 5}, {"noise.type": 3}, {"noise.reading": "paper"}, {"data.train_size": 200}]
    assert len({problem_of(**kind).noise.sha256 for kind in kinds}) == len(kinds)


def test_probabilities_from_a_file_make_the_labels(here: Path) -> None:
    clean = load_dataset("digits", here).labels[:300]
    probabilities = 0.94 * np.eye(10)[clean] + 0.06 * np.eye(10)[(clean + 1) % 10]
    np.save(here / "eta.npy", probabilities)
    problem = problem_of(**{"noise.probabilities": "eta.npy"})
    moved = problem.train.labels.numpy() != clean
    np.testing.assert_array_equal(problem.train.labels.numpy()[moved], ((clean + 1) % 10)[moved])
    keep = (0.5 + 0.5 * 0.88**2) / 1.3
    assert moved.mean() == pytest.approx(1 - keep, abs=0.09)


@pytest.mark.parametrize(("rows", "value"), [(299, 0.1), (300, -0.1), (300, 0.5), (300, np.nan), (None, None)])
def test_a_file_that_holds_no_probabilities_is_refused_in_one_line(rows: int, value: float, here: Path) -> None:
    if rows:
        probabilities = np.full((rows, 10), 0.1)
        probabilities[7, 3] = value
        np.save(here / "eta.npy", probabilities)
    assert "eta.npy: " in refused(lambda: problem_of(**{"noise.probabilities": "eta.npy"}))


@pytest.mark.parametrize("kind", ["uniform", "asymmetric"])
def test_a_hybrid_changes_labels_of_the_plain_noise(kind: str, here: Path) -> None:
    plain = problem_of().train.labels.numpy()
    mixed = problem_of(**{"noise.extra": {"kind": kind, "rate": 0.3}}).train.labels.numpy()
    moved = plain != mixed
    if kind == "asymmetric":
        assert set(plain[moved]) <= set(noise.DIGITS_FLIPS)
        np.testing.assert_array_equal(mixed[moved], [noise.DIGITS_FLIPS[c] for c in plain[moved]])
    assert 0 < moved.mean() < 0.4


def test_a_label_file_of_the_first_images_serves_a_run_on_them(here: Path) -> None:
    labels = np.arange(300) % 10
    np.save(here / "first.npy", labels)
    given = {"noise": {"kind": "file", "file": "first.npy"}}
    np.testing.assert_array_equal(problem_of(**given).train.labels, labels)
    said = refused(lambda: problem_of(**given, **{"data.train_size": None}), r"shape \[300\]; expected \[1347\]")
    assert "data.train_size to 300" in said
