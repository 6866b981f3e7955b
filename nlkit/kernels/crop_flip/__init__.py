"""Random crop of the zero-padded image, horizontal flip and normalisation, for a batch."""

from __future__ import annotations

from nlkit.kernels import form
from nlkit.lazy import Tensor, torch


def crop_flip(
    images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Shift images by whole pixels over zeros, mirror some of them, and normalise.

    images: uint8 [B, H, W, C]; dy, dx: int64 [R], the source row and column of the output's corner; flip: bool [R];
    mean, std: float32 [C] in units of 0..255. R is a multiple of B, and view r is one of image r % B. Returns float32,
    or another `dtype`, [R, C, H, W], channels last in memory. A pixel outside the image counts as 0 before
    normalisation. All forms agree bit for bit.
    """
    found: Tensor = form("crop_flip", images.device).crop_flip(images, dy, dx, flip, mean, std, dtype or torch.float32)
    return found
