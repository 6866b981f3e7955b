"""Cut a box of each image of a batch of varying sizes and resize it to a square; or cut a square as it is.

On a CPU, where a call costs little, image by image with torch's own resize of 8-bit images; elsewhere by `naive`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from nlkit.data.photos.stored import ImageBatch
from nlkit.kernels.resized_crop import naive
from nlkit.kernels.resized_crop.naive import Box as Box


def resized_crop(batch: ImageBatch, box: Box, size: int, flip: Tensor, longest: int) -> Tensor:
    """As `naive.resized_crop`, on a CPU up to one grey level."""
    if batch.device.type != "cpu":
        return naive.resized_crop(batch, box, size, flip, longest)
    result = torch.empty(len(batch), size, size, 3, dtype=torch.uint8)
    for target, crop in _crops(batch, box, flip, result):
        target.copy_(functional.interpolate(crop[None], (size, size), mode="bilinear", antialias=True)[0])
    return result


def cut(batch: ImageBatch, top: Tensor, left: Tensor, size: int, flip: Tensor) -> Tensor:
    """As `naive.cut`."""
    if batch.device.type != "cpu":
        return naive.cut(batch, top, left, size, flip)
    result = torch.empty(len(batch), size, size, 3, dtype=torch.uint8)
    side = torch.full_like(top, size)
    for target, crop in _crops(batch, (top, left, side, side), flip, result):
        target.copy_(crop)
    return result


def _crops(batch: ImageBatch, box: Box, flip: Tensor, result: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Where each image of the result is, and the box of the stored one, mirrored where flip [B]; [3, H, W] each."""
    first = batch.pixels.storage_offset()
    numbers = torch.stack([batch.offsets, batch.widths, *box, flip.long()], dim=1).tolist()
    for target, (offset, line, top, left, height, width, mirrored) in zip(result, numbers, strict=True):
        start = first + offset + 3 * (top * line + left)
        crop = batch.pixels.as_strided((3, height, width), (1, 3 * line, 3), start)
        yield target.permute(2, 0, 1), crop.flip(2) if mirrored else crop
