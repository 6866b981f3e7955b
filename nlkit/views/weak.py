"""Random views of a batch of images, made on the device, with randomness of its own for each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import Batch, ImageBatch
from nlkit.kernels.crop_flip import crop_flip
from nlkit.params.views import PhotoViewParams, ViewParams
from nlkit.views.photos import centre, random_view


class Views:
    """Turns uint8 images [B, H, W, C] into normalised network inputs float32 [B, C, H, W].

    Images of a store become squares [B, 3, side, side]; they need PhotoViewParams, tensors need ViewParams.
    """

    def __init__(
        self,
        params: ViewParams | PhotoViewParams,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> None:
        self.params = params
        self.mean = 255 * torch.tensor(mean, device=device)
        self.std = 255 * torch.tensor(std, device=device)

    def plain(self, images: Batch) -> Tensor:
        """Normalise only, of the middle square where sizes vary: the view for evaluation."""
        return self._normalised(centre(images) if isinstance(images, ImageBatch) else images)

    def weak(self, images: Batch, stream: torch.Generator) -> Tensor:
        """Shift by up to `pad` pixels over zeros and flip; rotate and zoom where the parameters ask for it.

        Where sizes vary: a random crop or resized crop, and flip.
        """
        params = self.params
        if isinstance(images, ImageBatch):
            assert isinstance(params, PhotoViewParams)
            return self._normalised(random_view(params, images, stream))
        assert isinstance(params, ViewParams)
        if (params.rotate or params.zoom) and len(images):
            return self._affine(params, images, stream)
        batch, pad = len(images), params.pad
        shift = torch.randint(-pad, pad + 1, (2, batch), generator=stream, device=images.device)
        flip = torch.rand(batch, generator=stream, device=images.device) < (0.5 if params.flip else 0.0)
        return crop_flip(images, shift[0], shift[1], flip, self.mean, self.std)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Network inputs [B, C, H, W] of pixels uint8 [B, H, W, C]."""
        return ((pixels - self.mean) / self.std).permute(0, 3, 1, 2)

    def _affine(self, params: ViewParams, images: Tensor, stream: torch.Generator) -> Tensor:
        """Bilinear rotation, zoom and shift in one resampling, over zeros."""
        batch, height, width, _ = images.shape
        uniform = 2 * torch.rand(4, batch, generator=stream, device=images.device) - 1
        angle = uniform[0] * math.radians(params.rotate)
        zoom = 1 + uniform[1] * params.zoom
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        shift = 2 * params.pad * uniform[2:] / torch.tensor([[width], [height]], device=images.device)
        matrix = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(batch, 2, 3)
        if params.flip:
            mirror = torch.rand(batch, generator=stream, device=images.device) < 0.5
            matrix[mirror, :, 0] *= -1
        grid = functional.affine_grid(matrix, [batch, 1, height, width], align_corners=False)
        pixels = images.permute(0, 3, 1, 2).float()
        moved = functional.grid_sample(pixels, grid, align_corners=False)
        return (moved - self.mean[:, None, None]) / self.std[:, None, None]
