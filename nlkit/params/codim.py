"""The parameters of CoDiM and of AutoAugment."""

from __future__ import annotations

from typing import Literal

from nlkit.params.dividemix import DivisionParams
from nlkit.params.sections import Fraction, NonNegative, Positive, PositiveFloat
from nlkit.params.views import AutoAugmentParams, Strong


class CoDiMParams(DivisionParams):
    """Contrastive DivideMix (Zhang et al., 2021): the parameters of DivideMix, and those of pre-training and contrast.

    `encoder` is the path of a parameter file of pre-training, or null for a random start; `clip` the largest norm of
    the gradient in the warm-up. `variant` says which rows are positives, `tau_c` and `lambda_c` are temperature and
    weight of the contrastive loss, `cl_subset` the images that take part in it; `contrast_strong` are its views, those
    of MixMatch's strong views where it is left out. `tau_p` is the confidence from which an unlabelled row has a class
    in `sup_pseudo`, and `weighted` weighs a pair of one class by both confidences. `dim` and `hidden` are the
    projector's, as in pre-training.
    """

    name: Literal["codim"]
    encoder: str | None = None
    clip: PositiveFloat | None = 1.0
    variant: Literal["self", "sup", "sup_pseudo"] = "self"
    tau_c: PositiveFloat = 0.5
    lambda_c: NonNegative = 0.25
    cl_subset: Literal["all", "unlabelled"] = "all"
    tau_p: Fraction = 0.9
    weighted: bool = False
    ssl_views: Literal["strong", "weak"] = "strong"
    projector: Literal["kept", "fresh"] = "kept"
    dim: Positive = 128
    hidden: Positive | None = None
    strong: Strong = AutoAugmentParams(kind="autoaugment")
    contrast_strong: Strong | None = None
