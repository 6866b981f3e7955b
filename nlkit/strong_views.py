"""Strong random views of a batch of images, made on the device, with randomness of its own for each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.autoaugment import AutoAugment
from nlkit.codim_params import AutoAugmentParams
from nlkit.colours import grey, jitter, solarise
from nlkit.params import ViewParams
from nlkit.tcl_params import AffineStrongParams, SimCLRParams
from nlkit.views import Views


class StrongView(Protocol):
    """Turns uint8 images [B, H, W, C] into normalised network inputs float32 [B, C, H, W]."""

    def __call__(self, images: Tensor, stream: torch.Generator) -> Tensor:
        """One view of each image."""
        ...


def strong_view(
    params: AffineStrongParams | SimCLRParams | AutoAugmentParams,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
) -> StrongView:
    """The strong view that the parameters ask for; mean and std are those of pixels in 0..1."""
    match params:
        case AffineStrongParams():
            return AffineStrong(params, mean, std, device)
        case SimCLRParams():
            return SimCLR(params, mean, std, device)
        case AutoAugmentParams():
            return AutoAugment(params, mean, std, device)


class AffineStrong:
    """Erase a rectangle, then rotate, zoom and shift by more than the weak view; never a flip."""

    def __init__(
        self, params: AffineStrongParams, mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> None:
        self.erase = params.erase
        moves = ViewParams(pad=params.pad, flip=False, rotate=params.rotate, zoom=params.zoom)
        self.views = Views(moves, mean, std, device)

    def __call__(self, images: Tensor, stream: torch.Generator) -> Tensor:
        """One view of each image."""
        return self.views.weak(erase(images, self.erase, stream), stream)


class SimCLR:
    """Random resized crop, flip, colour jitter, grey, solarisation (SimCLR's views as TCL uses them on CIFAR).

    Pixels are rounded to 8 bits once, before solarisation; libraries that work on images round after each step.
    """

    def __init__(self, params: SimCLRParams, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self.params = params
        self.mean = 255 * torch.tensor(mean, device=device)[:, None, None]
        self.std = 255 * torch.tensor(std, device=device)[:, None, None]
        strengths = (params.brightness, params.contrast, params.saturation, params.hue)
        self.strengths = torch.tensor(strengths, device=device)
        self.centres = torch.tensor([1.0, 1.0, 1.0, 0.0], device=device)

    def __call__(self, images: Tensor, stream: torch.Generator) -> Tensor:
        """One view of each image."""
        batch, height, width, _ = images.shape
        params = self.params

        def uniform(*shape: int) -> Tensor:
            return torch.rand(batch, *shape, generator=stream, device=images.device)

        def chance(p: float) -> Tensor:
            return (uniform() < p)[:, None, None, None]

        box = crop_boxes(batch, height, width, params.crop, stream, images.device)
        pixels = resized_crop(images.permute(0, 3, 1, 2).float() / 255, box)
        pixels = torch.where(chance(0.5 if params.flip else 0.0), pixels.flip(3), pixels)
        factors = self.centres + (2 * uniform(4) - 1) * self.strengths
        order = uniform(4).argsort(dim=1)
        pixels = torch.where(chance(params.jitter), jitter(pixels, factors, order), pixels)
        pixels = torch.where(chance(params.grey), grey(pixels), pixels)
        eight_bit = (255 * pixels).round()
        eight_bit = torch.where(chance(params.solarise), solarise(eight_bit), eight_bit)
        return (eight_bit - self.mean) / self.std


def erase(images: Tensor, longest: float, stream: torch.Generator) -> Tensor:
    """Blacken a rectangle of each image, uint8 [B, H, W, C]; its sides are uniform in 0..round(longest * side)."""
    batch, *sides, _ = images.shape
    inside = []
    for side in sides:
        u = torch.rand(2, batch, generator=stream, device=images.device)
        length = (u[0] * (round(longest * side) + 1)).floor()
        start = (u[1] * (side - length + 1)).floor()
        index = torch.arange(side, device=images.device)
        inside.append((index >= start[:, None]) & (index < (start + length)[:, None]))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[..., None], 0)


def crop_boxes(
    batch: int, height: int, width: int, smallest: float, stream: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width int64 [B] of random crops: area share in smallest..1, aspect ratio in 3/4..4/3.

    As torchvision's RandomResizedCrop: the first of ten draws that fits, else the whole image.
    """
    u = torch.rand(4, 10, batch, generator=stream, device=device)
    area = height * width * (smallest + u[0] * (1 - smallest))
    ratio = torch.exp((2 * u[1] - 1) * math.log(4 / 3))
    wide, high = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = fits.int().argmax(dim=0, keepdim=True)
    found = fits.gather(0, first)[0]
    wide = torch.where(found, wide.gather(0, first)[0], width)
    high = torch.where(found, high.gather(0, first)[0], height)
    top = (u[2].gather(0, first)[0] * (height - high + 1)).long()
    left = (u[3].gather(0, first)[0] * (width - wide + 1)).long()
    return top, left, high, wide


def resized_crop(pixels: Tensor, box: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Cut box = (top, left, height, width), each int64 [B], from [B, C, H, W] and enlarge it to H x W, bilinearly.

    Beyond the border of the box its outermost pixels are repeated, as where a cut-out image is resized.
    """
    top, left, high, wide = box
    height, width = pixels.shape[2:]
    y, x = _sources(height, top, high), _sources(width, left, wide)
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _sources(size: int, start: Tensor, length: Tensor) -> Tensor:
    """Where [B, size] each output pixel's centre lies in the source, in -1..1 over all its pixels."""
    centres = torch.arange(size, device=start.device) + 0.5
    place = start[:, None] + centres * length[:, None] / size - 0.5
    place = torch.maximum(place, start[:, None].float())
    place = torch.minimum(place, (start + length - 1)[:, None].float())
    return (2 * place + 1) / size - 1
