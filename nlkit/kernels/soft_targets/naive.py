"""Sharpened mean predictions in plain PyTorch."""

from collections.abc import Sequence

from nlkit.lazy import Tensor, functional, torch


def mean_probability(logits: Sequence[Tensor]) -> Tensor:
    """Average of the softmax of several logits [B, C]: probabilities are averaged, not logits."""
    return torch.stack([one.float().softmax(dim=1) for one in logits]).mean(dim=0)


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """p_c^(1/T) / sum_j p_j^(1/T) for probabilities [B, C] (MixMatch; DivideMix equation 4)."""
    return (p.log() / temperature).softmax(dim=1)


def blend(one_hot: Tensor, p: Tensor, w: Tensor) -> Tensor:
    """w y + (1 - w) p for labels [B, C], predictions [B, C] and the trust [B] in the labels."""
    return w[:, None] * one_hot + (1 - w[:, None]) * p


def soft_targets(logits: Sequence[Tensor], temperature: float, labels: Tensor | None, w: Tensor | None) -> Tensor:
    """See the operation's own docstring."""
    p = mean_probability(logits)
    if labels is not None and w is not None:
        p = blend(functional.one_hot(labels, p.shape[1]).float(), p, w)
    return sharpen(p, temperature)
