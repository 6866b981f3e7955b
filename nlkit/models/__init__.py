"""Networks: what is specific to a paper is here, everything else comes from torchvision or timm."""

import torch
from torch import nn

from nlkit.models.networks import PooledResNet, PreActResNet18, ResNet34, ResNet50, SmallCNN
from nlkit.params.sections import AnyModelParams, PhotoModelParams

NETWORKS: dict[str, type[nn.Module]] = {
    "small_cnn": SmallCNN, "pooled_resnet": PooledResNet, "preact_resnet18": PreActResNet18,
    "resnet34": ResNet34, "resnet50": ResNet50,
}  # fmt: skip


def build_model(params: AnyModelParams, channels: int, classes: int, seed: int) -> nn.Module:
    """A freshly initialised network for images with `channels`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(params, PhotoModelParams):
            from nlkit.models.photo import photo_network

            return photo_network(params, channels, classes)
        return NETWORKS[params.name](channels, classes, params.width)


def least_memory(params: AnyModelParams, images: tuple[int, ...], classes: int) -> int:
    """Bytes that a step takes at least on a batch [B, channels, H, W]: weights thrice, and what layers return.

    Weights have a gradient and a momentum each. Nothing is allocated to find out.
    """
    if isinstance(params, PhotoModelParams):
        params = params.model_copy(update={"weights": None})
    with torch.device("meta"):
        net, floats = build_model(params, images[1], classes, seed=0), list[int]()
        for layer in net.modules():
            if not list(layer.children()):
                layer.register_forward_hook(lambda layer, given, made: floats.append(made.numel()))
        net(torch.empty(images))
    return 4 * (sum(floats) + 3 * sum(weight.numel() for weight in net.parameters()))
