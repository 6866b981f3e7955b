"""Strong random views of a batch of images, made on the device, with randomness of its own for each sample."""

from collections.abc import Callable, Sequence

from nlkit.data.problem import Batch
from nlkit.errors import NlkitError
from nlkit.lazy import Device, Generator, Tensor, functional, torch
from nlkit.params.views import AffineStrongParams, SimCLRParams, Strong, ViewParams
from nlkit.views import View, Views, flips

RandomView = Callable[[Batch, Generator], Tensor]
"""Turns uint8 images [B, H, W, C] into normalised network inputs float32 [B, C, H, W]; stored ones into squares."""


def grey(pixels: Tensor) -> Tensor:
    """Luma 0.2989 R + 0.587 G + 0.114 B, in one channel [B, 1, H, W]."""
    weights = torch.tensor([0.2989, 0.587, 0.114], device=pixels.device)
    return (pixels * weights[:, None, None]).sum(dim=1, keepdim=True)


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


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor[:, None, None, None]
    return (share * pixels + (1 - share) * other).clamp(0, 1)


ADJUSTMENTS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda pixels, factor: _blend(pixels, torch.zeros_like(pixels), factor),
    lambda pixels, factor: _blend(pixels, grey(pixels).mean(dim=(1, 2, 3), keepdim=True), factor),
    lambda pixels, factor: _blend(pixels, grey(pixels), factor),
    adjust_hue,
)
"""Brightness, contrast and saturation by factors [B]: between black, the mean grey or grey, and the image; and hue."""


def jitter(pixels: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """All four adjustments, factors [B, 4], in an order [B, 4] for each image; no size depends on the data."""
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


BLUR = 0.1, 2.0  # standard deviations of the blur, in pixels


def strong_view(params: Strong, mean: Sequence[float], std: Sequence[float], device: Device) -> RandomView:
    """The strong view that the parameters ask for; mean and std are those of pixels in 0..1.

    The affine one erases a rectangle, then rotates, zooms and shifts by more than the weak view; it never flips. The
    others raise NlkitError for grey images.
    """
    match params:
        case AffineStrongParams():
            moves = ViewParams(pad=params.pad, flip=False, rotate=params.rotate, zoom=params.zoom)
            views = Views(moves, mean, std, device)
            return lambda images, stream: views.weak(erase(images, params.erase, stream), stream)
        case _ if len(mean) == 1:
            raise NlkitError(f"a strong view '{params.kind}' is for colours, and these images are grey; use 'affine'")
        case SimCLRParams():
            return SimCLRView(params, mean, std, device)
        case _:
            from nlkit.views.autoaugment import AutoAugment

            return AutoAugment(params, mean, std, device)


class SimCLRView(View[SimCLRParams]):
    """Random resized crop, flip, colour jitter, grey, solarisation (SimCLR's views as TCL uses them on CIFAR), or blur.

    Pixels are rounded to 8 bits once, before solarisation; libraries that work on images round after each step.
    """

    def __init__(self, params: SimCLRParams, mean: Sequence[float], std: Sequence[float], device: Device) -> None:
        super().__init__(params, mean, std, device)
        strengths = (params.brightness, params.contrast, params.saturation, params.hue)
        self.neutral, self.strengths = (torch.tensor(row, device=device) for row in ((1.0, 1.0, 1.0, 0.0), strengths))

    def __call__(self, images: Batch, stream: Generator) -> Tensor:
        """One view of each image."""
        params = self.params

        def uniform(*shape: int) -> Tensor:
            return torch.rand(len(images), *shape, generator=stream, device=images.device)

        def chance(p: float) -> Tensor:
            return (uniform() < p)[:, None, None, None]

        pixels = self._cropped(images, stream)
        pixels = torch.where(flips(images, params.flip, stream)[:, None, None, None], pixels.flip(3), pixels)
        factors = self.neutral + (2 * uniform(4) - 1) * self.strengths
        order = uniform(4).argsort(dim=1)
        pixels = torch.where(chance(params.jitter), jitter(pixels, factors, order), pixels)
        pixels = torch.where(chance(params.grey), grey(pixels), pixels)
        if params.blur and len(images):
            sigma = BLUR[0] + uniform() * (BLUR[1] - BLUR[0])
            pixels = torch.where(chance(params.blur), gaussian_blur(pixels, sigma), pixels)
        levels = (255 * pixels).round()
        return self.normalised(torch.where(chance(params.solarise), solarise(levels), levels))

    def _cropped(self, images: Batch, stream: Generator) -> Tensor:
        """Random resized crops [B, 3, H, W] in 0..1."""
        from nlkit.views import photos

        if not isinstance(images, torch.Tensor):
            pixels = photos.random_resized_crop(images, self.params.crop, False, stream)
            return pixels.permute(0, 3, 1, 2).float() / 255
        batch, height, width, _ = images.shape
        heights, widths = (torch.full((batch,), side, device=images.device) for side in (height, width))
        box = photos.crop_boxes(heights, widths, self.params.crop, stream)
        return enlarged(images.permute(0, 3, 1, 2).float() / 255, box)


def erase(images: Batch, longest: float, stream: Generator) -> Tensor:
    """Blacken a rectangle of each image, uint8 [B, H, W, C]; its sides are uniform in 0..round(longest * side)."""
    assert isinstance(images, torch.Tensor)
    batch, *sides, _ = images.shape
    inside = []
    for side in sides:
        u = torch.rand(2, batch, generator=stream, device=images.device)
        length = (u[0] * (round(longest * side) + 1)).floor()
        start = (u[1] * (side - length + 1)).floor()
        index = torch.arange(side, device=images.device)
        inside.append((index >= start[:, None]) & (index < (start + length)[:, None]))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[..., None], 0)


def gaussian_blur(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image of [B, C, H, W] by its own standard deviation [B], in pixels; borders are mirrored.

    The kernel is about a tenth of the width long and odd, 23 pixels at 224 (SimCLR, appendix A).
    """
    batch, channels, height, width = pixels.shape
    radius = width // 20
    places = torch.arange(-radius, radius + 1, device=pixels.device)
    kernel = torch.exp(-0.5 * (places / sigma[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None]
    padded = functional.pad(pixels, (radius,) * 4, mode="reflect").view(1, batch * channels, *(height + 2 * radius, -1))
    rows = functional.conv2d(padded, kernel[:, :, None], groups=batch * channels)
    return functional.conv2d(rows, kernel[..., None], groups=batch * channels).view(pixels.shape)


def enlarged(pixels: Tensor, box: tuple[Tensor, ...]) -> Tensor:
    """Cut box = (top, left, height, width), each int64 [B], from [B, C, H, W] and enlarge it to H x W, bilinearly.

    Beyond the border of the box its outermost pixels are repeated, as where a cut-out image is resized.
    """
    top, left, high, wide = box
    height, width = pixels.shape[2:]
    y, x = _sources(height, top, high), _sources(width, left, wide)
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _sources(size: int, start: Tensor, length: Tensor) -> Tensor:
    """Where [B, size] each output pixel's centre lies in the source, in -1..1 over all its pixels."""
    centres = torch.arange(size, device=start.device) + 0.5
    place = start[:, None] + centres * length[:, None] / size - 0.5
    place = torch.maximum(place, start[:, None].float())
    place = torch.minimum(place, (start + length - 1)[:, None].float())
    return (2 * place + 1) / size - 1
