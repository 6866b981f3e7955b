"""Coordinates for figures are those of a principal component analysis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from nlkit.parts.geometry import POINTS, places, principal


@pytest.mark.parametrize(("count", "dim"), [(50, 12), (9, 20), (30, 3)])
def test_coordinates_are_those_of_scikit_learn_up_to_the_sign(count: int, dim: int) -> None:
    features = torch.randn(count, dim) * torch.arange(1, dim + 1) ** -0.5
    ours, axes = principal(features).numpy(), min(8, dim)
    assert ours.shape == (count, axes)
    theirs = PCA(min(axes, count - 1)).fit_transform(features.double().numpy())
    for axis in range(theirs.shape[1]):
        sign = np.sign(np.sum(ours[:, axis] * theirs[:, axis]))
        np.testing.assert_allclose(ours[:, axis], sign * theirs[:, axis], atol=1e-4)


def test_only_the_first_samples_have_places() -> None:
    found = places(torch.randn(POINTS + 5, 3), "start")
    assert sorted(found) == ["start_1", "start_2", "start_3"]
    assert all(int(column.isnan().sum()) == 5 and bool(column[POINTS:].isnan().all()) for column in found.values())
