"""Diffusion over label vectors: noise schedule, forward process, deterministic sampling, and the final decision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nlkit.lazy import Tensor, torch

Denoiser = Callable[[Tensor, int], Tensor]
"""Predicts the noise [B, C] in label vectors y [B, C] at the time t."""

MAX_BETA = 0.999


@dataclass(frozen=True)
class Schedule:
    """beta_t and the products abar_t = prod_{s <= t} (1 - beta_s), float64 [T], for t = 0 .. T-1."""

    betas: Tensor
    abar: Tensor

    def __len__(self) -> int:
        return len(self.betas)


def cosine_schedule(timesteps: int, device: torch.device | None = None) -> Schedule:
    """beta_i = min(1 - a((i+1)/T) / a(i/T), 0.999) with a(u) = cos^2((u + 0.008) / 1.008 * pi/2)."""
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    a = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - a[1:] / a[:-1]).clamp_max(MAX_BETA)
    return Schedule(betas.to(device), (1 - betas).cumprod(dim=0).to(device))


def add_noise(y: Tensor, t: Tensor, noise: Tensor, schedule: Schedule, mean: Tensor | float = 0.0) -> Tensor:
    """y_t = sqrt(abar) y_0 + (1 - sqrt(abar)) m + sqrt(1 - abar) eps for y_0, eps, m [B, C] and times t [B].

    The forward process of CARD (Han et al., NeurIPS 2022); LRA-diffusion is run with m = 0.
    """
    abar = schedule.abar[t].to(y.dtype)[:, None]
    return abar.sqrt() * y + (1 - abar.sqrt()) * mean + (1 - abar).sqrt() * noise


def antithetic_times(batch: int, timesteps: int, stream: torch.Generator, device: torch.device) -> Tensor:
    """Times [batch]: the first half uniform on 0 .. T-1, the rest T-1-t, so that late and early times balance."""
    half = torch.randint(timesteps, (batch // 2 + 1,), generator=stream, device=device)
    return torch.cat([half, timesteps - 1 - half])[:batch]


def sampling_times(timesteps: int, steps: int) -> list[int]:
    """The times 1, 1 + T/S, 1 + 2T/S, ... of S sampling steps, ascending."""
    return [1 + (timesteps // steps) * step for step in range(steps)]


def sample_from_mean(denoise: Denoiser, mean: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Deterministic DDIM from the mean m [B, C] of the terminal distribution; all its vectors [S + 1, B, C].

    From y = m, at each time with a = abar and a' = abar of the step before (abar_0 at the last step):
    y_0 = (y - (1 - sqrt a) m - sqrt(1 - a) eps) / sqrt a, then y = sqrt(a') y_0 + (1 - sqrt a') m + sqrt(1 - a') eps.
    No noise is drawn anywhere: this follows the most likely trajectory. The last row is the result.
    """
    times = sampling_times(len(schedule), steps)
    path = [mean]
    for t, before in zip(reversed(times), reversed([0, *times[:-1]]), strict=True):
        a, b = float(schedule.abar[t]), float(schedule.abar[before])
        noise = denoise(path[-1], t)
        clean = (path[-1] - (1 - a**0.5) * mean - (1 - a) ** 0.5 * noise) / a**0.5
        path.append(b**0.5 * clean + (1 - b**0.5) * mean + (1 - b) ** 0.5 * noise)
    return torch.stack(path)


def closeness(y: Tensor, temperature: float) -> Tensor:
    """Logits -(y_c - 1)^2 / temperature [B, C]: their largest is the class argmin_c |y_c - 1|, not argmax_c y_c."""
    return -((y - 1) ** 2) / temperature
