"""The network of LRA-diffusion, which predicts the noise in a label vector from image, time and frozen features."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nlkit.models import build_model
from nlkit.params.sections import AnyModelParams, PhotoModelParams
from nlkit.seeding import global_stream

PHOTO_HIDDEN = 512  # width between the two last linear layers of the encoder of photographs


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
    """The image encoder e and the noise predictor, which are trained together; `features` is the width of f_p.

    The encoder ends in a linear layer; that of photographs in two, with nothing between, as in the official code.
    """

    def __init__(
        self, model: AnyModelParams, channels: int, classes: int, features: int, seed: int, width: int, timesteps: int
    ) -> None:
        super().__init__()
        self.encoder = build_model(model, channels, width, seed)
        with global_stream(torch.device("cpu"), seed, "denoiser"):
            if isinstance(model, PhotoModelParams):
                assert isinstance(self.encoder.classifier, nn.Linear)
                inputs = self.encoder.classifier.in_features
                self.encoder.classifier = nn.Sequential(nn.Linear(inputs, PHOTO_HIDDEN), nn.Linear(PHOTO_HIDDEN, width))
            self.denoiser = LabelDenoiser(classes, features, width, timesteps)
