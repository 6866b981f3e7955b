"""Where images of sizes of their own are cut: boxes of random crops, and corners of squares."""

import math

import torch
from torch import Tensor

from nlkit.data.photos.stored import ImageBatch
from nlkit.kernels.resized_crop import Box, cut, resized_crop
from nlkit.params.views import PhotoViewParams
from nlkit.views import flips

WIDEST = 4 / 3  # largest ratio of the sides of a random crop, either way


def crop_boxes(heights: Tensor, widths: Tensor, smallest: float, stream: torch.Generator) -> Box:
    """Boxes of random crops of images of these sizes int64 [B]: area share in smallest..1, aspect ratio in 3/4..4/3.

    As torchvision's RandomResizedCrop: the first of ten draws that fits, else the largest box of such a ratio in
    the middle, which is the whole image unless that is narrower or wider.
    """
    u = torch.rand(4, 10, len(heights), generator=stream, device=heights.device)
    area = heights * widths * (smallest + u[0] * (1 - smallest))
    ratio = torch.exp((2 * u[1] - 1) * math.log(WIDEST))
    wide, high = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide > 0) & (wide <= widths) & (high > 0) & (high <= heights)
    first = fits.int().argmax(dim=0, keepdim=True)
    found = fits.gather(0, first)[0]
    sides = (heights, widths), (widths, heights)  # each of which is cut to 4/3 of the other
    most_high, most_wide = (torch.minimum(own, (other.double() * WIDEST).round().long()) for own, other in sides)
    wide = torch.where(found, wide.gather(0, first)[0], most_wide)
    high = torch.where(found, high.gather(0, first)[0], most_high)
    top = (u[2].gather(0, first)[0] * (heights - high + 1)).long()
    left = (u[3].gather(0, first)[0] * (widths - wide + 1)).long()
    top, left = torch.where(found, top, (heights - high) // 2), torch.where(found, left, (widths - wide) // 2)
    return top, left, high, wide


def longest_side(pixels: int) -> int:
    """No side of a box that `crop_boxes` makes in images of at most so many pixels is longer."""
    return math.ceil(math.sqrt(pixels * WIDEST)) + 1


def centre(images: ImageBatch) -> Tensor:
    """The middle square uint8 [B, side, side, 3] of each image, halves rounded to even as torchvision does."""
    top, left = (((sides - images.side) / 2).round().long() for sides in (images.heights, images.widths))
    return cut(images, top, left, images.side, torch.zeros_like(images.offsets, dtype=torch.bool))


def random_view(params: PhotoViewParams, images: ImageBatch, stream: torch.Generator) -> Tensor:
    """The weak view uint8 [B, side, side, 3] of each image: a square of any place or a resized crop, and flip."""
    if params.kind == "resized_crop":
        return random_resized_crop(images, params.smallest, params.flip, stream)
    u = torch.rand(2, len(images), generator=stream, device=images.device)
    top, left = (u[0] * (images.heights - images.side + 1)).long(), (u[1] * (images.widths - images.side + 1)).long()
    return cut(images, top, left, images.side, flips(images, params.flip, stream))


def random_resized_crop(images: ImageBatch, smallest: float, flip: bool, stream: torch.Generator) -> Tensor:
    """A box of at least the share `smallest` of each image, resized to uint8 [B, side, side, 3], mirrored or not."""
    box = crop_boxes(images.heights, images.widths, smallest, stream)
    mirrored = flips(images, flip, stream)
    return resized_crop(images, box, images.side, mirrored, longest_side(images.largest))
