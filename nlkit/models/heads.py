"""Networks with a classifier and a projector over one encoder."""

from __future__ import annotations

from torch import Tensor, nn

from nlkit.models.networks import PreActResNet18


class TwinNet(nn.Module):
    """The encoder of any of our networks, whose linear classifier is replaced by the two heads of TCL.

    Classifier g: linear, batch norm, ReLU, dropout, linear, batch norm. Projector f: linear, batch norm, ReLU,
    linear, batch norm. Both norms at the ends have scale and shift; that of g bounds the logits.
    """

    def __init__(self, body: nn.Module, classes: int, hidden: int, dim: int, dropout: float) -> None:
        super().__init__()
        width = _take_classifier(body).in_features
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


class ContrastiveNet(nn.Module):
    """Any of our networks, taken apart into encoder and linear classifier, and a projector beside the classifier.

    Projector: linear, ReLU, linear, without batch norm (SimCLR's head in its SupCon form). `hidden` is its width, that
    of the features where it is None. The encoder and the classifier keep the values that `body` has.
    """

    def __init__(self, body: nn.Module, dim: int, hidden: int | None = None) -> None:
        super().__init__()
        self.classifier = _take_classifier(body)
        self.encoder = body
        width = self.classifier.in_features
        hidden = hidden or width
        self.projector = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W]."""
        return self.classifier(self.encoder(x))

    def project(self, x: Tensor) -> Tensor:
        """Projections [B, dim], not normalised, of inputs [B, channels, H, W]."""
        return self.projector(self.encoder(x))


def _take_classifier(body: nn.Module) -> nn.Linear:
    """The linear classifier of a network, which ends in its features from now on."""
    classifier = body.classifier
    assert isinstance(classifier, nn.Linear)
    body.classifier = nn.Identity()
    return classifier
