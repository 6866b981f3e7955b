"""Networks: what is specific to a paper is here, everything else comes from torchvision or timm."""

from __future__ import annotations

import torch
from torch import nn

from nlkit.models.heads import ContrastiveNet, TwinNet
from nlkit.models.label_denoiser import LabelDenoiser, LabelDiffusionNet
from nlkit.models.networks import PreActResNet18, ResNet34, ResNet50, SmallCNN
from nlkit.models.photo import photo_network
from nlkit.params import Params
from nlkit.params.codim import CoDiMParams
from nlkit.params.lra import LRADiffusionParams
from nlkit.params.pretrain import PretrainParams
from nlkit.params.tcl import TCLParams, TCLPlusParams
from nlkit.params.training import AnyModelParams, PhotoModelParams
from nlkit.seeding import derive

__all__ = [
    "ContrastiveNet",
    "LabelDiffusionNet",
    "PreActResNet18",
    "ResNet34",
    "ResNet50",
    "SmallCNN",
    "TwinNet",
    "build_diffusion",
    "build_model",
    "build_network",
]

PHOTO_HIDDEN = 512
"""Width between the two last linear layers of LRA-diffusion's encoder of photographs."""

NETWORKS: dict[str, type[nn.Module]] = {
    "small_cnn": SmallCNN,
    "preact_resnet18": PreActResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
}


def build_model(params: AnyModelParams, channels: int, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network for images with `channels`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(params, PhotoModelParams):
            return photo_network(params, channels, classes)
        return NETWORKS[params.name](channels, classes, params.width)


def build_network(params: Params, channels: int, classes: int, seed: int) -> nn.Module:
    """The freshly initialised network of a run: the model, with the heads that the method needs."""
    body = build_model(params.model, channels, classes, seed)
    method = params.method.first if isinstance(params.method, TCLPlusParams) else params.method
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "heads"))
        if isinstance(method, TCLParams):
            return TwinNet(body, classes, method.hidden, method.dim, method.dropout)
        if isinstance(method, PretrainParams | CoDiMParams):
            return ContrastiveNet(body, method.dim, method.hidden)
    return body


def build_diffusion(params: Params, channels: int, classes: int, features: int, seed: int) -> LabelDiffusionNet:
    """The freshly initialised networks of LRA-diffusion; `features` is the width of the frozen encoder f_p.

    The encoder e ends in a linear layer; that of photographs in two, with nothing between, as in the official code.
    """
    method = params.method
    assert isinstance(method, LRADiffusionParams)
    encoder = build_model(params.model, channels, method.width, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "denoiser"))
        if isinstance(params.model, PhotoModelParams):
            assert isinstance(encoder.classifier, nn.Linear)
            encoder.classifier = nn.Sequential(
                nn.Linear(encoder.classifier.in_features, PHOTO_HIDDEN), nn.Linear(PHOTO_HIDDEN, method.width)
            )
        return LabelDiffusionNet(encoder, LabelDenoiser(classes, features, method.width, method.timesteps))
