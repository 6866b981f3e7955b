"""Networks for small images, a convolutional one for 8 x 8 pixels and residual ones for 32 x 32, and their heads."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class SmallCNN(nn.Module):
    """Three 3 x 3 convolutions, the second with stride 2, and a linear layer over 4 x 4 positions.

    Only the first has a batch norm: with more the network is too smooth to memorise a thousand small images.
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
        features = self.features(x)
        if features.shape[2:] != (4, 4):  # of 8 x 8 pixels there is nothing to average, which costs a tenth of a step
            features = functional.adaptive_avg_pool2d(features, 4)
        return self.classifier(features.flatten(1))


class ResidualNet(nn.Module):
    """Stem, here without down-sampling, blocks, here in four stages, global average, linear layer."""

    stem_shape = (3, 1)  # kernel and stride of the first convolution
    depths = (3, 4, 6, 3)
    block: Callable[[int, int, int], nn.Module]  # from the widths of input and output, and the stride
    expansion = 1  # how many times wider than a stage is the output of its blocks

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_stem(channels, width, *self.stem_shape))
        blocks, features = self.build_blocks(width)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(features, classes)

    def build_blocks(self, width: int) -> tuple[list[nn.Module], int]:
        """The blocks behind a stem of this width, and how many features the last one has."""
        blocks, inputs = list[nn.Module](), width
        for stage, depth in enumerate(self.depths):
            outputs = width * 2**stage * self.expansion
            for position in range(depth):
                blocks.append(self.block(inputs, outputs, 2 if stage > 0 and position == 0 else 1))
                inputs = outputs
        return blocks, inputs

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of inputs [B, channels, H, W]."""
        return self.classifier(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class PooledResNet(ResidualNet):
    """A stem with stride 2 and three blocks of two 3 x 3 convolutions with max-pooling: for small machines.

    A block is a = pool(conv1(x)) behind norm and ReLU, then a + conv2(a) with norm and ReLU inside. Blocks have 2, 4
    and 4 times the width of the stem; few positions leave arithmetic for many weights, so that the network memorises.
    """

    stem_shape = (4, 2)

    def build_blocks(self, width: int) -> tuple[list[nn.Module], int]:
        """The three blocks."""
        sizes = (width, 2 * width, 4 * width, 4 * width)
        return list(map(PooledBlock, sizes[:-1], sizes[1:])), sizes[-1]


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
    """The pre-activation ResNet-18 of DivideMix's CIFAR experiments: four stages of two blocks, no final norm."""

    depths = (2, 2, 2, 2)
    block = PreActBlock


class ResNet34(ResidualNet):
    """torchvision's basic blocks, in stages of 3, 4, 6 and 3, behind a 3 x 3 stem."""

    kind = "BasicBlock"

    def block(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        """One of torchvision's blocks; where it changes the shape its skip is a convolution with batch norm."""
        from torchvision.models import resnet  # takes a second, which runs on digits need not spend

        projection = None
        if stride != 1 or inputs != outputs:
            projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        return getattr(resnet, self.kind)(inputs, outputs // self.expansion, stride, projection)


class ResNet50(ResNet34):
    """The same with bottleneck blocks, whose outputs are four times as wide; 2048 features at width 64."""

    kind, expansion = "Bottleneck", 4


def _stem(channels: int, width: int, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, kernel, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)


class TwinNet(nn.Module):
    """The encoder of any of our networks, whose linear classifier is replaced by the two heads of TCL.

    Both norms at their ends have scale and shift; that of the classifier bounds the logits.
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
    """Encoder and linear classifier of any of our networks with the values that they have, and a projector beside them.

    The projector has no batch norm (SimCLR's head in its SupCon form); `hidden` None means the width of the features.
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


class Gated(nn.Module):
    """softplus(BN(gate[t] * (W x + b))): a linear layer whose units are scaled by a learned table over time.

    The table [T + 1, outputs] starts uniform on [0, 1]. It multiplies only; batch norm gives scale and shift.
    """

    def __init__(self, inputs: int, outputs: int, timesteps: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.gate = nn.Parameter(torch.rand(timesteps + 1, outputs))
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Activations [B, outputs] of x [B, inputs] at the times t [B]."""
        return functional.softplus(self.norm(self.gate[t] * self.linear(x)))


class LabelDenoiser(nn.Module):
    """eps(e, y_t, t, z): three gated layers of width h; the image embedding enters once, as a factor."""

    def __init__(self, classes: int, features: int, width: int, timesteps: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.first = Gated(classes + features, width, timesteps)
        self.second = Gated(width, width, timesteps)
        self.third = Gated(width, width, timesteps)
        self.last = nn.Linear(width, classes)

    def forward(self, embedding: Tensor, y: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """The predicted noise [B, C] for e(x) [B, h], y_t [B, C], times t [B] and frozen features z [B, d]."""
        a = self.first(torch.cat([y, z], dim=1), t)
        a = self.second(self.norm(embedding) * a, t)
        return self.last(self.third(a, t))


class LabelDiffusionNet(nn.Module):
    """The image encoder e and the noise predictor of LRA-diffusion, which are trained together."""

    def __init__(self, encoder: nn.Module, denoiser: LabelDenoiser) -> None:
        super().__init__()
        self.encoder, self.denoiser = encoder, denoiser
