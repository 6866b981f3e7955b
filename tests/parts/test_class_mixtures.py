"""A mixture for each class at once equals one mixture after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nlkit.params.sections import MixtureParams
from nlkit.parts.class_mixtures import p_clean_per_class
from nlkit.parts.mixture import fit_mixture

PARAMS = MixtureParams(max_iter=100, tol=1e-3, reg_covar=1e-6)


def draw(counts: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Values in 0..1 of two humps that lie elsewhere in each class, in random order."""
    rng = np.random.default_rng(seed)
    values, labels = [], []
    for number, count in enumerate(counts):
        low = int(count * rng.uniform(0.3, 0.7))
        gap = rng.uniform(0.1, 0.6)
        values += [*rng.normal(0.1, 0.04, low), *rng.normal(0.1 + gap, 0.08, count - low)]
        labels += [number] * count
    order = torch.from_numpy(rng.permutation(len(values)))
    return torch.tensor(values).clamp(0, 1)[order], torch.tensor(labels)[order]


def one_by_one(z: Tensor, labels: Tensor, classes: int, params: MixtureParams) -> Tensor:
    result = torch.full((len(z),), 0.5, dtype=torch.float64)
    for number in range(classes):
        mine = labels == number
        if len(z[mine].unique()) > 1:
            result[mine] = fit_mixture(z[mine], params).p_clean(z[mine])
    return result


@pytest.mark.parametrize("params", [PARAMS, MixtureParams(), MixtureParams(max_iter=1), MixtureParams(tol=0)])
@pytest.mark.parametrize("counts", [[200, 37, 500, 64], [300], [3, 2, 100, 5]])
def test_all_classes_at_once_are_as_one_after_the_other(counts: list[int], params: MixtureParams) -> None:
    z, labels = draw(counts)
    ours = p_clean_per_class(z, labels, len(counts), params)
    torch.testing.assert_close(ours, one_by_one(z, labels, len(counts), params), atol=1e-9, rtol=0)


def test_a_hundred_classes_of_cifar_100s_size() -> None:
    z, labels = draw([int(count) for count in np.random.default_rng(1).integers(380, 620, 100)])
    ours = p_clean_per_class(z, labels, 100, PARAMS)
    torch.testing.assert_close(ours, one_by_one(z, labels, 100, PARAMS), atol=1e-4, rtol=0)


def test_classes_that_cannot_be_separated_give_one_half() -> None:
    z = torch.tensor([0.1, 0.9, 0.4, 0.4, 0.4, 0.7])
    labels = torch.tensor([0, 0, 1, 1, 1, 3])  # class 2 has no sample, class 3 one, class 1 equal ones
    ours = p_clean_per_class(z, labels, 4, PARAMS)
    assert ours[2:].tolist() == [0.5] * 4
    assert float(ours[0]) > 0.99 and float(ours[1]) < 0.01


def test_one_sample_gives_one_half() -> None:
    assert p_clean_per_class(torch.tensor([0.3]), torch.tensor([1]), 2, PARAMS).tolist() == [0.5]


def test_other_names_of_the_classes_change_nothing() -> None:
    z, labels = draw([100, 150, 60])
    ours = p_clean_per_class(z, labels, 3, PARAMS)
    torch.testing.assert_close(p_clean_per_class(z, 2 - labels, 3, PARAMS), ours, atol=1e-12, rtol=0)
