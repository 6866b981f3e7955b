"""AutoAugment in batches: each operation is torchvision's, each image has a sub-policy of its own."""

import math

import numpy as np
import pytest
import tiny
import torch
from pictures import MEAN, STD, batch_of, levels, rows
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import autoaugment as reference
from torchvision.transforms.functional import InterpolationMode

from nlkit.params.views import AutoAugmentParams, AutoAugmentPhotoParams
from nlkit.views.autoaugment import OPERATIONS, AutoAugment, apply, policy_tables

CPU = torch.device("cpu")
POLICIES = [transforms.AutoAugmentPolicy.CIFAR10, transforms.AutoAugmentPolicy.IMAGENET]


def images(count: int = 12, size: int = 32) -> Tensor:
    """Noise over gradients, uint8 [B, H, W, 3]; one image is constant, one uses few values."""
    stream = tiny.stream(3)
    slope = torch.linspace(0, 150, size)[None, :, None, None] + torch.linspace(0, 60, size)[None, None, :, None]
    pixels = (slope + 45 * torch.rand(count, size, size, 3, generator=stream)).to(torch.uint8)
    pixels[0] = 77
    pixels[1] = pixels[1] // 64 * 64
    return pixels


def magnitudes(name: str, size: int = 32) -> list[float]:
    """Every magnitude that the search space has for an operation, with both signs where it is signed."""
    values, signed = transforms.AutoAugment()._augmentation_space(10, (size, size))[name]
    found = [float(value) for value in values.reshape(-1)]
    return found + [-value for value in found] if signed else found


@pytest.mark.parametrize("size", [32, 63])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_that_of_torchvision_at_every_magnitude(name: str, size: int) -> None:
    """Geometry may take the other of two equally near pixels; colours may differ by one where a product is whole."""
    pixels = images(size=size).permute(0, 3, 1, 2)
    for magnitude in magnitudes(name, size):
        number = torch.full((len(pixels),), OPERATIONS.index(name))
        ours = apply(pixels.float(), number, torch.full((len(pixels),), magnitude))
        theirs = torch.stack(
            [reference._apply_op(one, name, magnitude, InterpolationMode.NEAREST, None) for one in pixels]
        ).float()
        assert torch.equal(ours, ours.round()) and ours.min() >= 0 and ours.max() <= 255
        differing = (ours != theirs).double().mean()
        if name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
            assert differing < 0.015, (magnitude, differing)
        else:
            assert (ours - theirs).abs().max() <= 1 and differing < 0.001, (magnitude, differing)


def test_every_image_gets_its_own_operation_and_magnitude() -> None:
    pixels = images(28).permute(0, 3, 1, 2).float()
    operation = torch.arange(28) % len(OPERATIONS)
    magnitude = torch.tensor([magnitudes(OPERATIONS[int(number)])[-1] for number in operation])
    together = apply(pixels, operation, magnitude)
    for i in range(28):
        alone = apply(pixels[i : i + 1], operation[i : i + 1], magnitude[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=0)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [32, 299])
def test_the_policy_is_the_table_of_torchvision(name: transforms.AutoAugmentPolicy, size: int) -> None:
    numbers, probabilities, strengths, _ = policy_tables(name, size, size, CPU)
    source = transforms.AutoAugment(name).policies
    assert numbers.shape == (len(source), 2) == (25, 2)
    for row, pair in enumerate(source):
        for place, (operation, probability, level) in enumerate(pair):
            assert OPERATIONS[int(numbers[row, place])] == operation
            assert float(probabilities[row, place]) == pytest.approx(probability)
            if level is not None:
                assert float(strengths[row, place]) == pytest.approx(magnitudes(operation, size)[level])


@pytest.mark.parametrize("photo", [False, True], ids=["dense", "stored"])
def test_on_average_a_view_is_as_torchvisions(photo: bool) -> None:
    """Mean, spread and share of black pixels of 2,000 views of one image agree but for chance.

    Dense: without crop and flip. Stored: random resized crop and flip of an image of 40 x 61 pixels.
    """
    noise = np.random.default_rng(1).integers(0, 90, (40, 61, 3)) + np.linspace(0, 160, 61)[:, None]
    image = torch.from_numpy(noise.astype(np.uint8)) if photo else images(3)[2]
    theirs = [transforms.AutoAugment(POLICIES[photo])]
    if photo:
        same = rows(batch_of([image.numpy()], 32), torch.zeros(2000, dtype=torch.int64))
        view = AutoAugment(AutoAugmentPhotoParams(kind="autoaugment_imagenet"), MEAN, STD, CPU)
        theirs = [transforms.RandomResizedCrop(32, antialias=True), transforms.RandomHorizontalFlip(), *theirs]
        raw = view(same, tiny.stream())
    else:
        still = AutoAugmentParams(kind="autoaugment", pad=0, flip=False)
        raw = AutoAugment(still, MEAN, STD, CPU)(image.expand(2000, -1, -1, -1), tiny.stream())
    assert raw.shape == (2000, 3, 32, 32)
    ours, make = levels(raw).round(), transforms.Compose(theirs)
    expected = torch.stack([make(image.permute(2, 0, 1)) for _ in range(2000)]).float()
    for measure in (Tensor.mean, Tensor.std, black):
        one, other = (measure(views, dim=(1, 2, 3)) for views in (ours, expected))
        error = math.sqrt(float(one.var() + other.var()) / 2000)
        assert abs(float(one.mean() - other.mean())) < 4.5 * error


def black(views: Tensor, dim: tuple[int, ...]) -> Tensor:
    """The share of black pixels of each view."""
    return (views < 1).double().mean(dim=dim)
