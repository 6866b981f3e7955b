"""The parameters of self-supervised pre-training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlkit.params.sections import Fraction, NonNegative, Positive, PositiveFloat, Section
from nlkit.params.views import AffineStrongParams, SimCLRParams


class PretrainParams(Section):
    """Self-supervised pre-training of an encoder (SimCLR; Chen et al., ICML 2020).

    `temperature` is tau_c. `hidden` is the width of the projector, that of the features where it is left out;
    `dim` is the length of an embedding. The learning rate is a line from `lr_start` over `lr_warm_up` epochs, then a
    cosine from the peak `optim.lr` to `lr_floor * optim.lr`. `neighbours` is the k of the monitor's vote.
    """

    name: Literal["simclr"]
    temperature: PositiveFloat = 0.5
    lr_start: NonNegative = 0.01
    lr_warm_up: PositiveFloat = 10.0
    lr_floor: Fraction = 0.001
    dim: Positive = 128
    hidden: Positive | None = None
    neighbours: Positive = 200
    strong: Annotated[AffineStrongParams | SimCLRParams, Field(discriminator="kind")] = SimCLRParams(
        kind="simclr", solarise=0.0
    )
