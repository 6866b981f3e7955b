"""Views of images of varying sizes before normalisation: squares of 8-bit pixels, made on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from nlkit.boxes import centre_corner, crop_boxes, longest_side, random_corner
from nlkit.kernels.resized_crop import cut, resized_crop
from nlkit.stored import ImageBatch
from nlkit.view_params import PhotoViewParams


def centre(images: ImageBatch) -> Tensor:
    """The middle square uint8 [B, side, side, 3] of each image."""
    corner = centre_corner(images.heights, images.widths, images.side)
    return cut(images, *corner, images.side, torch.zeros_like(images.offsets, dtype=torch.bool))


def random_view(params: PhotoViewParams, images: ImageBatch, stream: torch.Generator) -> Tensor:
    """The weak view uint8 [B, side, side, 3] of each image: crop or resized crop, and flip."""
    if params.kind == "resized_crop":
        return random_resized_crop(images, params.smallest, params.flip, stream)
    corner = random_corner(images.heights, images.widths, images.side, stream)
    return cut(images, *corner, images.side, _flips(images, params.flip, stream))


def random_resized_crop(images: ImageBatch, smallest: float, flip: bool, stream: torch.Generator) -> Tensor:
    """A box of at least the share `smallest` of each image, resized to uint8 [B, side, side, 3], mirrored or not."""
    box = crop_boxes(images.heights, images.widths, smallest, stream)
    mirrored = _flips(images, flip, stream)
    return resized_crop(images, box, images.side, mirrored, longest_side(images.largest))


def _flips(images: ImageBatch, flip: bool, stream: torch.Generator) -> Tensor:
    """Which images to mirror, bool [B]: each with probability one half, none without `flip`."""
    return torch.rand(len(images), generator=stream, device=images.device) < (0.5 if flip else 0.0)
