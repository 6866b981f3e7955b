"""The division of a training set into labelled and unlabelled images: its settings, and what an epoch of it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from nlkit.params import Params
from nlkit.params.registry import MethodParams
from nlkit.params.sections import Fraction, MixtureParams, NonNegative, Positive, PositiveFloat, added

if TYPE_CHECKING:
    import pandas as pd


class DivisionParams(MethodParams):
    """Co-division, MixMatch and its losses (Li et al., ICLR 2020), in the paper's symbols.

    `mixed` says which of the mixed rows the network sees: all, or only those of labelled images (the official code for
    WebVision and Clothing1M), which leaves no L_u. `balanced` is the size of the class-balanced random subset that each
    network looks at after each epoch and that its peer is then trained on, all images where it is left out; in the
    warm-up, whose batches are twice as large, the subset is too.
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
    mixed: Literal["all", "labelled"] = added("all")
    balanced: Positive | None = added(None)
    mixture: MixtureParams = MixtureParams()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mixed == "labelled" and self.lambda_u:
            raise ValueError("method.mixed 'labelled' leaves no unlabelled rows; it needs method.lambda_u 0")
        if self.balanced is not None and self.loss_epochs != 1:
            raise ValueError("method.balanced draws another subset each epoch; it needs method.loss_epochs 1")
        return self


def divided(params: Params[Any], epochs: pd.DataFrame) -> list[tuple[int, int]]:
    """Images of X and of U that each network is trained on, in each epoch after the warm-up."""
    later = epochs[epochs["epoch"] > params.method.warm_up]
    sizes = [(int(row[f"labelled_{k}"]), int(row[f"unlabelled_{k}"])) for _, row in later.iterrows() for k in (1, 2)]
    return [(x, drawn_unlabelled(x, u, params.training.batch_size)) for x, u in sizes]


def drawn_unlabelled(labelled: int, unlabelled: int, size: int) -> int:
    """Images of U in an epoch: one batch for each batch of X, from passes over U whose last batch may be short."""
    steps, in_pass = -(-labelled // size), max(-(-unlabelled // size), 1)
    whole, rest = divmod(steps, in_pass)
    return whole * unlabelled + min(rest * size, unlabelled)
