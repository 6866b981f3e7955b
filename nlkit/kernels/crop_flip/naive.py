"""Crop and flip by one gather of source pixels; nothing is padded."""

from __future__ import annotations

from nlkit.lazy import Tensor, torch


def crop_flip(
    images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype
) -> Tensor:
    """See the operation's own docstring. Pixels outside an image are a black one behind the last image."""
    (batch, height, width, channels), views = images.shape, len(dy)
    first = (height * torch.arange(batch, device=images.device)).repeat(views // max(batch, 1))[:, None]
    rows = dy[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(views, width)
    columns = dx[:, None] + torch.where(flip[:, None], width - 1 - columns, columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    source = torch.where(inside, (width * (first + rows))[:, :, None] + columns[:, None, :], batch * height * width)
    pixels = torch.cat([images.reshape(-1, channels), images.new_zeros(1, channels)])
    lines = pixels.index_select(0, source.flatten()).view(views * height, width * channels)
    normalised = (lines - mean.repeat(width)).div_(std.repeat(width))  # rows as wide as vector instructions like them
    return normalised.view(views, height, width, channels).to(dtype).permute(0, 3, 1, 2)
