from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nlkit.kernels.crop_flip import crop_flip, naive

pytestmark = pytest.mark.usefixtures("empty_is_nan")

FORMS = [pytest.param(naive.crop_flip, id="naive"), pytest.param(crop_flip, id="chosen")]
SHAPES = [(1, 1, 1, 1), (5, 8, 8, 1), (7, 5, 9, 2), (4, 32, 32, 3)]


def images_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def statistics(channels: int) -> tuple[Tensor, Tensor]:
    return torch.linspace(100, 140, channels), torch.linspace(40, 60, channels)


def padded_slice(image: Tensor, dy: int, dx: int, flip: bool, pad: int) -> Tensor:
    """The crop as textbooks make it: pad with zeros, slice, flip; float [C, H, W]."""
    height, width, _ = image.shape
    padded = functional.pad(image.permute(2, 0, 1).float(), (pad, pad, pad, pad))
    crop = padded[:, pad + dy : pad + dy + height, pad + dx : pad + dx + width]
    return crop.flip(2) if flip else crop


def test_empty_memory_is_nan_here() -> None:
    assert bool(torch.empty(1000).isnan().all())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pad", [0, 1, 4])
def test_equals_padding_slicing_and_flipping_image_by_image(form: object, shape: tuple[int, ...], pad: int) -> None:
    stream = torch.Generator().manual_seed(pad)
    images, (mean, std) = images_of(shape), statistics(shape[3])
    dy, dx = torch.randint(-pad, pad + 1, (2, shape[0]), generator=stream)
    flip = torch.rand(shape[0], generator=stream) < 0.5
    found = form(images, dy, dx, flip, mean, std)  # type: ignore[operator]
    assert found.shape == (shape[0], shape[3], *shape[1:3]) and found.dtype == torch.float32
    for i in range(shape[0]):
        crop = padded_slice(images[i], int(dy[i]), int(dx[i]), bool(flip[i]), pad)
        torch.testing.assert_close(found[i], (crop - mean[:, None, None]) / std[:, None, None])


@pytest.mark.parametrize("form", FORMS)
def test_pixels_from_outside_are_zero_before_normalisation(form: object) -> None:
    mean, std = statistics(2)
    away = torch.tensor([4, -4])
    found = form(images_of((2, 4, 4, 2)), away, away, torch.tensor([False, True]), mean, std)  # type: ignore[operator]
    torch.testing.assert_close(found, (-mean / std)[None, :, None, None].expand(2, 2, 4, 4))


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_batch_gives_an_empty_batch(form: object) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    found = form(images_of((0, 8, 8, 3)), none, none, none.bool(), *statistics(3))  # type: ignore[operator]
    assert found.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("form", FORMS)
def test_the_result_is_channels_last_in_memory(form: object) -> None:
    zero = torch.zeros(2, dtype=torch.int64)
    found = form(images_of((2, 8, 8, 3)), zero, zero, zero.bool(), *statistics(3))  # type: ignore[operator]
    assert found.is_contiguous(memory_format=torch.channels_last)
