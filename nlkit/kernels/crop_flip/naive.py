"""Crop, flip and normalise by index arithmetic."""

from __future__ import annotations

from nlkit.lazy import Tensor, torch


def crop_flip(images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Shift images by whole pixels over zeros, mirror some of them, and normalise.

    images: uint8 [B, H, W, C]; dy, dx: int64 [B], the source row and column of the output's corner;
    flip: bool [B]; mean, std: float [C] in units of 0..255. Returns float32 [B, C, H, W], channels last
    in memory. A pixel outside the image counts as 0 before normalisation.
    """
    batch, height, width, _ = images.shape
    rows = dy[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    columns = dx[:, None] + torch.where(flip[:, None], width - 1 - columns, columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    index = torch.arange(batch, device=images.device)[:, None, None]
    picked = images[index, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return ((picked * inside[..., None] - mean) / std).permute(0, 3, 1, 2)
