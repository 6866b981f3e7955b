"""A network with a linear classifier and a projector over one encoder."""

from __future__ import annotations

from torch import Tensor, nn


class ContrastiveNet(nn.Module):
    """Any of our networks, taken apart into encoder and linear classifier, and a projector beside the classifier.

    Projector: linear, ReLU, linear, without batch norm (SimCLR's head in its SupCon form). `hidden` is its width, that
    of the features where it is None. The encoder and the classifier keep the values that `body` has.
    """

    def __init__(self, body: nn.Module, dim: int, hidden: int | None = None) -> None:
        super().__init__()
        assert isinstance(body.classifier, nn.Linear)
        self.classifier = body.classifier
        body.classifier = nn.Identity()
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
