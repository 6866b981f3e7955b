"""AutoAugment in batches: each operation is torchvision's, each image has a sub-policy of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import autoaugment as reference
from torchvision.transforms.functional import InterpolationMode

from nlkit.data.photos.stored import ImageBatch
from nlkit.params.views import AutoAugmentParams, AutoAugmentPhotoParams
from nlkit.views.autoaugment import OPERATIONS, AutoAugment, Policy, apply

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
CPU = torch.device("cpu")


def images(count: int = 12, size: int = 32) -> Tensor:
    """Noise over gradients, uint8 [B, H, W, 3]; one image is constant, one uses few values."""
    stream = torch.Generator().manual_seed(3)
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


@pytest.mark.parametrize("name", [transforms.AutoAugmentPolicy.CIFAR10, transforms.AutoAugmentPolicy.IMAGENET])
@pytest.mark.parametrize("size", [32, 299])
def test_the_policy_is_the_table_of_torchvision(name: transforms.AutoAugmentPolicy, size: int) -> None:
    policy = Policy.of(name, size, size, CPU)
    source = transforms.AutoAugment(name).policies
    assert policy.operation.shape == (len(source), 2) == (25, 2)
    for row, pair in enumerate(source):
        for place, (operation, probability, level) in enumerate(pair):
            assert OPERATIONS[int(policy.operation[row, place])] == operation
            assert float(policy.probability[row, place]) == pytest.approx(probability)
            if level is not None:
                assert float(policy.magnitude[row, place]) == pytest.approx(magnitudes(operation, size)[level])


def view(**own: object) -> AutoAugment:
    return AutoAugment(AutoAugmentParams(kind="autoaugment", **own), MEAN, STD, CPU)  # type: ignore[arg-type]


def test_a_view_is_normalised_repeats_with_its_stream_and_differs_between_images() -> None:
    same = images(3)[2:].expand(200, -1, -1, -1)
    first, again = (view()(same, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (200, 3, 32, 32) and first.dtype == torch.float32 and torch.equal(first, again)
    assert len(torch.unique(first.flatten(1), dim=0)) > 190
    raw = first * torch.tensor(STD)[:, None, None] * 255 + torch.tensor(MEAN)[:, None, None] * 255
    torch.testing.assert_close(raw, raw.round(), rtol=0, atol=1e-3)


def test_on_average_a_view_is_as_torchvisions() -> None:
    """Mean, spread and share of black pixels of 2,000 views of one image, without crop and flip."""
    image = images(3)[2]
    raw = view(pad=0, flip=False)(image.expand(2000, -1, -1, -1), torch.Generator().manual_seed(0))
    ours = raw * torch.tensor(STD)[:, None, None] * 255 + torch.tensor(MEAN)[:, None, None] * 255
    make = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
    theirs = torch.stack([make(image.permute(2, 0, 1)) for _ in range(2000)]).float()
    assert alike(ours, theirs)


def alike(ours: Tensor, theirs: Tensor) -> bool:
    """Whether means, spreads and shares of black pixels of many views agree but for chance."""
    for measure in (
        lambda v: v.mean(dim=(1, 2, 3)),
        lambda v: v.std(dim=(1, 2, 3)),
        lambda v: (v < 1).double().mean((1, 2, 3)),
    ):
        a, b = measure(ours.round()), measure(theirs)
        error = math.sqrt(float(a.var() / len(a) + b.var() / len(b)))
        if abs(float(a.mean() - b.mean())) >= 4.5 * error:
            return False
    return True


def test_views_of_photographs_are_on_average_those_of_torchvision() -> None:
    """Random resized crop, flip and the policy of ImageNet, of one image of 40 x 61 pixels."""
    image = np.random.default_rng(1).integers(0, 90, (40, 61, 3)) + np.linspace(0, 160, 61)[:, None]
    pixels = torch.from_numpy(image.astype(np.uint8))
    zero, size = torch.zeros(2000, dtype=torch.int64), torch.full((2000,), 1)
    batch = ImageBatch(pixels.flatten(), zero, 40 * size, 61 * size, zero, 32, 40 * 61)
    params = AutoAugmentPhotoParams(kind="autoaugment_imagenet")
    raw = AutoAugment(params, MEAN, STD, CPU)(batch, torch.Generator().manual_seed(0))
    assert raw.shape == (2000, 3, 32, 32)
    ours = raw * torch.tensor(STD)[:, None, None] * 255 + torch.tensor(MEAN)[:, None, None] * 255
    make = transforms.Compose(
        [
            transforms.RandomResizedCrop(32, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.AutoAugment(transforms.AutoAugmentPolicy.IMAGENET),
        ]
    )
    theirs = torch.stack([make(pixels.permute(2, 0, 1)) for _ in range(2000)]).float()
    assert alike(ours, theirs)
