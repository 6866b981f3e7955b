"""Losses that papers share: contrastive ones against the textbook's matrix, who is whose positive, entropies, ramps."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from torch.autograd.functional import vjp
from torch.nn import functional

from nlkit.kernels.soft_losses import naive as soft_losses
from nlkit.methods.codim import Variant, contrast_classes, contrast_confidence, same_image_or_class
from nlkit.parts import semi
from nlkit.parts.features import nt_xent, supcon

TAU = 0.25
VARIANTS: list[Variant] = ["self", "sup", "sup_pseudo"]
X, U, CLASSES = 7, 9, 3


def contrastive(z: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """The loss of `supcon` as cross-entropy towards the positives, with whatever gradient autograd makes of it."""
    itself = torch.eye(len(z), dtype=torch.bool)
    chosen = positives.masked_fill(itself, 0).to(z.dtype)
    similar = (z @ z.T / temperature).masked_fill(itself, -1e9)
    anchors = (chosen > 0).any(dim=1)
    shares = chosen[anchors] / chosen[anchors].sum(dim=1, keepdim=True)
    return functional.cross_entropy(similar[anchors], shares, reduction="sum") / anchors.sum().clamp_min(1)


def unit(rows: int, dim: int = 16, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(rows, dim, generator=tiny.stream(seed)), dim=1)


def pairs(rows: int) -> Tensor:
    return torch.eye(rows).roll(rows // 2, 0) > 0


def random_mask(rows: int) -> Tensor:
    """Not symmetric; some rows have no positive, some have all."""
    mask = torch.rand(rows, rows, generator=tiny.stream(1)) < 0.1
    mask[::7] = False
    mask[-1] = True
    return mask


def same_label(rows: int) -> Tensor:
    labels = torch.arange(rows) % 5
    labels[0] = 99  # an anchor of a class of its own
    return labels[:, None] == labels


def nobody(rows: int) -> Tensor:
    return torch.zeros(rows, rows, dtype=torch.bool)


def assert_same(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], z: Tensor, up: float) -> None:
    (value, gradient), expected = (vjp(loss, z, torch.tensor(up)) for loss in (ours, theirs))
    torch.testing.assert_close(value, expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(gradient, expected[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("rows", [1, 2, 63, 257])
@pytest.mark.parametrize("mask", [random_mask, same_label, nobody])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_are_textbook(rows: int, mask: Callable[[int], Tensor], weighted: bool) -> None:
    positives = mask(rows) * torch.rand(rows, rows, generator=tiny.stream(4)) if weighted else mask(rows)
    assert_same(lambda x: supcon(x, positives, TAU), lambda x: contrastive(x, positives, TAU), 1.3 * unit(rows), 3.7)
    assert float(supcon(unit(rows), mask(rows).float(), TAU)) == float(supcon(unit(rows), mask(rows), TAU))


@pytest.mark.parametrize("batch", [1, 31, 129])
def test_nt_xent_is_the_contrast_of_pairs_and_treats_both_views_alike(batch: int) -> None:
    def ours(z: Tensor) -> Tensor:
        return nt_xent(z[:batch], z[batch:], TAU)

    z = 1.5 * unit(2 * batch)
    assert_same(ours, lambda x: contrastive(x, pairs(2 * batch), TAU), z, -0.3)
    torch.testing.assert_close(ours(z.roll(batch, 0)), ours(z), atol=1e-6, rtol=0)


def test_large_similarities_do_not_overflow_and_half_precision_is_compared_in_single() -> None:
    value, gradient = vjp(lambda x: nt_xent(x[:8], x[8:], 1e-3), 10 * unit(16))
    assert bool(torch.isfinite(value)) and bool(torch.isfinite(gradient).all())
    z = unit(40).bfloat16()
    value, gradient = vjp(lambda x: nt_xent(x[:20], x[20:], TAU), z)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, contrastive(z.float(), pairs(40), TAU), atol=1e-5, rtol=0)


def targets() -> tuple[Tensor, Tensor]:
    stream = tiny.stream(2)
    refined = torch.rand(X, CLASSES, generator=stream)
    guess = (6 * torch.rand(U, CLASSES, generator=stream)).softmax(dim=1)
    guess[0] = torch.tensor([0.9, 0.06, 0.04])  # exactly the threshold
    return refined / refined.sum(dim=1, keepdim=True), guess


def mask(variant: Variant, tau_p: float = 0.9, confident: bool = False) -> Tensor:
    """The positives [n, n] of two views of each image."""
    refined, guess = targets()
    classes = contrast_classes(variant, refined, guess, tau_p).repeat(2)
    confidence = contrast_confidence(refined, guess).repeat(2) if confident else None
    return same_image_or_class(torch.arange(X + U).repeat(2), classes, confidence)


def oracle(variant: Variant, tau_p: float) -> Tensor:
    """The same by a double loop over pairs."""
    refined, guess = targets()

    def label(i: int) -> int | None:
        if i < X:
            return None if variant == "self" else int(refined[i].argmax())
        sure = variant == "sup_pseudo" and float(guess[i - X].max()) >= tau_p
        return int(guess[i - X].argmax()) if sure else None

    rows = [*range(X + U)] * 2
    return torch.tensor([[a == b or (label(a) is not None and label(a) == label(b)) for b in rows] for a in rows])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tau_p", [0.0, 0.9, 1.0])
def test_the_positives_are_those_of_a_double_loop(variant: Variant, tau_p: float) -> None:
    found = mask(variant, tau_p)
    assert torch.equal(found, oracle(variant, tau_p))
    assert torch.equal(found, found.T) and bool((found | ~mask("self")).all())
    assert float(supcon(torch.eye(len(found)), found, 0.3)) == pytest.approx(math.log(len(found) - 1), abs=1e-5)


def test_the_weight_of_a_pair_is_the_product_of_both_confidences_and_that_of_two_views_one() -> None:
    refined, guess = targets()
    confidence = contrast_confidence(refined, guess).repeat(2)
    assert confidence[:X].tolist() == [1.0] * X and torch.equal(confidence[X : X + U], guess.amax(dim=1))
    image = torch.arange(X + U).repeat(2)
    expected = torch.where(image[:, None] == image, 1.0, confidence[:, None] * confidence)
    assert torch.equal(mask("sup_pseudo", 0.0, confident=True), expected * mask("sup_pseudo", 0.0))


@pytest.mark.parametrize(("alpha", "mean"), [(4.0, 0.637), (1.0, 0.75), (0.5, 0.818)])
def test_the_mixing_share_is_a_folded_beta_variable(alpha: float, mean: float) -> None:
    stream = np.random.default_rng(0)
    shares = [semi.mixing_share(stream, alpha) for _ in range(4000)]
    assert min(shares) >= 0.5 and max(shares) <= 1
    assert sum(shares) / len(shares) == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize(
    ("logits", "entropy", "marginal"),
    [
        (torch.zeros(10, 5), -math.log(5), -math.log(5)),
        (200 * torch.eye(5).repeat(2, 1), 0, -math.log(5)),
        (1e4 * torch.eye(5), 0, -math.log(5)),
        (200 * torch.eye(5)[[0] * 10], 0, 0),
    ],
    ids=["uniform", "balanced", "sure", "constant"],
)
def test_entropies_have_closed_forms_and_finite_gradients(logits: Tensor, entropy: float, marginal: float) -> None:
    assert float(semi.negative_entropy(logits)) == pytest.approx(entropy, abs=1e-5)
    assert float(semi.negative_marginal_entropy(logits)) == pytest.approx(marginal, abs=1e-5)
    for loss in (semi.negative_entropy, semi.negative_marginal_entropy, soft_losses.prior_penalty):
        assert math.isfinite(float(loss(logits))) and bool(vjp(loss, logits)[1].isfinite().all())


def test_the_ramp_is_linear_over_sixteen_epochs() -> None:
    expected = {0: 0, 9.99: 0, 10: 0, 10 + 200 / 400: 0.78125, 18: 12.5, 25.9: 24.84375, 26: 25, 300: 25}
    assert {time: 25 * semi.ramp(time, start=10, length=16) for time in expected} == pytest.approx(expected)
