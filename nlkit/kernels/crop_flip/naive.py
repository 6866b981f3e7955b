"""Crop and flip by one gather of source pixels; nothing is padded."""

from __future__ import annotations

from nlkit.lazy import Tensor, torch


def crop_flip(
    images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype
) -> Tensor:
    """See the operation's own docstring."""
    batch, height, width, _ = images.shape
    views = len(dy)
    rows = dy[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(views, width)
    columns = dx[:, None] + torch.where(flip[:, None], width - 1 - columns, columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    index = torch.arange(batch, device=images.device).repeat(views // max(batch, 1))[:, None, None]
    picked = images[index, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return ((picked * inside[..., None] - mean) / std).to(dtype).permute(0, 3, 1, 2)
