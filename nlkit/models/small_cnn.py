"""A small convolutional network for 8 x 8 images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SmallCNN(nn.Module):
    """Three 3 x 3 convolutions, the second with stride 2, and a linear layer over 4 x 4 positions.

    Only the first convolution has a batch norm: with more of them the network is too smooth to memorise
    a thousand small images, and the baseline would not show what label noise does.
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(32 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W]."""
        return self.classifier(functional.adaptive_avg_pool2d(self.features(x), 4).flatten(1))
