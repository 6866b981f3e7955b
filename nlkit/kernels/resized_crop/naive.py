"""Resized crops by products with matrices of weights, for a whole batch."""

import torch
from torch import Tensor

from nlkit.data.photos.stored import ImageBatch

Box = tuple[Tensor, Tensor, Tensor, Tensor]  # top, left, height and width int64 [B]
GROUP_BYTES = 128 * 2**20  # memory that the images of one group may take meanwhile, roughly
BITS = 22  # weights are whole multiples of 2^-22, as in Pillow


def resized_crop(batch: ImageBatch, box: Box, size: int, flip: Tensor, longest: int) -> Tensor:
    """Cut a box of each image, resize it bilinearly to a square, with antialiasing, and mirror some of them.

    box: top, left, height and width int64 [B], inside the images; flip: bool [B]; longest: no side of a box is longer,
    which the caller knows without asking the device. Returns uint8 [B, size, size, 3].

    Rows are resized first, then columns, rounded to 8 bits after each: bit for bit what Pillow makes of a cut-out image
    in two such steps. In one step Pillow 13 takes columns first where that is less work, and may differ by one level.
    """
    result = torch.empty(len(batch), size, size, 3, dtype=torch.uint8, device=batch.device)
    group = max(1, GROUP_BYTES // (longest * (32 * longest + 80 * size)))
    for start in range(0, len(batch), group):
        part = slice(start, start + group)
        top, left, height, width = (values[part] for values in box)
        pixels = _cut_boxes(batch, part, (top, left, height, width), longest)
        across, down = triangle(width, size, longest), triangle(height, size, longest)
        across = torch.where(flip[part, None, None], across.flip(1), across)
        rows = _resized(pixels.flatten(1, 2), across).unflatten(1, (3, longest))
        columns = _resized(rows.mT.flatten(1, 2), down).unflatten(1, (3, size))
        result[part] = columns.permute(0, 3, 2, 1).byte()
    return result


def triangle(lengths: Tensor, size: int, longest: int) -> Tensor:
    """Weights int32 [B, size, longest], in units of 2^-22, that resize lines of lengths int64 [B] to `size` pixels."""
    scale = (lengths.double() / size)[:, None, None]
    centres = (torch.arange(size, device=lengths.device)[:, None] + 0.5) * scale
    places = torch.arange(longest, device=lengths.device)
    weights = (1 - (places + 0.5 - centres).abs() / scale.clamp_min(1)).clamp_min(0)
    weights = weights * (places < lengths[:, None, None])
    return (weights / weights.sum(dim=2, keepdim=True) * 2**BITS + 0.5).int()


def _resized(lines: Tensor, weights: Tensor) -> Tensor:
    """Lines float32 [g, L, longest] of 8-bit levels resized to [g, L, size], rounded, halves upwards.

    High and low halves of the weights are applied apart: so every product and sum is a whole number that float32 holds
    exactly, whatever the order of summation. No weight is negative, hence nothing leaves 0..255.
    """
    half = BITS // 2
    high, low = ((lines @ part.float().mT).int() for part in (weights >> half, weights & (2**half - 1)))
    return (((high << half) + low + 2 ** (BITS - 1)) >> BITS).float()


def cut(batch: ImageBatch, top: Tensor, left: Tensor, size: int, flip: Tensor) -> Tensor:
    """The square of each image with this corner, int64 [B] each, mirrored where flip [B]; uint8 [B, size, size, 3]."""
    places = torch.arange(size, device=batch.device)
    columns = torch.where(flip[:, None], size - 1 - places, places) + left[:, None]
    rows = top[:, None] + places
    return _picked(batch.pixels, batch.offsets, batch.widths, rows, columns)


def _cut_boxes(batch: ImageBatch, part: slice, box: Box, longest: int) -> Tensor:
    """Boxes float32 [g, 3, longest, longest] of some images; behind its end a box goes on with its last pixel."""
    top, left, height, width = box
    places = torch.arange(longest, device=batch.device)
    rows = top[:, None] + torch.minimum(places, height[:, None] - 1)
    columns = left[:, None] + torch.minimum(places, width[:, None] - 1)
    pixels = _picked(batch.pixels, batch.offsets[part], batch.widths[part], rows, columns)
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def _picked(pixels: Tensor, offsets: Tensor, widths: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels uint8 [g, R, C, 3] at rows [g, R] and columns [g, C] of images in a flat tensor."""
    place = rows[:, :, None] * widths[:, None, None] + columns[:, None, :]
    triples = pixels.as_strided((max(len(pixels) - 2, 0), 3), (1, 1))
    return triples[offsets[:, None, None] + 3 * place]
