"""Crop and flip in one launch: each program writes one block of one view."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def crop_flip_fwd_kernel(
    images, dy, dx, flip, mean, std, out, batch, height, width,
    channels: tl.constexpr, narrow: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    view = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * block + tl.arange(0, block)  # [block], in the order of H, W, C
    size = height * width * channels
    valid = place < size
    channel, column, row = place % channels, place // channels % width, place // (channels * width)
    column = tl.where(tl.load(flip + view) != 0, width - 1 - column, column) + tl.load(dx + view)
    row += tl.load(dy + view)
    inside = valid & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    source = (view % batch) * size + (row * width + column) * channels + channel
    level = tl.load(images + source, mask=inside, other=0).to(tl.float32)
    shifted = level - tl.load(mean + channel, mask=valid, other=0.0)
    value = tl.div_rn(shifted, tl.load(std + channel, mask=valid, other=1.0))  # rounded as PyTorch does
    if narrow:  # to the nearest bfloat16, of two the even one, by its bits: Triton's interpreter only cuts them off
        bits = value.to(tl.int32, bitcast=True)
        value = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.int16)
    tl.store(out + view * size + place, value, mask=valid)


def crop_flip(
    images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype
) -> Tensor:
    """See the operation's own docstring."""
    batch, height, width, channels = images.shape
    out = torch.empty(len(dy), height, width, channels, dtype=dtype, device=images.device)
    if out.numel():
        grid = len(dy), triton.cdiv(height * width * channels, BLOCK)
        narrow = dtype == torch.bfloat16
        crop_flip_fwd_kernel[grid](
            images.contiguous(), dy, dx, flip, mean, std, out.view(torch.int16) if narrow else out,
            batch, height, width, channels, narrow, BLOCK,
        )  # fmt: skip
    return out.permute(0, 3, 1, 2)
