"""Label diffusion: noise schedule, forward process, sampling, and the networks that are trained, with their average."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nlkit.data.problem import Batch, Images, TrainingSet
from nlkit.lazy import Tensor, no_grad, torch
from nlkit.params import Params
from nlkit.params.registry import MethodParams
from nlkit.params.sections import OptimParams, PhotoModelParams, Positive, PositiveFloat
from nlkit.parts.learner import Learner, with_prefix, without_prefix
from nlkit.seeding import global_stream

if TYPE_CHECKING:
    from nlkit.models.networks import LabelDiffusionNet

Denoiser = Callable[[Tensor, int], Tensor]
"""Predicts the noise [B, C] in label vectors y [B, C] at the time t."""

MAX_BETA, BETA_2 = 0.999, 0.999  # of the schedule; of Adam
PHOTO_HIDDEN = 512  # width between the two last linear layers of the encoder of photographs


class DiffusionParams(MethodParams):
    """The networks of label diffusion and their training."""

    train_encoder: bool = True  # e
    width: Annotated[int, Field(ge=2)] = 512  # h
    timesteps: Annotated[int, Field(ge=2, le=2**16)] = 1000  # T
    sampling_steps: Positive = 10  # S
    clip_norm: PositiveFloat = 1.0  # of the gradients of e and of the noise predictor, each
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    evaluate: Literal["ema", "raw"] = "ema"  # which weights the result is of


def cosine_schedule(timesteps: int, device: torch.device | None = None) -> Tensor:
    """abar_t = prod_{s <= t} (1 - beta_s), float64 [T], for t = 0 .. T-1.

    beta_i = min(1 - a((i+1)/T) / a(i/T), 0.999) with a(u) = cos^2((u + 0.008) / 1.008 * pi/2).
    """
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    a = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - a[1:] / a[:-1]).clamp_max(MAX_BETA)
    return (1 - betas).cumprod(dim=0).to(device)


def add_noise(y: Tensor, t: Tensor, noise: Tensor, abar: Tensor, mean: Tensor | float = 0.0) -> Tensor:
    """y_t = sqrt(abar) y_0 + (1 - sqrt(abar)) m + sqrt(1 - abar) eps for y_0, eps, m [B, C] and times t [B].

    The forward process of CARD (Han et al., NeurIPS 2022); LRA-diffusion is run with m = 0.
    """
    left = abar[t].to(y.dtype)[:, None]
    return left.sqrt() * y + (1 - left.sqrt()) * mean + (1 - left).sqrt() * noise


def antithetic_times(batch: int, timesteps: int, stream: torch.Generator, device: torch.device) -> Tensor:
    """Times [batch]: the first half uniform on 0 .. T-1, the rest T-1-t, so that late and early times balance."""
    half = torch.randint(timesteps, (batch // 2 + 1,), generator=stream, device=device)
    return torch.cat([half, timesteps - 1 - half])[:batch]


def sampling_times(timesteps: int, steps: int) -> list[int]:
    """The times 1, 1 + T/S, 1 + 2T/S, ... of S sampling steps, ascending."""
    return [1 + (timesteps // steps) * step for step in range(steps)]


def sample_from_mean(denoise: Denoiser, mean: Tensor, abar: Tensor, steps: int) -> Tensor:
    """Deterministic DDIM from the mean m [B, C] of the terminal distribution; all its vectors [S + 1, B, C].

    From y = m, at each time with a = abar and a' = abar of the step before (abar_0 at the last step):
    y_0 = (y - (1 - sqrt a) m - sqrt(1 - a) eps) / sqrt a, then y = sqrt(a') y_0 + (1 - sqrt a') m + sqrt(1 - a') eps.
    No noise is drawn anywhere: this follows the most likely trajectory. The last row is the result.
    """
    times = sampling_times(len(abar), steps)
    path = [mean]
    for t, before in zip(reversed(times), reversed([0, *times[:-1]]), strict=True):
        a, b = float(abar[t]), float(abar[before])
        noise = denoise(path[-1], t)
        clean = (path[-1] - (1 - a**0.5) * mean - (1 - a) ** 0.5 * noise) / a**0.5
        path.append(b**0.5 * clean + (1 - b**0.5) * mean + (1 - b) ** 0.5 * noise)
    return torch.stack(path)


def closeness(y: Tensor, temperature: float) -> Tensor:
    """Logits -(y_c - 1)^2 / temperature [B, C]: their largest is the class argmin_c |y_c - 1|, not argmax_c y_c."""
    return -((y - 1) ** 2) / temperature


class DiffusionLearner(Learner):
    """The networks e and eps, Adam over the trained ones, and their average; `features` is the width of f_p."""

    net: LabelDiffusionNet

    def __init__(self, data: TrainingSet, params: Params[DiffusionParams], name: str, features: int) -> None:
        self.method, self.classes, self.features = params.method, data.classes, features
        super().__init__(data, params, name)
        self.ema = Ema(self.net, self.method.ema_decay)
        self.abar = cosine_schedule(self.method.timesteps, self.device)

    def build_network(self, data: TrainingSet, params: Params[Any], seed: int) -> torch.nn.Module:
        """The freshly initialised networks; e gets no gradient where it is not trained."""
        from nlkit.models import build_model
        from nlkit.models.networks import LabelDenoiser, LabelDiffusionNet

        width, linear = self.method.width, torch.nn.Linear
        encoder: Any = build_model(params.model, data.images.shape[3], width, seed)
        with global_stream(torch.device("cpu"), seed, "denoiser"):
            if isinstance(params.model, PhotoModelParams):  # two linear layers, nothing between: the official code
                inputs = encoder.classifier.in_features
                encoder.classifier = torch.nn.Sequential(linear(inputs, PHOTO_HIDDEN), linear(PHOTO_HIDDEN, width))
            denoiser = LabelDenoiser(data.classes, self.features, width, self.method.timesteps)
        return LabelDiffusionNet(encoder.requires_grad_(self.method.train_encoder), denoiser)

    def build_optimiser(self, optim: OptimParams) -> torch.optim.Optimizer:
        """Adam over all weights that are trained."""
        trained = [weight for weight in self.net.parameters() if weight.requires_grad]
        return torch.optim.Adam(trained, lr=optim.lr, betas=(optim.momentum, BETA_2), weight_decay=optim.weight_decay)

    def embed(self, net: LabelDiffusionNet, view: Tensor) -> Tensor:
        """e(x) float32 [B, h] of normalised inputs [B, channels, H, W], in the network's current mode."""
        return self.through(net.encoder, view).float()

    def update(self, clip: float | None) -> None:
        """Adam; the gradients of e and of eps are cut to the norm `clip` each where that is given."""
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.net.denoiser.parameters(), clip)
            torch.nn.utils.clip_grad_norm_(self.net.encoder.parameters(), clip)
        self.optimiser.step()
        self.ema.update(self.net)

    @no_grad()
    def trajectory(self, net: LabelDiffusionNet, images: Batch, z: Tensor) -> Tensor:
        """Label vectors [S + 1, B, C] from 0 to the result, of plain images uint8 [B, H, W, C] and z [B, d]."""
        training = net.training
        net.eval()
        embedding = self.embed(net, self.views.plain(images))
        start = torch.zeros(len(images), self.classes, device=self.device)

        def denoise(y: Tensor, t: int) -> Tensor:
            return net.denoiser(embedding, y, torch.full((len(y),), t, device=self.device), z)

        path = sample_from_mean(denoise, start, self.abar, self.method.sampling_steps)
        net.train(training)
        return path

    def sample(self, net: LabelDiffusionNet, images: Images, z: Tensor) -> Tensor:
        """Sampled label vectors [N, C] of plain images uint8 [N, H, W, C] with frozen features z [N, d]."""
        parts = zip(images.split(self.eval_batch_size), z.split(self.eval_batch_size), strict=True)
        return torch.cat([self.trajectory(net, *part)[-1] for part in parts])

    def nets(self) -> tuple[LabelDiffusionNet, LabelDiffusionNet]:
        """The network that the result is of, and the other: averaged weights and those of the last step."""
        pair = self.ema.net, self.net
        return pair if self.method.evaluate == "ema" else (pair[1], pair[0])

    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes: weights, buffers, their average, and Adam's moments."""
        state = with_prefix("net", self.net.state_dict()) | with_prefix("ema", self.ema.net.state_dict())
        for index, entry in self.optimiser.state_dict()["state"].items():
            state |= with_prefix(f"adam.{index}", entry)
        return state

    def load_tensors(self, state: dict[str, Tensor]) -> None:
        """Take back what `tensors` returned."""
        self.net.load_state_dict(without_prefix("net", state))
        self.ema.net.load_state_dict(without_prefix("ema", state))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in without_prefix("adam", state).items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = value.cpu().clone() if key == "step" else value.clone()
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})


class Ema:
    """A copy whose weights, and statistics of batch norm, follow those of a network; whole numbers are copied.

    After update number n = 1, 2, ... the copy is d theta_ema + (1 - d) theta with d = min(decay, n / (n + 9)): the
    first updates forget the random start.
    """

    def __init__(self, net: LabelDiffusionNet, decay: float) -> None:
        self.net: LabelDiffusionNet = copy.deepcopy(net).requires_grad_(False).eval()
        self.net.register_buffer("updates", torch.tensor(0))  # a buffer, so that the copy's state has it
        self.decay = decay

    @no_grad()
    def update(self, net: LabelDiffusionNet) -> None:
        """Move towards the weights that the network has now."""
        updates = self.net.get_buffer("updates").add_(1).item()
        decay = min(self.decay, updates / (updates + 9))
        torch._foreach_lerp_([*self.net.parameters()], [*net.parameters()], 1 - decay)
        for name, other in net.named_buffers():
            own = self.net.get_buffer(name)
            own.lerp_(other, 1 - decay) if own.is_floating_point() else own.copy_(other)
