"""AutoAugment's policies for a batch of images, made on the device, each image with a sub-policy of its own."""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import transforms
from torchvision.transforms.functional import adjust_sharpness, autocontrast
from torchvision.transforms.v2.functional import equalize

from nlkit.data.photos.stored import Batch
from nlkit.kernels.crop_flip import crop_flip
from nlkit.params.views import AutoAugmentParams, AutoAugmentPhotoParams
from nlkit.views import View, shifts
from nlkit.views.photos import random_resized_crop
from nlkit.views.strong import grey, solarise

BINS = 10
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
BLENDED = ("Brightness", "Color", "Contrast", "Sharpness")
OPERATIONS = (*GEOMETRIC, *BLENDED, "Posterize", "Solarize", "Invert", "AutoContrast", "Equalize")


def policy_tables(
    name: transforms.AutoAugmentPolicy, height: int, width: int, device: torch.device
) -> tuple[Tensor, ...]:
    """The sub-policies of one of torchvision's policies for images of this size, as tables [S, 2].

    Operation (a place in OPERATIONS), its probability, its magnitude, and whether that may be negative.
    """
    source = transforms.AutoAugment(name)
    space = source._augmentation_space(BINS, (height, width))
    rows = [
        (OPERATIONS.index(name), p, 0.0 if level is None else float(space[name][0][level]), space[name][1])
        for pair in source.policies
        for name, p, level in pair
    ]
    return tuple(torch.tensor(column, device=device).view(-1, 2) for column in zip(*rows, strict=True))


class AutoAugment(View[AutoAugmentParams | AutoAugmentPhotoParams]):
    """Crop of the zero-padded image, flip, then one of the policy's sub-policies for each image.

    With AutoAugmentPhotoParams images come from a store, the crop is a resized one and the policy that of ImageNet.
    """

    tables: tuple[Tensor, ...] = ()

    def __call__(self, images: Batch, stream: torch.Generator) -> Tensor:
        """One normalised view float32 [B, 3, H, W] of each image."""
        batch, device = len(images), images.device
        pixels = self._cropped(images, stream)
        if not self.tables:
            photo = isinstance(self.params, AutoAugmentPhotoParams)
            name = transforms.AutoAugmentPolicy.IMAGENET if photo else transforms.AutoAugmentPolicy.CIFAR10
            self.tables = policy_tables(name, pixels.shape[2], pixels.shape[3], device)
        operation, probability, magnitude, signed = self.tables
        choice = torch.randint(len(operation), (batch,), generator=stream, device=device)
        due = torch.rand(batch, 2, generator=stream, device=device) <= probability[choice]
        negative = signed[choice] & (torch.rand(batch, 2, generator=stream, device=device) < 0.5)
        strength = torch.where(negative, -magnitude[choice], magnitude[choice])
        for place in range(2):
            changed = apply(pixels, operation[choice, place], strength[:, place])
            pixels = torch.where(due[:, place, None, None, None], changed, pixels)
        return self.normalised(pixels)

    def _cropped(self, images: Batch, stream: torch.Generator) -> Tensor:
        """Random crops and flips [B, 3, H, W], whole numbers 0..255 in float32."""
        params = self.params
        if isinstance(params, AutoAugmentPhotoParams):
            assert not isinstance(images, Tensor)
            return random_resized_crop(images, params.smallest, params.flip, stream).permute(0, 3, 1, 2).float()
        assert isinstance(images, Tensor)
        zeros, ones = torch.zeros_like(self.mean), torch.ones_like(self.mean)
        return crop_flip(images, *shifts(images, params.pad, params.flip, stream), zeros, ones)


def apply(pixels: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Each image of [B, 3, H, W], whole numbers 0..255 in float32, after the operation [B] with the magnitude [B].

    Every kind is made of all images and kept where it is due; results are rounded as torchvision rounds them.
    """
    candidates = (
        (GEOMETRIC, moved(pixels, operation, magnitude)),
        (BLENDED, blended(pixels, operation, magnitude)),
        (("Posterize",), posterised(pixels, magnitude)),
        (("Solarize",), solarise(pixels, magnitude[:, None, None, None])),
        (("Invert",), 255 - pixels),
        (("AutoContrast",), autocontrast(pixels.byte()).float()),
        (("Equalize",), equalize(pixels.byte()).float()),
    )
    result = pixels
    for names, changed in candidates:
        numbers = torch.tensor([OPERATIONS.index(name) for name in names], device=pixels.device)
        result = torch.where(torch.isin(operation, numbers)[:, None, None, None], changed, result)
    return result


def moved(pixels: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Shear about the upper left corner, shift by whole pixels, or turn about the centre (degrees), over black.

    Each pixel is that of the nearest place in the source. Images whose operation is none of these stay in place.
    """
    batch, channels, height, width = pixels.shape
    if not batch:
        return pixels

    def value(name: str) -> Tensor:
        return torch.where(operation == OPERATIONS.index(name), magnitude, 0.0)

    angle = value("Rotate").deg2rad()
    shear_x, shear_y = value("ShearX"), value("ShearY")
    right = shear_x * height / 2 - value("TranslateX").trunc()
    down = shear_y * width / 2 - value("TranslateY").trunc()
    rows = (angle.cos(), shear_x - angle.sin(), right, shear_y + angle.sin(), angle.cos(), down)
    matrix = torch.stack(rows, dim=1).view(batch, 2, 3)
    half = torch.tensor([width / 2, height / 2], device=pixels.device)
    matrix = matrix / half[:, None] * torch.cat([half, half.new_ones(1)])
    grid = functional.affine_grid(matrix, [batch, channels, height, width], align_corners=False)
    return functional.grid_sample(pixels, grid, mode="nearest", align_corners=False)


def blended(pixels: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """(1 + m) times the image minus m times a poorer one: black, grey, its mean grey, or blurred."""
    luma = grey(pixels).floor()
    poorer = torch.zeros_like(pixels)
    for name, other in (
        ("Color", luma.expand_as(pixels)),
        ("Contrast", luma.mean(dim=(1, 2, 3), keepdim=True).expand_as(pixels)),
        ("Sharpness", adjust_sharpness(pixels.byte(), 0).float()),
    ):
        poorer = torch.where((operation == OPERATIONS.index(name))[:, None, None, None], other, poorer)
    m = magnitude[:, None, None, None]
    return ((1 + m) * pixels + (-m) * poorer).clamp(0, 255).floor()


def posterised(pixels: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits [B] of each pixel."""
    step = 2 ** (8 - bits.clamp(0, 8).trunc())[:, None, None, None]
    return (pixels / step).floor() * step
