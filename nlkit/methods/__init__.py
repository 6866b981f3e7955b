"""The methods, one file a paper."""

from __future__ import annotations

from collections.abc import Callable

from nlkit.data.problem import TrainingSet
from nlkit.methods.base import Method, Split
from nlkit.methods.codim import CoDiM
from nlkit.methods.confident_learning import ConfidentLearning
from nlkit.methods.cross_entropy import CrossEntropy
from nlkit.methods.dividemix import DivideMix
from nlkit.methods.elr import ELR
from nlkit.methods.lra_diffusion import LRADiffusion
from nlkit.methods.mixup import Mixup
from nlkit.methods.simclr import SimCLR
from nlkit.methods.tcl import TCL
from nlkit.methods.tcl_plus import TCLPlus
from nlkit.params import Params

__all__ = [
    "ELR",
    "TCL",
    "CoDiM",
    "ConfidentLearning",
    "CrossEntropy",
    "DivideMix",
    "LRADiffusion",
    "Method",
    "Mixup",
    "SimCLR",
    "Split",
    "TCLPlus",
    "build_method",
]

METHODS: dict[str, Callable[[TrainingSet, Params], Method]] = {
    "cross_entropy": CrossEntropy,
    "mixup": Mixup,
    "elr": ELR,
    "confident_learning": ConfidentLearning,
    "dividemix": DivideMix,
    "tcl": TCL,
    "tcl_plus": TCLPlus,
    "lra_diffusion": LRADiffusion,
    "simclr": SimCLR,
    "codim": CoDiM,
}


def build_method(data: TrainingSet, params: Params) -> Method:
    """The method that the parameters name, before its first epoch."""
    return METHODS[params.method.name](data, params)
