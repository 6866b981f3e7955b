"""The parameters of two strong baselines, mixup and early-learning regularisation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlkit.sections import MixtureParams, NonNegative, Positive, PositiveFloat, Section


class MixupParams(Section):
    """mixup (Zhang et al., ICLR 2018); the mixture is fitted for the figures only."""

    name: Literal["mixup"]
    alpha: PositiveFloat
    mixture: MixtureParams = MixtureParams()


class ELRParams(Section):
    """Early-learning regularisation (Liu et al., NeurIPS 2020); the mixture is fitted for the figures only.

    `weight` is lambda, `beta` the momentum of the targets, `clamp` the least probability in them. With `cosine_epochs`
    the learning rate falls along a cosine from `optim.lr` to `lr_floor` and starts anew after so many epochs.
    """

    name: Literal["elr"]
    weight: NonNegative
    beta: Annotated[float, Field(ge=0, lt=1)]
    clamp: Annotated[float, Field(gt=0, lt=0.5)] = 1e-4
    cosine_epochs: Positive | None = None
    lr_floor: PositiveFloat = 0.001
    mixture: MixtureParams = MixtureParams()
