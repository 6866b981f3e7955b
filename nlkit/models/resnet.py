"""ResNet-34 and -50 for 32 x 32 images: torchvision's blocks behind a stem without down-sampling."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck


class ResNet34(nn.Module):
    """3 x 3 stem, stages of 3, 4, 6 and 3 basic blocks, global average, linear layer."""

    block: type[BasicBlock] | type[Bottleneck] = BasicBlock

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        inputs = width
        for stage, depth in enumerate((3, 4, 6, 3)):
            planes = width * 2**stage
            outputs = planes * self.block.expansion
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(self.block(inputs, planes, stride, _projection(inputs, outputs, stride)))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, 32, 32]."""
        return self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class ResNet50(ResNet34):
    """The same with bottleneck blocks, whose outputs are four times as wide; 2048 features at width 64."""

    block = Bottleneck


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
