"""Features: what frozen encoders make of images, and say when something is missing; who is near; where points lie.

Nearest neighbours are those of the full matrix and their labels vote; coordinates are principal components.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from fuzzing import refused
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional

from nlkit import NlkitError
from nlkit.data.problem import Problem
from nlkit.kernels.neighbours import naive
from nlkit.models import build_model
from nlkit.params import Params
from nlkit.parts import features, frozen
from nlkit.parts.features import POINTS, nearest_others, places, vote_weights
from nlkit.training import encoders


@pytest.fixture
def problem() -> Problem:
    return tiny.problem(count=40)


def encoder(problem: Problem, params: Params, tensors: dict[str, Tensor] | None = None) -> Any:
    return frozen.frozen_encoder(params.method.encoder, replace(problem.train, encoder=tensors), params)


def inputs(problem: Problem) -> Tensor:
    return ((problem.train.images / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)


def test_the_same_images_are_encoded_once(problem: Problem) -> None:
    calls: list[int] = []

    def encode(views: Tensor) -> Tensor:
        calls.append(len(views))
        return views.flatten(1)

    one = frozen.NetworkEncoder(encode, problem.train, tiny.params("lra_diffusion", **{"training.eval_batch_size": 30}))
    images = problem.train.images
    first = one.images(images)
    assert torch.equal(one.images(images.clone()), first) and calls == [2, 30, 10]
    assert torch.equal(one.images(images.flip(0)), first.flip(0))


def test_keys_tell_images_apart_and_depend_on_every_byte() -> None:
    images = torch.zeros(1537, 16, 32, 3, dtype=torch.uint8)
    images.view(1537, -1)[torch.arange(1536), torch.arange(1536)] = 255
    keys = frozen.image_keys(images)
    assert len(set(keys.tolist())) == 1537
    assert torch.equal(keys, torch.cat([frozen.image_keys(part) for part in images.split(1000)]))


def file_params(folder: Path, train: np.ndarray, test: np.ndarray) -> Params:
    np.save(folder / "train.npy", train)
    np.savez(folder / "test.npz", features=test, other=np.zeros(3))
    paths = {"kind": "file", "train": str(folder / "train.npy"), "test": str(folder / "test.npz")}
    own = {"method.encoder": paths, "method.query": "cached", "method.bank": "plain"}
    return tiny.params("lra_diffusion", **own)


def test_a_file_gives_each_image_its_row_in_any_order(problem: Problem, tmp_path: Path) -> None:
    train, test = (np.random.default_rng(0).random((count, 5), np.float32) for count in (40, 30))
    params = file_params(tmp_path, train, test)
    one = encoder(problem, params, params.method.given_tensors(problem, tmp_path, cut=False))
    order = torch.randperm(40)
    np.testing.assert_array_equal(one.images(problem.train.images[order]), train[order])
    np.testing.assert_array_equal(one.images(problem.tests["test"][0]), test)
    assert one.features == 5
    with pytest.raises(NlkitError, match="1 of 2 images have no features"):
        one.images(torch.cat([problem.train.images[:1], 255 - problem.train.images[:1]]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((39, 5), np.float32), r"key 'method\.encoder.*39 rows; there are 40 images"),
        (np.zeros((41, 5), np.float32), r"key 'method\.encoder.*41 rows; there are 40 images"),
        (np.zeros((40, 6), np.float32), r"key 'method\.encoder.*6 and 5 columns"),
        (np.full((40, 5), np.nan, np.float32), r"key 'method\.encoder.*row 0 is not finite"),
        (b"\x93NUMPY damaged", r"key 'method\.encoder\.train': .*not a .npy array"),
        (None, r"key 'method\.encoder\.train': .*train.npy: no such file"),
    ],
)
def test_features_that_do_not_fit_are_refused(content: Any, words: str, problem: Problem, tmp_path: Path) -> None:
    params = file_params(tmp_path, content if isinstance(content, np.ndarray) else np.zeros(0), np.zeros((30, 5)))
    if isinstance(content, bytes):
        (tmp_path / "train.npy").write_bytes(content)
    elif content is None:
        (tmp_path / "train.npy").unlink()
    refused(lambda: params.method.given_tensors(problem, tmp_path, cut=False), f"^{words}")


def test_a_simclr_run_gives_unit_features_of_its_encoder_and_needs_its_weights_and_parameters(problem: Problem) -> None:
    reference = {"kind": "simclr", "params": str(tiny.ROOT / "params/simclr/digits.yaml")}
    params = tiny.params("lra_diffusion", **{"method.encoder": reference})
    referred = encoders.referred(params)
    assert referred is not None and referred.paper == "simclr"
    net = build_model(referred.model, 1, 3, seed=5).eval()
    net.classifier = torch.nn.Identity()
    one = encoder(problem, params, {f"encoder.{name}": value for name, value in net.state_dict().items()})
    expected = functional.normalize(net(inputs(problem)), dim=1)
    torch.testing.assert_close(one.images(problem.train.images), expected)
    assert not one.views(inputs(problem)).requires_grad and one.features == expected.shape[1]
    refused(lambda: encoder(problem, params), r"nlkit\.run provides it")
    nowhere = tiny.params("lra_diffusion", **{"method.encoder": reference | {"params": "nowhere.yaml"}})
    refused(lambda: encoders.referred(nowhere), "key 'method.encoder.params' is 'nowhere.yaml'")


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
    frequencies = functional.one_hot(drawn, 3).double().mean(dim=1)
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
