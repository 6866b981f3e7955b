"""Networks for photographs: Inception-ResNet-v2 from timm, ResNet-18, -34 and -50 from torchvision."""

from __future__ import annotations

from importlib import import_module

from torch import Tensor, nn

from nlkit.errors import NlkitError
from nlkit.models.weights import body_weights
from nlkit.params.sections import PhotoModelParams

FEATURES = {
    "inception_resnet_v2": 1536, "torchvision_resnet18": 512, "torchvision_resnet34": 512, "torchvision_resnet50": 2048,
}  # fmt: skip


class PhotoNet(nn.Module):
    """A body that ends in globally averaged features, and a linear classifier."""

    def __init__(self, body: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.classifier: nn.Module = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W] of any size that the body can take."""
        return self.classifier(self.body(x))


def photo_network(params: PhotoModelParams, channels: int, classes: int) -> PhotoNet:
    """The network that the parameters name, with the weights of a file or of ImageNet where they ask for them.

    Raises NlkitError where weights are missing or belong to another network, and for images that are not in colour.
    """
    if channels != 3:
        raise NlkitError(f"key 'model.name' is '{params.name}': it takes images of 3 channels, not {channels}")
    body = _inception() if params.name == "inception_resnet_v2" else _residual(params.name)
    if params.weights is not None:
        body.load_state_dict(body_weights(params.name, params.weights, body.state_dict()))
    return PhotoNet(body, FEATURES[params.name], classes)


def _inception() -> nn.Module:
    """Residual scales 0.17, 0.10 and 0.20, batch norm with eps 1e-3, no auxiliary head, no dropout; random weights.

    The official code averages a fixed 8 x 8; here the average takes what there is, so that other sizes work too.
    """
    # Both packages take seconds to import, which readers of the digits need not spend.
    return import_module("timm").create_model("inception_resnet_v2", pretrained=False, num_classes=0)


def _residual(name: str) -> nn.Module:
    body = getattr(import_module("torchvision.models"), name.removeprefix("torchvision_"))(weights=None)
    body.fc = nn.Identity()
    return body
