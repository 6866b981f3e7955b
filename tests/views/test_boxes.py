"""Boxes of random crops: their law in closed form, torchvision's, and those that records were made with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import CenterCrop, RandomResizedCrop

from nlkit.views.photos import Box, centre_corner, crop_boxes, longest_side, random_corner

SIZES = [(64, 64), (48, 160), (160, 48), (63, 257), (20, 27), (27, 20)]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sides(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.full((count,), height), torch.full((count,), width)


def as_recorded(batch: int, height: int, width: int, smallest: float, generator: torch.Generator) -> Box:
    """The boxes of images of one size, as they were drawn when the committed records were made."""
    u = torch.rand(4, 10, batch, generator=generator)
    area = height * width * (smallest + u[0] * (1 - smallest))
    ratio = torch.exp((2 * u[1] - 1) * math.log(4 / 3))
    wide, high = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = fits.int().argmax(dim=0, keepdim=True)
    found = fits.gather(0, first)[0]
    wide = torch.where(found, wide.gather(0, first)[0], width)
    high = torch.where(found, high.gather(0, first)[0], height)
    top = (u[2].gather(0, first)[0] * (height - high + 1)).long()
    left = (u[3].gather(0, first)[0] * (width - wide + 1)).long()
    return top, left, high, wide


@pytest.mark.parametrize(("side", "smallest"), [(32, 0.2), (8, 1.0), (224, 0.08)])
def test_squares_of_one_size_get_the_boxes_that_records_were_made_with(side: int, smallest: float) -> None:
    ours = crop_boxes(*sides(4000, side, side), smallest, stream(5))
    for one, other in zip(ours, as_recorded(4000, side, side, smallest, stream(5)), strict=True):
        assert torch.equal(one, other)


def theirs(height: int, width: int, smallest: float, count: int) -> Tensor:
    image = torch.empty(3, height, width)
    boxes = [RandomResizedCrop.get_params(image, [smallest, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    return torch.tensor(boxes).double()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_have_the_mean_and_spread_of_torchvisions(height: int, width: int) -> None:
    expected = theirs(height, width, 0.08, 3000)
    ours = torch.stack(crop_boxes(*sides(20_000, height, width), 0.08, stream()), dim=1).double()
    error = expected.std(dim=0) / math.sqrt(len(expected))
    assert bool(((ours.mean(dim=0) - expected.mean(dim=0)).abs() < 4.5 * error).all())
    assert bool(((ours.std(dim=0) / expected.std(dim=0) - 1).abs() < 0.08).all())


@pytest.mark.parametrize(("height", "width"), [(8, 100), (100, 8), (10, 17), (17, 10), (9, 31), (33, 10)])
def test_where_nothing_fits_the_box_is_the_middle_one_of_torchvision(height: int, width: int) -> None:
    expected = theirs(height, width, 1.0, 1)[0]
    ours = torch.stack(crop_boxes(*sides(50, height, width), 1.0, stream()), dim=1).double()
    assert torch.equal(ours, expected.expand(50, 4))


def test_area_and_ratio_follow_the_law_of_draws_that_fit() -> None:
    """Area share a and log ratio l are uniform where |l| <= -log a, up to whole pixels: a square of 2000 pixels."""
    smallest, edge = 0.25, math.log(4 / 3)
    _, _, high, wide = crop_boxes(*sides(40_000, 2000, 2000), smallest, stream())
    area, log_ratio = high * wide / 2000**2, (wide / high).log()

    def below(a: float) -> float:
        """Measure of the pairs with an area share up to a."""
        flat = min(a, 3 / 4) - smallest
        bent = max(a, 3 / 4)
        return 2 * edge * flat + 2 * (bent - bent * math.log(bent) - 3 / 4 + 3 / 4 * math.log(3 / 4))

    for a in (0.3, 0.5, 0.7, 0.8, 0.9):
        share = below(a) / below(1.0)
        assert float((area <= a).double().mean()) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4e4))
    for line in (0.05, 0.1, 0.2):
        share = 2 * (1 - math.exp(-line) - smallest * line) / below(1.0)
        expected = pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4e4) + 1e-3)
        assert float((log_ratio.abs() <= line).double().mean()) == expected


def test_every_image_has_a_box_of_its_own_size_inside_it() -> None:
    rng = stream(2)
    heights, widths = torch.randint(8, 400, (2, 5000), generator=rng)
    top, left, high, wide = crop_boxes(heights, widths, 0.08, rng)
    assert int(top.min()) >= 0 and int(left.min()) >= 0 and int(high.min()) > 0 and int(wide.min()) > 0
    assert bool((top + high <= heights).all()) and bool((left + wide <= widths).all())
    longest = torch.tensor([longest_side(int(pixels)) for pixels in heights * widths])
    assert bool((torch.maximum(high, wide) <= longest).all())


def test_the_place_of_a_box_is_uniform() -> None:
    top, left, high, wide = crop_boxes(*sides(30_000, 60, 90), 0.08, stream())
    for start, room in ((top, 60 - high), (left, 90 - wide)):
        free = room > 10
        place = (start + 0.5)[free] / (room + 1)[free]
        counts = torch.histc(place.float(), 10, 0, 1)
        assert bool(((counts / free.sum() - 0.1).abs() < 0.02).all())


@pytest.mark.parametrize("size", [8, 9])
def test_the_middle_square_is_that_of_torchvision(size: int) -> None:
    heights, widths = torch.arange(size, size + 12), torch.arange(size + 11, size - 1, -1)
    top, left = centre_corner(heights, widths, size)
    for k in range(12):
        height, width = int(heights[k]), int(widths[k])
        numbers = torch.arange(height * width).view(1, height, width)
        first = int(CenterCrop(size)(numbers)[0, 0, 0])
        assert (int(top[k]), int(left[k])) == divmod(first, width)


def test_a_random_square_has_every_place_equally_often() -> None:
    top, left = random_corner(*sides(12_000, 10, 11), 8, stream())
    counts = torch.bincount(4 * top + left, minlength=12).double()
    assert len(counts) == 12 and float((counts - 1000).square().sum() / 1000) < 37  # chi-squared, 11 degrees, p = 1e-4


def test_no_image_has_no_box() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert all(len(part) == 0 for part in crop_boxes(none, none, 0.1, stream()))
