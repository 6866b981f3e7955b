"""Which rows of a batch are positives of which, for contrastive losses."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nlkit.parts.contrast import Positives

NO_CLASS = -1
"""The class of a row that takes part without one."""

Variant = Literal["self", "sup", "sup_pseudo"]


def same_image_or_class(source: Tensor, classes: Tensor, confidence: Tensor | None = None) -> Positives:
    """Rows i and j are positives if they are views of one image, or of one class; rows without a class have none.

    source, classes: int64 [n], the number of the image and of its class (NO_CLASS for none). With confidence [n] a
    pair of one class and two images weighs the product of both confidences, and views of one image weigh one.
    """

    def mask(index: Tensor) -> Tensor:
        image = source[index, None] == source
        chosen = image | ((classes[index, None] == classes) & (classes != NO_CLASS))
        if confidence is None:
            return chosen
        weights = torch.where(image, 1.0, confidence[index, None] * confidence)
        return weights.masked_fill(~chosen, 0.0)

    return mask


def contrast_classes(variant: Variant, refined: Tensor, guess: Tensor, tau_p: float) -> Tensor:
    """The class int64 [B_x + B_u] of each image in the contrastive loss, from targets [B_x, C] and [B_u, C].

    self: none has a class. sup: a labelled image has the class of its refined target. sup_pseudo: an unlabelled one
    too has that of its guessed target, where that is at least tau_p sure.
    """
    confidence, guessed = guess.max(dim=1) if len(guess) else (guess.new_zeros(0), torch.zeros_like(guess[:, 0]).long())
    unlabelled = torch.where((confidence >= tau_p) & (variant == "sup_pseudo"), guessed, NO_CLASS)
    labelled = refined.argmax(dim=1)
    return torch.cat([torch.full_like(labelled, NO_CLASS) if variant == "self" else labelled, unlabelled])


def contrast_confidence(refined: Tensor, guess: Tensor) -> Tensor:
    """Confidence [B_x + B_u] of the class of each image: one for a labelled image, the largest guess for the others."""
    sure = torch.ones_like(refined[:, 0])
    return torch.cat([sure, guess.amax(dim=1) if len(guess) else sure[:0]])
