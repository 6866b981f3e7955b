"""AutoAugment in batches: each operation is torchvision's, each image has a sub-policy of its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import autoaugment as reference
from torchvision.transforms.functional import InterpolationMode

from nlkit.autoaugment import OPERATIONS, AutoAugment, Policy, apply
from nlkit.codim_params import AutoAugmentParams

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


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_that_of_torchvision_at_every_magnitude(name: str) -> None:
    """Geometry may take the other of two equally near pixels; colours may differ by one where a product is whole."""
    pixels = images().permute(0, 3, 1, 2)
    for magnitude in magnitudes(name):
        number = torch.full((len(pixels),), OPERATIONS.index(name))
        ours = apply(pixels.float(), number, torch.full((len(pixels),), magnitude))
        theirs = torch.stack(
            [reference._apply_op(one, name, magnitude, InterpolationMode.NEAREST, None) for one in pixels]
        ).float()
        assert torch.equal(ours, ours.round()) and ours.min() >= 0 and ours.max() <= 255
        differing = (ours != theirs).double().mean()
        if name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
            assert differing < 0.01, (magnitude, differing)
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


def test_the_policy_is_the_table_of_torchvision() -> None:
    policy = Policy.of_cifar10(32, 32, CPU)
    source = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10).policies
    assert policy.operation.shape == (len(source), 2) == (25, 2)
    for row, pair in enumerate(source):
        for place, (name, probability, level) in enumerate(pair):
            assert OPERATIONS[int(policy.operation[row, place])] == name
            assert float(policy.probability[row, place]) == pytest.approx(probability)
            if level is not None:
                assert float(policy.magnitude[row, place]) == pytest.approx(magnitudes(name)[level])


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
    for measure in (
        lambda v: v.mean(dim=(1, 2, 3)),
        lambda v: v.std(dim=(1, 2, 3)),
        lambda v: (v < 1).double().mean((1, 2, 3)),
    ):
        a, b = measure(ours.round()), measure(theirs)
        error = math.sqrt(float(a.var() + b.var()) / 2000)
        assert abs(float(a.mean() - b.mean())) < 4.5 * error
