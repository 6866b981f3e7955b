from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from nlkit.params.sections import MixtureParams
from nlkit.parts.mixture import Mixture, fit_mixture, fit_two_components, normalise, two_means

PARAMS = MixtureParams()


def draw(rng: np.random.Generator, separated: bool) -> Tensor:
    """Values of two components, min-max normalised; their number is log-uniform between 50 and 50,000."""
    count = int(np.exp(rng.uniform(np.log(50), np.log(50_000))))
    low = int(count * rng.uniform(0.1, 0.9))
    gap, spread = (rng.uniform(0.5, 0.9), 0.08) if separated else (rng.uniform(0.1, 0.3), 0.25)
    values = np.concatenate([rng.normal(0, 0.05, low), rng.normal(gap, spread, count - low)])
    z = normalise(torch.from_numpy(values))
    assert z is not None
    return z


def sklearn_fit(z: Tensor, high: Tensor, params: MixtureParams) -> tuple[GaussianMixture, np.ndarray]:
    """scikit-learn's mixture from the M-step of a hard assignment, and its posterior of the smaller mean."""
    parts = [z[~high].numpy(), z[high].numpy()]
    variances = np.array([part.var() + params.reg_covar for part in parts])
    mixture = GaussianMixture(
        n_components=2, max_iter=params.max_iter, tol=params.tol, reg_covar=params.reg_covar,
        weights_init=np.array([len(part) / len(z) for part in parts]),
        means_init=np.array([[part.mean()] for part in parts]),
        precisions_init=(1 / variances).reshape(2, 1, 1),
    )  # fmt: skip
    mixture.fit(z.numpy()[:, None])
    return mixture, mixture.predict_proba(z.numpy()[:, None])[:, mixture.means_.argmin()]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("separated", [False, True])
def test_p_clean_equals_scikit_learn_from_the_same_start(separated: bool) -> None:
    rng = np.random.default_rng(11)
    for number in range(100):
        z = draw(rng, separated)
        reference, expected = sklearn_fit(z, two_means(z), PARAMS)
        mixture = fit_mixture(z, PARAMS)
        np.testing.assert_allclose(mixture.p_clean(z), expected, atol=1e-6, err_msg=f"draw {number}, {len(z)} values")
        assert (mixture.iterations, mixture.converged) == (reference.n_iter_, reference.converged_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("max_iter", "tol"), [(1, 1e-2), (3, 0.0), (200, 1e-9)])
def test_the_stopping_rule_is_that_of_scikit_learn(max_iter: int, tol: float) -> None:
    z = draw(np.random.default_rng(5), separated=False)
    params = MixtureParams(max_iter=max_iter, tol=tol, reg_covar=1e-3)
    reference, expected = sklearn_fit(z, two_means(z), params)
    mixture = fit_mixture(z, params)
    np.testing.assert_allclose(mixture.p_clean(z), expected, atol=1e-6)
    assert (mixture.iterations, mixture.converged) == (reference.n_iter_, reference.converged_)


def test_the_split_of_separated_losses_equals_that_of_scikit_learn_with_its_own_start() -> None:
    z = draw(np.random.default_rng(3), separated=True)
    other = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(z.numpy()[:, None])
    expected = other.predict_proba(z.numpy()[:, None])[:, other.means_.argmin()] > 0.5
    assert ((fit_mixture(z, PARAMS).p_clean(z).numpy() > 0.5) == expected).mean() >= 0.99


def within_squares(z: np.ndarray, high: np.ndarray) -> float:
    return sum(float(((part - part.mean()) ** 2).sum()) for part in (z[high], z[~high]) if len(part))


@pytest.mark.parametrize("count", [2, 3, 7, 11])
def test_two_means_is_the_best_of_all_bipartitions(count: int) -> None:
    rng = np.random.default_rng(count)
    for digits in (1, 2, 12):
        z = np.round(rng.random(count), digits)
        if len(np.unique(z)) < 2:
            continue
        best = min(within_squares(z, np.array(cut)) for cut in itertools.product([False, True], repeat=count))
        found = two_means(torch.from_numpy(z)).numpy()
        assert within_squares(z, found) == pytest.approx(best, abs=1e-12)
        assert z[found].min() > z[~found].max()


def test_two_means_keeps_equal_values_together() -> None:
    z = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])
    assert two_means(z).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("seed", range(3))
def test_p_clean_is_permutation_equivariant(seed: int) -> None:
    z = draw(np.random.default_rng(seed), separated=False)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(fit_two_components(z[order]), fit_two_components(z)[order], rtol=0, atol=1e-9)


def test_normalised_losses_span_zero_to_one_and_keep_their_order() -> None:
    losses = torch.tensor([3.0, -1.0, 0.5, 7.0])
    z = normalise(losses)
    assert z is not None and z.dtype == torch.float64
    assert (float(z.min()), float(z.max())) == (0.0, 1.0)
    torch.testing.assert_close(z, torch.tensor([0.5, 0.0, 0.1875, 1.0], dtype=torch.float64))


def test_p_clean_does_not_depend_on_the_scale_or_offset_of_losses() -> None:
    losses = draw(np.random.default_rng(8), separated=False)
    torch.testing.assert_close(fit_two_components(5 + 3 * losses), fit_two_components(losses), rtol=0, atol=1e-9)


def test_the_first_component_has_the_smaller_mean_whatever_the_start() -> None:
    z = draw(np.random.default_rng(2), separated=True)
    high = two_means(z)
    usual, swapped = fit_mixture(z, PARAMS, high), fit_mixture(z, PARAMS, ~high)
    for mixture in (usual, swapped):
        assert mixture.means[0] < mixture.means[1]
    torch.testing.assert_close(usual.p_clean(z), swapped.p_clean(z), rtol=0, atol=1e-12)


def test_posteriors_are_probabilities_that_sum_to_one() -> None:
    z = draw(np.random.default_rng(4), separated=False)
    mixture = fit_mixture(z, PARAMS)
    posterior = mixture.log_joint(z).softmax(dim=1)
    torch.testing.assert_close(posterior.sum(dim=1), torch.ones(len(z), dtype=torch.float64))
    torch.testing.assert_close(mixture.p_clean(z), posterior[:, 0])
    assert bool(((posterior >= 0) & (posterior <= 1)).all())
    assert float(mixture.weights.sum()) == pytest.approx(1)


def test_log_joint_is_the_weighted_normal_density() -> None:
    parts = (torch.tensor(pair, dtype=torch.float64) for pair in ([0.3, 0.7], [0.1, 0.8], [0.04, 0.09]))
    mixture = Mixture(*parts, iterations=1, converged=True)
    z = torch.tensor([0.2, 0.9], dtype=torch.float64)
    for k in (0, 1):
        density = torch.distributions.Normal(mixture.means[k], mixture.variances[k].sqrt()).log_prob(z)
        torch.testing.assert_close(mixture.log_joint(z)[:, k], density + mixture.weights[k].log())


@pytest.mark.parametrize(
    "losses",
    [[1.0, 1.0, 1.0], [2.0], [1.0, float("nan"), 2.0], [1.0, float("inf"), 2.0], [1.0, 1.0 + 1e-13]],
)
def test_constant_and_non_finite_losses_give_one_half(losses: list[float]) -> None:
    values = torch.tensor(losses, dtype=torch.float64)
    assert normalise(values) is None
    assert fit_two_components(values).tolist() == [0.5] * len(losses)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_in_gives_numpy_out_and_tensor_in_gives_tensor_out(dtype: type) -> None:
    losses = np.random.default_rng(0).gamma(2.0, size=400).astype(dtype)
    kept = losses.copy()
    from_numpy, from_tensor = fit_two_components(losses), fit_two_components(torch.from_numpy(losses))
    assert isinstance(from_numpy, np.ndarray) and isinstance(from_tensor, Tensor)
    np.testing.assert_array_equal(from_numpy, from_tensor.numpy())
    np.testing.assert_array_equal(losses, kept)
    assert isinstance(fit_two_components(np.ones(3)), np.ndarray)


def test_a_reversed_numpy_view_is_accepted() -> None:
    losses = np.random.default_rng(0).gamma(2.0, size=400)
    np.testing.assert_allclose(fit_two_components(losses[::-1]), fit_two_components(losses)[::-1], atol=1e-9)


def test_two_clear_groups_are_told_apart_even_when_very_unequal() -> None:
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(0.1, 0.02, 4950), rng.normal(3.0, 0.1, 50)])
    p_clean = fit_two_components(losses)
    assert p_clean[:4950].min() > 0.99 and p_clean[4950:].max() < 0.01
