"""Contrastive losses: closed forms, and the chunked form against the dense one, values and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.kernels.contrastive import contrastive
from nlkit.parts.contrast import nt_xent, supcon

TAU = 0.25


def unit(rows: int, dim: int = 16, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def pairs(rows: int) -> Tensor:
    index = torch.arange(rows)
    return index == ((index + rows // 2) % rows)[:, None]


def random_mask(rows: int) -> Tensor:
    """Not symmetric; some rows have no positive, some have all."""
    mask = torch.rand(rows, rows, generator=torch.Generator().manual_seed(1)) < 0.1
    mask[::7] = False
    mask[-1] = True
    return mask


def same_label(rows: int) -> Tensor:
    labels = torch.arange(rows) % 5
    labels[0] = 99  # an anchor of a class of its own
    return labels[:, None] == labels


MASKS: list[Callable[[int], Tensor]] = [random_mask, same_label, lambda rows: torch.zeros(rows, rows, dtype=torch.bool)]


def with_gradient(loss: Callable[[Tensor], Tensor], z: Tensor, upstream: float) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    value = loss(z)
    (value * upstream).backward()
    assert z.grad is not None
    return value.detach(), z.grad


@pytest.mark.parametrize("rows", [1, 2, 63, 257])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("chunk", [1, 64, 1000])
def test_the_chunked_loss_and_its_gradient_are_those_of_the_dense_one(
    rows: int, mask: Callable[[int], Tensor], chunk: int
) -> None:
    if chunk == 1 and rows == 257:
        pytest.skip("as 63")
    positives, z = mask(rows), unit(rows)
    dense = with_gradient(lambda x: contrastive(x, positives, TAU), z, 3.7)
    ours = with_gradient(lambda x: supcon(x, lambda index: positives[index], TAU, chunk), z, 3.7)
    torch.testing.assert_close(ours[0], dense[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1], dense[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("rows", [2, 63, 257])
@pytest.mark.parametrize("mask", MASKS)
def test_a_weighted_loss_and_its_gradient_are_those_of_the_dense_one(rows: int, mask: Callable[[int], Tensor]) -> None:
    z = 1.3 * unit(rows)
    weights = mask(rows) * torch.rand(rows, rows, generator=torch.Generator().manual_seed(4))
    dense = with_gradient(lambda x: contrastive(x, weights, TAU), z, -2.3)
    ours = with_gradient(lambda x: supcon(x, lambda index: weights[index], TAU, 64), z, -2.3)
    torch.testing.assert_close(ours[0], dense[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1], dense[1], atol=1e-4, rtol=0)


def test_a_weighted_loss_is_the_mean_of_the_pulls_by_weight() -> None:
    """Against a double loop, in double precision."""
    z, weights = unit(8, 4).double(), torch.rand(8, 8, generator=torch.Generator().manual_seed(5)).double()
    expected = 0.0
    for i in range(8):
        others = [j for j in range(8) if j != i]
        total = math.log(sum(math.exp(float(z[i] @ z[j]) / TAU) for j in others))
        pulls = [float(weights[i, j]) * (total - float(z[i] @ z[j]) / TAU) for j in others]
        expected += sum(pulls) / sum(float(weights[i, j]) for j in others) / 8
    assert float(supcon(z, lambda index: weights[index], TAU, 3)) == pytest.approx(expected, abs=1e-12)
    ones = supcon(z, lambda index: torch.ones(len(index), 8), TAU)
    assert float(ones) == float(supcon(z, lambda index: torch.ones(len(index), 8, dtype=torch.bool), TAU))


@pytest.mark.parametrize("batch", [1, 31, 129])
def test_nt_xent_is_the_contrast_of_pairs(batch: int) -> None:
    z = 1.5 * unit(2 * batch)
    dense = with_gradient(lambda x: contrastive(x, pairs(2 * batch), TAU), z, -0.3)
    ours = with_gradient(lambda x: nt_xent(x[:batch], x[batch:], TAU, chunk=50), z, -0.3)
    torch.testing.assert_close(ours[0], dense[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1], dense[1], atol=1e-4, rtol=0)


def test_the_gradient_agrees_with_finite_differences_in_double_precision() -> None:
    positives = random_mask(9)
    z = unit(9, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supcon(x, lambda index: positives[index], TAU, 4), (z,))


def test_four_orthonormal_pairs_give_the_closed_form() -> None:
    views = torch.eye(4, 8)
    assert float(nt_xent(views, views, TAU)) == pytest.approx(math.log(math.exp(4) + 6) - 4, abs=1e-5)
    assert float(nt_xent(views, views, TAU)) == pytest.approx(0.10426, abs=5e-6)


def test_collapsed_rows_give_the_logarithm_of_the_number_of_others() -> None:
    views = torch.ones(4, 8) / math.sqrt(8)
    assert float(nt_xent(views, views, TAU)) == pytest.approx(math.log(7), abs=1e-5)


def test_the_two_views_are_treated_alike() -> None:
    a, b = unit(21, seed=1), unit(21, seed=2)
    torch.testing.assert_close(nt_xent(a, b, TAU), nt_xent(b, a, TAU), atol=1e-6, rtol=0)


def test_anchors_without_positives_do_not_count() -> None:
    z, positives = unit(12), torch.zeros(12, 12, dtype=torch.bool)
    positives[0, 5] = True
    similar = z[0] @ z.T / TAU
    others = torch.cat([similar[1:]]).logsumexp(dim=0)
    torch.testing.assert_close(supcon(z, lambda index: positives[index], TAU), others - similar[5])


def test_without_any_positive_loss_and_gradient_are_zero() -> None:
    value, gradient = with_gradient(
        lambda x: supcon(x, lambda i: torch.zeros(len(i), 6, dtype=torch.bool), TAU), unit(6), 1
    )
    assert float(value) == 0 and not bool(gradient.any())


def test_large_similarities_do_not_overflow() -> None:
    value, gradient = with_gradient(lambda x: nt_xent(x[:8], x[8:], 1e-3), 10 * unit(16), 1.0)
    assert bool(torch.isfinite(value)) and bool(torch.isfinite(gradient).all())


def test_half_precision_rows_are_compared_in_single_precision() -> None:
    z = unit(40).bfloat16()
    value, gradient = with_gradient(lambda x: nt_xent(x[:20], x[20:], TAU), z, 1.0)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, contrastive(z.float(), pairs(40), TAU), atol=1e-5, rtol=0)


def test_what_is_kept_and_what_is_made_at_once_grows_linearly() -> None:
    rows, dim, chunk, asked, kept = 300, 8, 32, [], []

    def positives(index: Tensor) -> Tensor:
        asked.append(len(index))
        return pairs(rows)[index]

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    z = unit(rows, dim).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = supcon(z, positives, TAU, chunk)
    loss.backward()
    assert max(asked) == chunk and sum(kept) <= rows * (dim + 2) + 1
