"""Colour changes of a batch against torchvision's of one image."""

from itertools import permutations

import pytest
import torch
from tiny import stream
from torch import Tensor
from torchvision.transforms import functional as reference

from nlkit.views.strong import ADJUSTMENTS, grey, jitter, solarise

SINGLE = [reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation, reference.adjust_hue]
BOUNDS = [(0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.5, 0.5)]


def images(count: int = 24) -> Tensor:
    """8-bit values in 0..1, some of them grey, black or white."""
    pixels = torch.randint(0, 256, (count, 3, 9, 7), generator=stream()).float() / 255
    pixels[0, :, 0] = 0.25
    pixels[0, :, 1], pixels[0, :, 2] = 0.0, 1.0
    return pixels


def factors(low: float, high: float, count: int = 24) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=stream(1))


@pytest.mark.parametrize("number", range(4))
def test_each_adjustment_is_that_of_torchvision_and_a_neutral_one_changes_nothing(number: int) -> None:
    pixels, factor, ours = images(), factors(*BOUNDS[number]), ADJUSTMENTS[number]
    expected = torch.stack([SINGLE[number](one, float(f)) for one, f in zip(pixels, factor, strict=True)])
    torch.testing.assert_close(ours(pixels, factor), expected, atol=2e-5, rtol=0)
    neutral = torch.full((24,), 0.0 if number == 3 else 1.0)
    torch.testing.assert_close(ours(pixels, neutral), pixels, atol=1e-6, rtol=0)


def test_each_image_is_changed_in_the_order_of_its_own() -> None:
    pixels, orders = images(), torch.tensor(list(permutations(range(4))))
    strong = factors(0.6, 1.4)
    factor = torch.stack([strong, strong.flip(0), strong.roll(5), factors(-0.1, 0.1)], dim=1)
    expected = []
    for one, f, order in zip(pixels, factor, orders, strict=True):
        for number in order.tolist():
            one = SINGLE[number](one, float(f[number]))
        expected.append(one)
    torch.testing.assert_close(jitter(pixels, factor, orders), torch.stack(expected), atol=1e-4, rtol=0)


def test_grey_is_torchvisions() -> None:
    torch.testing.assert_close(grey(images()), reference.rgb_to_grayscale(images()), atol=1e-6, rtol=0)


def test_solarisation_inverts_what_is_at_least_the_threshold() -> None:
    levels = torch.arange(256)
    assert solarise(levels.float()).tolist() == [255 - level if level >= 128 else level for level in range(256)]
