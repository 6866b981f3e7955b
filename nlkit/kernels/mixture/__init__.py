"""Expectation maximisation (EM) for mixtures of two Gaussians over the values of a row, for many rows."""

from nlkit.kernels import form
from nlkit.kernels.mixture.naive import Mixture as Mixture
from nlkit.lazy import Tensor


def em(values: Tensor, inside: Tensor, high: Tensor, max_iter: int, tol: float, reg_covar: float) -> Mixture:
    """EM for each row of values [K, n] by itself, from the hard assignment `high` [K, n] to the upper component.

    values: float64; inside: bool [K, n], which of them are real, since rows may differ in length. The steps and the
    stopping rule are those of scikit-learn's GaussianMixture: stop when the mean log-likelihood of a row changes by
    less than `tol`, or after `max_iter` iterations. Returns K mixtures, the smaller mean first.
    """
    return Mixture(*form("mixture", values.device).em(values, inside, high, max_iter, tol, reg_covar))
