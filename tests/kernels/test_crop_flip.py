"""Crop, flip and normalisation against padding, slicing and flipping image by image."""

import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.kernels.crop_flip import crop_flip, naive

SHAPES = [(0, 8, 8, 3), (1, 1, 1, 1), (5, 8, 8, 1), (7, 5, 9, 2), (4, 32, 32, 3)]


def drawn(shape: tuple[int, ...], pad: int, views: int, device: torch.device) -> tuple[Tensor, ...]:
    """Images of that shape, and offsets, flips, mean and spread for so many views of each."""
    stream = tiny.stream(pad)
    images = torch.randint(0, 256, shape, generator=stream, dtype=torch.uint8)
    dy, dx = torch.randint(-pad, pad + 1, (2, views * shape[0]), generator=stream)
    dy[:1] = pad
    flip = torch.rand(views * shape[0], generator=stream) < 0.5
    mean, std = torch.linspace(100, 140, shape[3]), torch.linspace(40, 60, shape[3])
    return tuple(part.to(device) for part in (images, dy, dx, flip, mean, std))


def padded_slice(image: Tensor, dy: int, dx: int, flip: bool, pad: int) -> Tensor:
    """The crop as textbooks make it: pad with zeros, slice, flip; float [C, H, W]."""
    height, width, _ = image.shape
    padded = functional.pad(image.permute(2, 0, 1).float(), (pad, pad, pad, pad))
    crop = padded[:, pad + dy : pad + dy + height, pad + dx : pad + dx + width]
    return crop.flip(2) if flip else crop


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("pad", "views"), [(0, 1), (1, 2), (4, 1), (9, 3)])
def test_equals_padding_slicing_and_flipping_image_by_image(
    form: None, device: torch.device, shape: tuple[int, ...], pad: int, views: int
) -> None:
    """A pad of 9 can move an image of 8 x 8 out of sight: all pixels are 0 before normalisation."""
    images, dy, dx, flip, mean, std = drawn(shape, pad, views, device)
    found = crop_flip(images, dy, dx, flip, mean, std)
    assert found.shape == (views * shape[0], shape[3], *shape[1:3]) and found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    for i, view in enumerate(found):
        crop = padded_slice(images[i % shape[0]], int(dy[i]), int(dx[i]), bool(flip[i]), pad)
        torch.testing.assert_close(view, (crop - mean[:, None, None]) / std[:, None, None])


@pytest.mark.parametrize("shape", SHAPES)
def test_forms_agree_to_the_bit(triton: None, device: torch.device, shape: tuple[int, ...]) -> None:
    given = drawn(shape, 3, 2, device)
    assert torch.equal(crop_flip(*given), naive.crop_flip(*given))
