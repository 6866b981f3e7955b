"""Positives of the contrastive loss: who pulls whom, and what the loss then is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.parts.contrast import supcon
from nlkit.parts.positives import NO_CLASS, Variant, contrast_classes, contrast_confidence, same_image_or_class

VARIANTS: list[Variant] = ["self", "sup", "sup_pseudo"]
X, U, CLASSES = 7, 9, 3


def targets() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(2)
    refined = torch.rand(X, CLASSES, generator=stream)
    guess = (6 * torch.rand(U, CLASSES, generator=stream)).softmax(dim=1)
    guess[0] = torch.tensor([0.9, 0.06, 0.04])  # exactly the threshold
    return refined / refined.sum(dim=1, keepdim=True), guess


def mask(variant: Variant, tau_p: float = 0.9, weighted: bool = False) -> Tensor:
    """The whole matrix [n, n] for two views of each image."""
    refined, guess = targets()
    classes = contrast_classes(variant, refined, guess, tau_p).repeat(2)
    confidence = contrast_confidence(refined, guess).repeat(2) if weighted else None
    source = torch.arange(X + U).repeat(2)
    return same_image_or_class(source, classes, confidence)(torch.arange(len(source)))


def oracle(variant: Variant, tau_p: float = 0.9) -> Tensor:
    refined, guess = targets()
    rows = [(i, "x" if i < X else "u") for i in range(X + U)] * 2

    def label(row: tuple[int, str]) -> int | None:
        i, side = row
        if side == "x":
            return None if variant == "self" else int(refined[i].argmax())
        sure = variant == "sup_pseudo" and float(guess[i - X].max()) >= tau_p
        return int(guess[i - X].argmax()) if sure else None

    same = [[a[0] == b[0] or (label(a) is not None and label(a) == label(b)) for b in rows] for a in rows]
    return torch.tensor(same)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tau_p", [0.0, 0.9, 1.0])
def test_the_mask_is_that_of_a_double_loop(variant: Variant, tau_p: float) -> None:
    assert torch.equal(mask(variant, tau_p), oracle(variant, tau_p))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_mask_is_symmetric_and_contains_the_other_view(variant: Variant) -> None:
    found = mask(variant)
    assert torch.equal(found, found.T) and bool((found | ~mask("self")).all())


def test_a_row_without_a_class_has_its_other_view_only() -> None:
    others = ~torch.eye(2 * (X + U), dtype=torch.bool)
    guess = targets()[1]
    unlabelled = torch.cat([torch.zeros(X), torch.ones(U)]).repeat(2) == 1
    assert (mask("self") & others).sum(dim=1).eq(1).all()
    assert (mask("sup") & others)[unlabelled].sum(dim=1).eq(1).all()
    unsure = unlabelled.clone()
    unsure[unlabelled] = (guess.amax(dim=1) < 0.9).repeat(2)
    assert 0 < int(unsure.sum()) < int(unlabelled.sum())
    assert (mask("sup_pseudo") & others)[unsure].sum(dim=1).eq(1).all()


def loss(classes: Tensor, images: int = 6, confidence: Tensor | None = None) -> Tensor:
    z = functional.normalize(torch.randn(2 * images, 8, generator=torch.Generator().manual_seed(0)), dim=1).double()
    return supcon(z, same_image_or_class(torch.arange(images).repeat(2), classes.repeat(2), confidence), 0.5)


def test_distinct_classes_are_no_classes_and_one_class_makes_all_rows_positives() -> None:
    assert torch.equal(loss(torch.arange(6)), loss(torch.full((6,), NO_CLASS)))
    one = same_image_or_class(torch.arange(6).repeat(2), torch.zeros(12, dtype=torch.int64))(torch.arange(12))
    assert one.all()


def test_sure_pairs_weigh_as_much_as_without_weights_and_views_of_one_image_always_do() -> None:
    classes = torch.tensor([0, 0, 1, 1, NO_CLASS, 0])
    torch.testing.assert_close(loss(classes, confidence=torch.ones(12)), loss(classes), rtol=0, atol=1e-12)
    assert not torch.allclose(loss(classes, confidence=torch.full((12,), 0.3)), loss(classes))
    alone = torch.full((6,), NO_CLASS)
    torch.testing.assert_close(loss(alone, confidence=torch.full((12,), 0.3)), loss(alone), rtol=0, atol=1e-12)


def test_the_weight_of_a_pair_is_the_product_of_both_confidences() -> None:
    guess, weights = targets()[1], mask("sup_pseudo", tau_p=0.0, weighted=True)
    chosen = mask("sup_pseudo", tau_p=0.0)
    for i in range(U):
        for j in range(U):
            expected = 1.0 if i == j else float(guess[i].max() * guess[j].max())
            if chosen[X + i, X + j]:
                assert float(weights[X + i, X + j]) == pytest.approx(expected)
    assert torch.equal(weights > 0, chosen) and float(weights[:X, :X].max()) == 1


def test_two_images_at_right_angles() -> None:
    z = torch.eye(2).repeat(2, 1)
    mask_of = same_image_or_class(torch.tensor([0, 1, 0, 1]), torch.full((4,), NO_CLASS))
    assert float(supcon(z, mask_of, 1.0)) == pytest.approx(-1 + math.log(math.e + 2), abs=1e-6)
    assert float(supcon(z, mask_of, 1.0)) == pytest.approx(0.5514, abs=5e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_orthonormal_rows_cost_the_logarithm_of_the_others(variant: Variant) -> None:
    rows = 2 * (X + U)
    found = supcon(torch.eye(rows), lambda index: mask(variant)[index], 0.3)
    assert float(found) == pytest.approx(math.log(rows - 1), abs=1e-5)
