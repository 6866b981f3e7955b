"""Colour changes of a batch of images [B, 3, H, W] in 0..1, each image with a strength of its own.

The formulas are those of torchvision's functional transforms on floating-point tensors.
"""

from nlkit.lazy import Tensor, torch


def grey(pixels: Tensor) -> Tensor:
    """Luma 0.2989 R + 0.587 G + 0.114 B, in one channel [B, 1, H, W]."""
    weights = torch.tensor([0.2989, 0.587, 0.114], device=pixels.device)
    return (pixels * weights[:, None, None]).sum(dim=1, keepdim=True)


def adjust_brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """Between black (factor 0) and the image (1), and beyond; factor [B]."""
    return _blend(pixels, torch.zeros_like(pixels), factor)


def adjust_contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """Between the mean grey of each image (factor 0) and the image (1), and beyond; factor [B]."""
    return _blend(pixels, grey(pixels).mean(dim=(1, 2, 3), keepdim=True), factor)


def adjust_saturation(pixels: Tensor, factor: Tensor) -> Tensor:
    """Between the grey image (factor 0) and the image (1), and beyond; factor [B]."""
    return _blend(pixels, grey(pixels), factor)


def adjust_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by a share [B] of the colour circle, in -0.5..0.5; saturation and value stay."""
    red, green, blue = pixels.unbind(dim=1)
    value, low = pixels.amax(dim=1), pixels.amin(dim=1)
    span = value - low
    safe = torch.where(span == 0, 1.0, span)
    hue = torch.where(value == red, (green - blue) / safe, 4 + (red - green) / safe)
    hue = torch.where((value == green) & (value != red), 2 + (blue - red) / safe, hue)
    hue = hue + 6 * turn[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue) % 6
        channels.append(value - span * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)


ADJUSTMENTS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


def jitter(pixels: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """All four adjustments, factors [B, 4], for each image in the order [B, 4] of its own.

    Every adjustment is made of all images at each place of the order and kept where it is due, so that no
    size depends on the data.
    """
    for place in range(4):
        due = order[:, place]
        changed = pixels
        for number, adjust in enumerate(ADJUSTMENTS):
            mine = (due == number)[:, None, None, None]
            changed = torch.where(mine, adjust(pixels, factors[:, number]), changed)
        pixels = changed
    return pixels


def solarise(pixels: Tensor, threshold: int | Tensor = 128) -> Tensor:
    """Invert what is at least `threshold`, one number or one an image, for pixels in 0..255."""
    return torch.where(pixels >= threshold, 255 - pixels, pixels)


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor[:, None, None, None]
    return (share * pixels + (1 - share) * other).clamp(0, 1)
