"""The parameters of TCL and of its strong views."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlkit.params.sections import Fraction, MixtureParams, NonNegative, Positive, PositiveFloat, Section, added
from nlkit.params.views import AffineStrongParams, SimCLRParams


class TCLParams(Section):
    """Twin Contrastive Learning (Huang et al., CVPR 2023), in the paper's symbols.

    `temperature` is tau; `scale1` and `scale2` are s1 and s2, and mean the estimated share of clean labels
    where they are left out. `balanced` is the size of the class-balanced random subset that an epoch passes over, all
    images where it is left out; the diagnosis is always of all. `optim.lr` is the peak of the learning rate.
    """

    name: Literal["tcl"]
    warm_up: Annotated[int, Field(ge=0)]
    lr_warm_up: PositiveFloat = 20.0
    lr_floor: Fraction = 0.01
    temperature: PositiveFloat = 0.25
    alpha: PositiveFloat = 1.0
    ctr_weight: NonNegative = 0.25
    marginal_weight: NonNegative = 1.0
    sigma_mode: Literal["tau", "per_class"] = "tau"
    mixture_per: Literal["set", "class"] = "set"
    scale1: Fraction | None = None
    scale2: Fraction | None = None
    dim: Positive = 256
    hidden: Positive = 512
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    strong: Annotated[AffineStrongParams | SimCLRParams, Field(discriminator="kind")] = SimCLRParams(kind="simclr")
    balanced: Positive | None = added(None)
    mixture: MixtureParams = MixtureParams(max_iter=100, tol=1e-3, reg_covar=1e-6)


class TCLPlusParams(Section):
    """TCL followed by a second stage of `training.epochs - first_epochs` epochs at a constant learning rate `lr`.

    For `label_epochs` epochs the corrected labels are the targets; afterwards they have the share `trust`.
    """

    name: Literal["tcl_plus"]
    first: TCLParams
    first_epochs: Positive
    label_epochs: Annotated[int, Field(ge=0)] = 30
    trust: Fraction = 0.8
    lr: PositiveFloat = 0.05
    weight_decay: NonNegative = 0.0001
