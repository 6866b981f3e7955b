"""The parameters of the networks."""

from __future__ import annotations

from typing import Literal

from nlkit.sections import Positive, Section


class ModelParams(Section):
    """The network and the number of channels of its first stage."""

    name: Literal["small_cnn", "preact_resnet18", "resnet34", "resnet50"]
    width: Positive = 64


class PhotoModelParams(Section):
    """A network for photographs: Inception-ResNet-v2 or one of torchvision's residual networks.

    `weights` is a file of weights to start from, or `imagenet` for those that torchvision knows; without it the start
    is random. The last layer is always new.
    """

    name: Literal["inception_resnet_v2", "torchvision_resnet18", "torchvision_resnet34", "torchvision_resnet50"]
    weights: str | None = None


AnyModelParams = ModelParams | PhotoModelParams
