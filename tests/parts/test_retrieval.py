"""Nearest neighbours are those of the full matrix and their labels vote; coordinates are principal components."""

import numpy as np
import pytest
import tiny
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from nlkit.kernels.neighbours import naive
from nlkit.parts import features
from nlkit.parts.features import POINTS, nearest_others, places, vote_weights

N = 40


@pytest.mark.parametrize(("queries", "bank", "d"), [(63, 257, 5), (257, 63, 1), (1, 7, 33), (1025, 40, 3)])
@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize(("rows", "columns"), [(10, 13), (300, 130), (1024, 32768), (1, 1)])
def test_blocks_agree_with_the_full_matrix(queries: int, bank: int, d: int, k: int, rows: int, columns: int) -> None:
    q = torch.randn(min(queries, 70 if rows == 1 else queries), d, dtype=torch.float64)
    b = torch.randn(bank, d, dtype=torch.float64)
    expected, order = torch.cdist(q, b).topk(k, dim=1, largest=False)
    distances, index = naive.nearest(q, b, k, rows, columns)
    torch.testing.assert_close(distances, expected, atol=1e-7, rtol=1e-7)
    assert [set(row) for row in index.tolist()] == [set(row) for row in order.tolist()]
    assert (distances.diff(dim=1) >= 0).all()


def test_too_many_neighbours_and_none_are_refused() -> None:
    for k in (0, 6):
        with pytest.raises(ValueError, match="the bank has 5 rows"):
            features.nearest(torch.zeros(1, 3), torch.zeros(5, 3), k)


@pytest.fixture
def bank() -> Tensor:
    return torch.randn(N, 6, generator=tiny.stream(3))


@pytest.mark.parametrize("k", [0, 1, 7, N - 1])
def test_the_nearest_others_are_those_of_the_matrix_without_its_diagonal(bank: Tensor, k: int) -> None:
    distances, index = nearest_others(bank, bank, torch.arange(N), k)
    expected = torch.cdist(bank, bank).fill_diagonal_(torch.inf).topk(k, largest=False)
    torch.testing.assert_close(distances, expected.values, atol=1e-5, rtol=0)
    assert torch.equal(index, expected.indices)


def test_among_equal_rows_a_row_may_miss_itself_and_has_as_many_others() -> None:
    """All five rows are equal, so each list is any three; the own row is never among the two that are left."""
    distances, index = nearest_others(torch.zeros(5, 2), torch.zeros(5, 2), torch.arange(5), 2)
    assert index.shape == (5, 2) and not distances.any()
    assert all(number not in row and len(set(row)) == 2 for number, row in enumerate(index.tolist()))
    far = torch.tensor([[0.0], [1.0], [2.0], [9.0]])  # the own row, the last, is not among the nearest
    assert nearest_others(far[:1], far, torch.tensor([3]), 2)[1].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("mode", "exclude_self", "own"), [("online", False, 2), ("online", True, 1), ("precomputed", False, 1),
                                      ("precomputed", True, 0)],
)  # fmt: skip
def test_own_rows_are_candidates_as_often_as_modes_say(bank: Tensor, mode: str, exclude_self: bool, own: int) -> None:
    index = features.retrieve(bank, bank, torch.arange(N), 7, mode, exclude_self)
    assert index.shape == (N, 8)
    assert ((index == torch.arange(N)[:, None]).sum(dim=1) == own).all()
    others = nearest_others(bank, bank, torch.arange(N), 8 - own)[1]
    for row in range(N):
        assert set(index[row].tolist()) - {row} == set(others[row].tolist())


def test_counts_of_candidates_sum_to_k_plus_one_and_labels_are_drawn_and_weighed_by_them(bank: Tensor) -> None:
    index = features.retrieve(bank, bank, torch.arange(N), 10, "online", False)
    counts = features.count_votes(torch.arange(N) % 3, index, 3)
    assert (counts.sum(dim=1) == 11).all()
    drawn, votes = features.draw_labels(counts, 20_000, tiny.stream())
    assert torch.equal(votes, counts.gather(1, drawn)) and (votes > 0).all()
    frequencies = torch.nn.functional.one_hot(drawn, 3).double().mean(dim=1)
    torch.testing.assert_close(frequencies, counts / 11.0, atol=0.02, rtol=0, check_dtype=False)
    votes = torch.tensor([[3, 1], [7, 11]])  # weights sum to one and do not depend on the unit of the counts
    assert vote_weights(votes).flatten().tolist() == pytest.approx([3 / 22, 1 / 22, 7 / 22, 1 / 2])
    torch.testing.assert_close(vote_weights(5 * votes), vote_weights(votes))


def assert_up_to_signs(ours: Tensor, theirs: np.ndarray) -> None:
    for found, expected in zip(ours.numpy().T, theirs.T, strict=False):
        np.testing.assert_allclose(np.sign(found @ expected) * found, expected, atol=1e-4)


@pytest.mark.parametrize(("count", "dim"), [(50, 12), (9, 20), (30, 3)])
def test_coordinates_are_those_of_scikit_learn_up_to_the_sign(count: int, dim: int) -> None:
    z = torch.randn(count, dim) * torch.arange(1, dim + 1) ** -0.5
    ours, axes = torch.stack([*places(z).values()], dim=1), min(8, dim)
    assert ours.shape == (count, axes)
    assert_up_to_signs(ours, PCA(min(axes, count - 1)).fit_transform(z.double().numpy()))


@pytest.mark.parametrize(("classes", "dim"), [(5, 12), (3, 2), (20, 12)])
def test_points_around_prototypes_lie_along_the_principal_axes_of_these(classes: int, dim: int) -> None:
    v, mu = torch.randn(40, dim), torch.randn(classes, dim)
    points, centres = features.around_prototypes(v, mu, axes=2)
    reference = PCA(2).fit(mu.numpy())
    assert_up_to_signs(torch.cat([points, centres]), reference.transform(torch.cat([v, mu]).numpy()))
    _, every = features.around_prototypes(v, mu, axes=100)
    assert every.shape[1] == min(classes - 1, dim)
    torch.testing.assert_close(torch.cdist(every, every), torch.cdist(mu, mu), atol=1e-4, rtol=1e-4)


def test_only_the_first_samples_have_places() -> None:
    found = places(torch.randn(POINTS + 5, 3), "start")
    assert sorted(found) == ["start_1", "start_2", "start_3"]
    assert all(int(column.isnan().sum()) == 5 and bool(column[POINTS:].isnan().all()) for column in found.values())
