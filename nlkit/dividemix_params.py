"""The parameters of DivideMix, and of every method that divides as it does."""

from __future__ import annotations

from typing import Literal

from nlkit.sections import Fraction, MixtureParams, NonNegative, Positive, PositiveFloat, Section


class DivisionParams(Section):
    """Co-division, MixMatch and its losses (Li et al., ICLR 2020), in the paper's symbols."""

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
    mixture: MixtureParams = MixtureParams()


class DivideMixParams(DivisionParams):
    """DivideMix (Li et al., ICLR 2020)."""

    name: Literal["dividemix"]
