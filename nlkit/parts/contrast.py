"""Contrastive losses, and which rows of a batch are positives of which."""

from typing import Literal

from nlkit.lazy import Tensor, torch

NO_CLASS = -1
"""The class of a row that takes part without one."""

Variant = Literal["self", "sup", "sup_pseudo"]


def supcon(z: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of rows z [n, D] with any set of positives P_i for each anchor i; a scalar in float32 at least.

    Mean over anchors of -1/|P_i| sum_{p in P_i} log( exp(z_i.z_p / T) / sum_{a != i} exp(z_i.z_a / T) )
    (Khosla et al., NeurIPS 2020, "L_out"). positives: bool [n, n], row i marks P_i, its diagonal is ignored; or float
    weights [n, n], which make the sum over P_i a weighted one and |P_i| the sum of the weights; they get no gradient.
    Anchors without positives are left out, and the loss is 0 where no anchor has any.
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    with torch.autocast(z.device.type, enabled=False):
        products = z @ z.T
    with torch.no_grad():
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        chosen = positives.masked_fill(itself, 0).to(z.dtype)
        similar = (products / temperature).masked_fill(itself, -torch.inf)
        log_sums, counts = similar.logsumexp(dim=1, keepdim=True), chosen.sum(dim=1, keepdim=True)
        none = counts == 0
        shares = torch.where(none, 0.0, 1 / counts)
        pulled = (similar.masked_fill(chosen == 0, 0.0) * chosen).sum(dim=1, keepdim=True) * shares
        anchors = (~none).sum().clamp_min(1)
        loss = (log_sums - pulled).masked_fill(none, 0.0).sum() / anchors
        slopes = ((similar - log_sums).exp() - chosen * shares).masked_fill(none, 0.0)
    # The gradient by its closed form, d loss / d s_ia = (softmax_ia - [a in P_i] / |P_i|) / anchors: records were made
    # with it, and what autograd makes of the loss differs in the last bits. This sum has that gradient and a value of
    # its own, which is taken off again.
    pull = (products * slopes).sum() / (anchors * temperature)
    return pull - pull.detach() + loss


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent of two views [B, D] of the same images, both directions, mean over the 2B anchors; a scalar.

    The denominator holds the positive and the 2B - 2 other rows (SimCLR, equation 1; TCL, L_ctr). Rows are
    used as they are: normalise them first.
    """
    views = torch.cat([first, second])
    source = torch.arange(len(first), device=first.device).repeat(2)
    return supcon(views, source[:, None] == source, temperature)


def same_image_or_class(source: Tensor, classes: Tensor, confidence: Tensor | None = None) -> Tensor:
    """Positives [n, n]: rows i and j that are views of one image, or of one class; rows without a class have none.

    source, classes: int64 [n], the number of the image and of its class (NO_CLASS for none). A bool mask; with
    confidence [n] weights, where a pair of one class and two images weighs the product of both confidences, and views
    of one image weigh one.
    """
    image = source[:, None] == source
    chosen = image | ((classes[:, None] == classes) & (classes != NO_CLASS))
    if confidence is None:
        return chosen
    return torch.where(image, 1.0, confidence[:, None] * confidence).masked_fill(~chosen, 0.0)


def contrast_classes(variant: Variant, refined: Tensor, guess: Tensor, tau_p: float) -> Tensor:
    """The class int64 [B_x + B_u] of each image in the contrastive loss, from targets [B_x, C] and [B_u, C].

    self: none has a class. sup: a labelled image has the class of its refined target. sup_pseudo: an unlabelled one
    too has that of its guessed target, where that is at least tau_p sure.
    """
    confidence, guessed = guess.max(dim=1)
    unlabelled = torch.where((confidence >= tau_p) & (variant == "sup_pseudo"), guessed, NO_CLASS)
    labelled = refined.argmax(dim=1)
    return torch.cat([torch.full_like(labelled, NO_CLASS) if variant == "self" else labelled, unlabelled])


def contrast_confidence(refined: Tensor, guess: Tensor) -> Tensor:
    """Confidence [B_x + B_u] of the class of each image: one for a labelled image, the largest guess for the others."""
    return torch.cat([torch.ones_like(refined[:, 0]), guess.amax(dim=1)])
