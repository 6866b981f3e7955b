"""The pre-activation ResNet-18 of DivideMix's CIFAR experiments."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class PreActBlock(nn.Module):
    """a = relu(bn1(x)); conv2(relu(bn2(conv1(a)))) + shortcut(a): the skip carries the activated tensor."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        changes_shape = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes_shape else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, outputs, H / stride, W / stride] of x [B, inputs, H, W]."""
        a = functional.relu(self.bn1(x))
        return self.conv2(functional.relu(self.bn2(self.conv1(a)))) + self.shortcut(a)


class PreActResNet18(nn.Module):
    """Stem convolution with batch norm and ReLU, four stages of two blocks, no final norm, linear layer.

    With width 64, three channels and 10 classes it has 11 171 274 parameters.
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            blocks += [PreActBlock(inputs, outputs, 1 if stage == 0 else 2), PreActBlock(outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, 32, 32]."""
        return self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))
