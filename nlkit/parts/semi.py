"""Semi-supervised learning with noisy labels: its settings, and its bricks, each a pure function."""

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from nlkit.kernels.soft_losses import mean_prediction, soft_losses
from nlkit.lazy import DataFrame, Generator, Tensor, torch
from nlkit.params import Params
from nlkit.params.registry import MethodParams
from nlkit.params.sections import Fraction, MixtureParams, NonNegative, Positive, PositiveFloat, added

Views2 = tuple[Tensor, Tensor]
"""Two weak views [B, channels, H, W] of each image of a batch (M = 2)."""


class DivisionParams(MethodParams):
    """Co-division, MixMatch and its losses (Li et al., ICLR 2020), in the paper's symbols.

    With `balanced` each network looks at a class-balanced random subset of this size after each epoch, and its peer is
    then trained on that; in the warm-up, whose batches are twice as large, the subset is too.
    """

    warm_up: Positive
    penalty: bool = False
    lambda_u: NonNegative = 25.0
    lambda_r: NonNegative = 1.0
    ramp_epochs: PositiveFloat = 16.0
    temperature: PositiveFloat = 0.5
    alpha: PositiveFloat = 4.0
    threshold: Fraction = 0.5
    loss_epochs: Positive = 1
    bn: Literal["paper", "fused"] = "paper"
    mixed: Literal["all", "labelled"] = added("all")  # rows that are seen (labelled: WebVision and Clothing1M)
    balanced: Positive | None = added(None)
    mixture: MixtureParams = MixtureParams()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mixed == "labelled" and self.lambda_u:
            raise ValueError("method.mixed 'labelled' leaves no unlabelled rows; it needs method.lambda_u 0")
        if self.balanced is not None and self.loss_epochs != 1:
            raise ValueError("method.balanced draws another subset each epoch; it needs method.loss_epochs 1")
        return self


def mixing_share(stream: np.random.Generator, alpha: float) -> float:
    """The larger of l and 1 - l, where l is drawn from Beta(alpha, alpha)."""
    share = stream.beta(alpha, alpha)
    return max(share, 1 - share)


def mix(rows: Tensor, share: float, order: Tensor) -> Tensor:
    """share * a + (1 - share) * a[order] for rows [B, ...] and a permutation [B], or the first part of one."""
    return torch.lerp(rows[order], rows[: len(order)], share)


def negative_entropy(logits: Tensor) -> Tensor:
    """Confidence penalty: mean over rows of sum_c p_c log p_c, finite for one-hot predictions; scalar."""
    log_p = logits.float().log_softmax(dim=1)
    return (log_p.exp() * log_p).sum(dim=1).mean()


def negative_marginal_entropy(logits: Tensor) -> Tensor:
    """Sum_c m_c log m_c of the mean prediction m over rows, -log C where that mean is uniform; scalar."""
    mean = mean_prediction(logits)
    return (mean * mean.log()).sum()


def ramp(time: float, start: float, length: float) -> float:
    """Linear ramp-up clip((time - start) / length, 0, 1) in fractional epochs."""
    return min(max((time - start) / length, 0.0), 1.0)


def mixmatch(
    net: Callable[[Tensor], Tensor],
    x: Views2,
    u: Views2,
    refined: Tensor,
    guess: Tensor,
    share: float,
    stream: Generator,
    rows_seen: Literal["all", "labelled"] = "all",
) -> dict[str, Tensor]:
    """L_x, L_u and L_reg of labelled views x and unlabelled views u, mixed with each other, and their targets.

    `net` makes logits of views. With `rows_seen` labelled it sees mixed rows of x only, each mixed with one of x or u.
    """
    inputs = torch.cat([*x, *u])
    targets = torch.cat([refined, refined, guess, guess])
    order = torch.randperm(len(inputs), generator=stream, device=inputs.device)
    rows = 2 * len(refined)
    order = order[:rows] if rows_seen == "labelled" else order
    losses = soft_losses(net(mix(inputs, share, order)), mix(targets, share, order), rows)
    return dict(zip(("loss_x", "loss_u", "loss_reg"), losses, strict=True))


def divided(params: Params[Any], epochs: DataFrame) -> list[tuple[int, int]]:
    """Images of X and of U that each network is trained on, in each epoch after the warm-up."""
    later = epochs[epochs["epoch"] > params.method.warm_up]
    sizes = [(int(row[f"labelled_{k}"]), int(row[f"unlabelled_{k}"])) for _, row in later.iterrows() for k in (1, 2)]
    return [(x, drawn_unlabelled(x, u, params.training.batch_size)) for x, u in sizes]


def drawn_unlabelled(labelled: int, unlabelled: int, size: int) -> int:
    """Images of U in an epoch: one batch for each batch of X, from passes over U whose last batch may be short."""
    steps, in_pass = -(-labelled // size), max(-(-unlabelled // size), 1)
    whole, rest = divmod(steps, in_pass)
    return whole * unlabelled + min(rest * size, unlabelled)
