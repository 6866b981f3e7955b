"""The parameters of the baselines: cross-entropy, mixup, early-learning regularisation, confident learning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlkit.params.sections import MixtureParams, NonNegative, Positive, PositiveFloat, Section


class CrossEntropyParams(Section):
    """Plain cross-entropy on the observed labels; the mixture is fitted for the figures only."""

    name: Literal["cross_entropy"]
    mixture: MixtureParams = MixtureParams()


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


class ConfidentLearningParams(Section):
    """Confident learning (Northcutt et al., JAIR 2021) from as many networks as there are folds.

    `score` is what P(clean) is: the probability of the observed label, or its margin over the best other class.
    """

    name: Literal["confident_learning"]
    folds: Annotated[int, Field(ge=2, le=20)] = 3
    score: Literal["self_confidence", "normalised_margin"] = "normalised_margin"
