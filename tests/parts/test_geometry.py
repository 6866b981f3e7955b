"""Coordinates for figures are those of a principal component analysis."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from nlkit.parts.features import POINTS, around_prototypes, places


def assert_up_to_signs(ours: Tensor, theirs: np.ndarray) -> None:
    for found, expected in zip(ours.numpy().T, theirs.T, strict=False):
        np.testing.assert_allclose(np.sign(found @ expected) * found, expected, atol=1e-4)


@pytest.mark.parametrize(("count", "dim"), [(50, 12), (9, 20), (30, 3)])
def test_coordinates_are_those_of_scikit_learn_up_to_the_sign(count: int, dim: int) -> None:
    features = torch.randn(count, dim) * torch.arange(1, dim + 1) ** -0.5
    ours, axes = torch.stack([*places(features).values()], dim=1), min(8, dim)
    assert ours.shape == (count, axes)
    assert_up_to_signs(ours, PCA(min(axes, count - 1)).fit_transform(features.double().numpy()))


@pytest.mark.parametrize(("classes", "dim"), [(5, 12), (3, 2), (20, 12)])
def test_points_around_prototypes_lie_along_the_principal_axes_of_these(classes: int, dim: int) -> None:
    v, mu = torch.randn(40, dim), torch.randn(classes, dim)
    points, centres = around_prototypes(v, mu, axes=2)
    reference = PCA(2).fit(mu.numpy())
    assert_up_to_signs(torch.cat([points, centres]), reference.transform(torch.cat([v, mu]).numpy()))
    _, every = around_prototypes(v, mu, axes=100)
    assert every.shape[1] == min(classes - 1, dim)
    torch.testing.assert_close(torch.cdist(every, every), torch.cdist(mu, mu), atol=1e-4, rtol=1e-4)


def test_only_the_first_samples_have_places() -> None:
    found = places(torch.randn(POINTS + 5, 3), "start")
    assert sorted(found) == ["start_1", "start_2", "start_3"]
    assert all(int(column.isnan().sum()) == 5 and bool(column[POINTS:].isnan().all()) for column in found.values())
