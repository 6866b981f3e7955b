"""Networks for small images: a convolutional one for 8 x 8 pixels, and residual ones for 32 x 32."""

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
            *_stem(channels, width),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(32 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W]."""
        return self.classifier(functional.adaptive_avg_pool2d(self.features(x), 4).flatten(1))


class ResidualNet(nn.Module):
    """Stem without down-sampling, four stages of blocks, global average, linear layer."""

    def __init__(self, stem: nn.Sequential, blocks: list[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, 32, 32]."""
        return self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class PooledResNet(nn.Module):
    """Stem, three blocks of two 3 x 3 convolutions with max-pooling, global average, linear layer: for small machines.

    A block is a = pool(conv1(x)) behind norm and ReLU, then a + conv2(a) with norm and ReLU inside. Blocks have 2, 4
    and 4 times the width of the stem, so that most of the arithmetic happens on 16 x 16 and 8 x 8 positions.
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_stem(channels, width))
        sizes = (width, 2 * width, 4 * width, 4 * width)
        self.blocks = nn.Sequential(*map(PooledBlock, sizes[:-1], sizes[1:]))
        self.classifier = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W]."""
        return self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class PooledBlock(nn.Module):
    """Halves the side of x [B, inputs, H, W]: convolution, 2 x 2 maximum, then a convolution with a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, outputs, H / 2, W / 2]."""
        a = functional.relu(self.bn1(functional.max_pool2d(self.conv1(x), 2)))
        return a + functional.relu(self.bn2(self.conv2(a)))


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


class PreActResNet18(ResidualNet):
    """The pre-activation ResNet-18 of DivideMix's CIFAR experiments: four stages of two blocks, no final norm.

    With width 64, three channels and 10 classes it has 11 171 274 parameters.
    """

    def __init__(self, channels: int, classes: int, width: int) -> None:
        stem, blocks = nn.Sequential(*_stem(channels, width)), list[nn.Module]()
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            blocks += [PreActBlock(inputs, outputs, 1 if stage == 0 else 2), PreActBlock(outputs, outputs, 1)]
            inputs = outputs
        super().__init__(stem, blocks, inputs, classes)


class ResNet34(ResidualNet):
    """torchvision's basic blocks, in stages of 3, 4, 6 and 3, behind a 3 x 3 stem."""

    block = "BasicBlock"

    def __init__(self, channels: int, classes: int, width: int) -> None:
        from torchvision.models import resnet  # takes a second, which runs on digits need not spend

        block = getattr(resnet, self.block)
        stem, blocks = nn.Sequential(*_stem(channels, width)), list[nn.Module]()
        inputs = width
        for stage, depth in enumerate((3, 4, 6, 3)):
            planes = width * 2**stage
            outputs = planes * block.expansion
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(block(inputs, planes, stride, _projection(inputs, outputs, stride)))
                inputs = outputs
        super().__init__(stem, blocks, inputs, classes)


class ResNet50(ResNet34):
    """The same with bottleneck blocks, whose outputs are four times as wide; 2048 features at width 64."""

    block = "Bottleneck"


def _stem(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
