"""Targets from predictions: their mean, mixed with labels that are trusted in part, and sharpened."""

from collections.abc import Sequence

from nlkit.kernels import form
from nlkit.kernels.soft_targets.naive import blend as blend
from nlkit.lazy import Tensor, no_grad


@no_grad()
def soft_targets(
    logits: Sequence[Tensor], temperature: float, labels: Tensor | None = None, w: Tensor | None = None
) -> Tensor:
    """sharpen(w y + (1 - w) p), or sharpen(p) without labels, of p, the mean of the softmax of several logits [B, C].

    labels: int64 [B]; w: float32 [B], the trust in them. sharpen(p)_c = p_c^(1/T) / sum_j p_j^(1/T). Returns float32
    [B, C]; probabilities are averaged, not logits. Co-guessing and co-refinement of DivideMix.
    """
    return form("soft_targets", logits[0].device).soft_targets(logits, temperature, labels, w)
