"""Networks: what is specific to a paper is here, everything else comes from torchvision or timm."""

from __future__ import annotations

import torch
from torch import nn

from nlkit.models.preact_resnet import PreActResNet18
from nlkit.models.resnet import ResNet34
from nlkit.models.small_cnn import SmallCNN
from nlkit.params import ModelParams

__all__ = ["PreActResNet18", "ResNet34", "SmallCNN", "build_model"]

NETWORKS: dict[str, type[nn.Module]] = {
    "small_cnn": SmallCNN,
    "preact_resnet18": PreActResNet18,
    "resnet34": ResNet34,
}


def build_model(params: ModelParams, channels: int, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network for images with `channels`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[params.name](channels, classes, params.width)
