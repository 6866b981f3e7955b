"""Networks: what is specific to a paper is here, everything else comes from torchvision or timm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nlkit.params.training import AnyModelParams, PhotoModelParams


def build_model(params: AnyModelParams, channels: int, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network for images with `channels`; the global random state is left as it was."""
    with seeded(seed):
        if isinstance(params, PhotoModelParams):
            from nlkit.models.photo import photo_network

            return photo_network(params, channels, classes)
        return _network(params.name)(channels, classes, params.width)


def _network(name: str) -> type[nn.Module]:
    """The class of a network for small images; only its own file is imported, since some libraries take seconds."""
    match name:
        case "small_cnn":
            from nlkit.models.small_cnn import SmallCNN

            return SmallCNN
        case "preact_resnet18":
            from nlkit.models.preact_resnet import PreActResNet18

            return PreActResNet18
        case _:
            from nlkit.models.resnet import ResNet34, ResNet50

            return ResNet34 if name == "resnet34" else ResNet50


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's global generator on the CPU starts from `seed`; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
