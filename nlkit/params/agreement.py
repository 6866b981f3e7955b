"""What the sections of a run's parameters must agree on; a disagreement is a ValueError that names the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlkit.params.baselines import ELRParams
from nlkit.params.codim import CoDiMParams
from nlkit.params.data import GREY, FolderDataParams, PhotoDataParams
from nlkit.params.lra import LRADiffusionParams
from nlkit.params.noise import NoiseParams
from nlkit.params.pretrain import PretrainParams
from nlkit.params.tcl import TCLParams, TCLPlusParams
from nlkit.params.views import check_views

if TYPE_CHECKING:
    from nlkit.params import Params


def check(params: Params) -> None:
    """Raise ValueError for sections that do not belong together."""
    check_views(params.data, params.views, params.method)
    if params.method.name.removesuffix("_plus") != params.paper:
        raise ValueError(f"method.name is '{params.method.name}' but paper is '{params.paper}'; they must agree")
    _check_noise(params)
    if isinstance(params.method, ELRParams) and params.method.cosine_epochs and params.optim.drop_epochs:
        raise ValueError("optim.drop_epochs has no meaning beside method.cosine_epochs")
    if isinstance(params.method, TCLPlusParams) and params.method.first_epochs >= params.training.epochs:
        raise ValueError("method.first_epochs must be below training.epochs; the others are the second stage")
    first = params.method.first if isinstance(params.method, TCLPlusParams) else params.method
    if isinstance(first, TCLParams | PretrainParams):
        _check_strong(params, first)
    if isinstance(params.method, LRADiffusionParams):
        _check_lra_diffusion(params, params.method)
    if isinstance(params.method, CoDiMParams):
        _check_codim(params, params.method)


def _check_noise(params: Params) -> None:
    noise, data = params.noise, params.data
    if isinstance(data, FolderDataParams | PhotoDataParams) and noise.kind != "none":
        raise ValueError(f"data.name '{data.name}' needs noise.kind 'none'; its labels are as they were given")
    if isinstance(noise, NoiseParams) and noise.kind == "human":
        if (noise.annotator == "fine") != (data.name == "cifar100"):
            raise ValueError("noise.annotator 'fine' belongs to cifar100, the others to cifar10")
        if data.name in GREY:
            raise ValueError("noise.kind 'human' needs data.name cifar10 or cifar100")
    if noise.kind == "asymmetric" and data.name not in ("cifar10", "digits"):
        raise ValueError("noise.kind 'asymmetric' is defined for cifar10 and digits only")


def _check_strong(params: Params, method: TCLParams | PretrainParams) -> None:
    if method.strong.kind == "simclr" and params.data.name in GREY:
        raise ValueError(f"method.strong.kind 'simclr' needs colours; {params.data.name} need 'affine'")
    if params.optim.drop_epochs:
        raise ValueError(f"optim.drop_epochs has no meaning for {params.paper}, whose learning rate is a curve")


def _check_codim(params: Params, method: CoDiMParams) -> None:
    kinds = {one.kind for one in (method.strong, method.contrast_strong) if one is not None}
    if params.data.name in GREY and kinds != {"affine"}:
        raise ValueError(f"strong views '{', '.join(sorted(kinds))}' need colours; {params.data.name} need 'affine'")
    if method.cl_subset == "unlabelled" and method.variant != "self":
        raise ValueError("method.cl_subset 'unlabelled' leaves out every label; it needs method.variant 'self'")


def _check_lra_diffusion(params: Params, method: LRADiffusionParams) -> None:
    if params.optim.drop_epochs:
        raise ValueError("optim.drop_epochs has no meaning for lra_diffusion, whose learning rate is a curve")
    horizon = params.training.epochs if method.horizon is None else method.horizon
    if horizon < params.training.epochs:
        raise ValueError(f"method.horizon is {horizon}; the learning rate must reach at least to training.epochs")
    if params.training.batch_size < 2:
        raise ValueError("training.batch_size is 1; batch norm needs at least two images")
    if method.encoder.kind == "clip" and params.data.name in GREY:
        raise ValueError(f"method.encoder.kind 'clip' needs photographs in colour, not {params.data.name}")
