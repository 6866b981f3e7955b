"""Contrastive semi-supervised learning: what CoDiM adds to the step of MixMatch."""

from __future__ import annotations

import torch
from torch import Tensor

from nlkit.codim_params import CoDiMParams
from nlkit.contrast import supcon
from nlkit.contrastive import ContrastiveLearner
from nlkit.positives import contrast_classes, contrast_confidence, same_image_or_class


def contrastive_loss(
    net: ContrastiveLearner,
    first: Tensor,
    second: Tensor,
    refined: Tensor,
    guess: Tensor,
    method: CoDiMParams,
) -> Tensor:
    """L_c of two views of the same images, labelled ones before unlabelled ones, in one pass of the network; a scalar.

    first, second: [B_x + B_u, channels, H, W]; refined, guess: targets [B_x, C] and [B_u, C], which name the classes
    of the supervised variants. With `cl_subset` unlabelled the B_x labelled images are left out.
    """
    if method.cl_subset == "unlabelled":
        first, second, refined = first[len(refined) :], second[len(refined) :], refined[:0]
    if not len(first):
        return first.new_zeros(())
    z = net.embed(torch.cat([first, second]))
    source = torch.arange(len(first), device=z.device).repeat(2)
    classes = contrast_classes(method.variant, refined, guess, method.tau_p).repeat(2)
    confidence = contrast_confidence(refined, guess).repeat(2) if method.weighted else None
    return supcon(z, same_image_or_class(source, classes, confidence), method.tau_c)
