"""A network with two heads over one encoder: a classifier and a projection for contrastive learning."""

from __future__ import annotations

from torch import Tensor, nn

from nlkit.models.preact_resnet import PreActResNet18


class TwinNet(nn.Module):
    """The encoder of any of our networks, whose linear classifier is replaced by the two heads of TCL.

    Classifier g: linear, batch norm, ReLU, dropout, linear, batch norm. Projector f: linear, batch norm, ReLU,
    linear, batch norm. Both norms at the ends have scale and shift; that of g bounds the logits.
    """

    def __init__(self, body: nn.Module, classes: int, hidden: int, dim: int, dropout: float) -> None:
        super().__init__()
        assert isinstance(body.classifier, nn.Linear)
        width = body.classifier.in_features
        body.classifier = nn.Identity()
        if isinstance(body, PreActResNet18):
            body.blocks.extend([nn.BatchNorm2d(width), nn.ReLU(inplace=True)])
        self.encoder = body
        self.classifier = nn.Sequential(
            nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, classes), nn.BatchNorm1d(classes),
        )  # fmt: skip
        self.projector = nn.Sequential(
            nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, dim), nn.BatchNorm1d(dim),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W]."""
        return self.classifier(self.encoder(x))

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projections [B, dim], not normalised, and logits [B, classes] of inputs [B, channels, H, W]."""
        features = self.encoder(x)
        return self.projector(features), self.classifier(features)
