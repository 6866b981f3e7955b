"""Random crop of the zero-padded image, horizontal flip and normalisation, for a batch.

Textbooks pad the image by p zeros on each side, cut a window of the old size at a random place, and mirror it. With the
window's corner at (dy, dx) in the image's own coordinates, -p <= dy, dx <= p, the output is

    out[i, j] = (P[dy + i, dx + s(j)] - mean) / std,    s(j) = j, or W - 1 - j where the image is mirrored,

where P is the image, and 0 outside of it. So nothing has to be padded: source pixels are gathered by index arithmetic,
and those that lie outside are multiplied by 0, before normalisation. One gather is bound by memory, and views are a
small part of a step, so that there is this form only.
"""

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
