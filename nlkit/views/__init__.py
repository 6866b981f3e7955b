"""Random views of a batch of images, made on the device, with randomness of its own for each sample."""

import math
from collections.abc import Sequence
from typing import Generic, TypeVar

from nlkit.data.problem import Batch
from nlkit.kernels.crop_flip import crop_flip
from nlkit.lazy import Device, Generator, Tensor, functional, torch
from nlkit.params.views import PhotoViewParams, ViewParams

Own = TypeVar("Own")


class View(Generic[Own]):
    """What all views share: parameters of their own, and the mean and spread of 8-bit levels."""

    def __init__(self, params: Own, mean: Sequence[float], std: Sequence[float], device: Device) -> None:
        self.params = params
        self.mean, self.std = (255 * torch.tensor(values, device=device) for values in (mean, std))

    def normalised(self, levels: Tensor) -> Tensor:
        """Network inputs [B, C, H, W] of levels 0..255."""
        return (levels - self.mean[:, None, None]) / self.std[:, None, None]


class Views(View[ViewParams | PhotoViewParams]):
    """Turns uint8 images [B, H, W, C] into normalised network inputs float32 [B, C, H, W].

    Images of a store become squares [B, 3, side, side]; they need PhotoViewParams, tensors need ViewParams.
    """

    def plain(self, images: Batch) -> Tensor:
        """Normalise only, of the middle square where sizes vary: the view for evaluation."""
        if not isinstance(images, torch.Tensor):
            from nlkit.views.photos import centre

            images = centre(images)
        return self.normalised(images.permute(0, 3, 1, 2))

    def weak(self, images: Batch, stream: Generator) -> Tensor:
        """Shift by up to `pad` pixels over zeros and flip, rotate and zoom if asked; or a crop of stored images."""
        params = self.params
        if not isinstance(images, torch.Tensor):
            from nlkit.views.photos import random_view

            assert isinstance(params, PhotoViewParams)
            return self.normalised(random_view(params, images, stream).permute(0, 3, 1, 2))
        assert isinstance(params, ViewParams)
        if (params.rotate or params.zoom) and len(images):
            return self._affine(params, images, stream)
        return crop_flip(images, *shifts(images, params.pad, params.flip, stream), self.mean, self.std)

    def _affine(self, params: ViewParams, images: Tensor, stream: Generator) -> Tensor:
        """Bilinear rotation, zoom and shift in one resampling, over zeros."""
        batch, height, width, _ = images.shape
        uniform = 2 * torch.rand(4, batch, generator=stream, device=images.device) - 1
        angle = uniform[0] * math.radians(params.rotate)
        zoom = 1 + uniform[1] * params.zoom
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        shift = 2 * params.pad * uniform[2:] / torch.tensor([[width], [height]], device=images.device)
        matrix = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(batch, 2, 3)
        if params.flip:
            matrix[flips(images, True, stream), :, 0] *= -1
        grid = functional.affine_grid(matrix, [batch, 1, height, width], align_corners=False)
        return self.normalised(functional.grid_sample(images.permute(0, 3, 1, 2).float(), grid, align_corners=False))


def shifts(images: Tensor, pad: int, flip: bool, stream: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns int64 [B] by which to shift images, each in -pad..pad, and which to mirror, bool [B]."""
    dy, dx = torch.randint(-pad, pad + 1, (2, len(images)), generator=stream, device=images.device)
    return dy, dx, flips(images, flip, stream)


def flips(images: Batch, flip: bool, stream: Generator) -> Tensor:
    """Which images to mirror, bool [B]: each with probability one half, none without `flip`."""
    return torch.rand(len(images), generator=stream, device=images.device) < (0.5 if flip else 0.0)
