"""Weak views of images of one size: shifts, mirrors, rotation and zoom."""

import pytest
import torch
from pictures import MEAN, STD
from tiny import stream
from torch import Tensor

from nlkit.params.views import ViewParams
from nlkit.views import Views


def make_views(channels: int = 3, **params: object) -> Views:
    return Views(ViewParams(**params), MEAN[:channels], STD[:channels], torch.device("cpu"))  # type: ignore[arg-type]


def images_of(count: int, size: int = 8, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, size, size, channels), generator=stream(9), dtype=torch.uint8)


def normalised(pixels: Tensor) -> Tensor:
    """Pixels in 0..255 [B, H, W, C] as network inputs, channel by channel."""
    channels = [(pixels[..., c] / 255 - MEAN[c]) / STD[c] for c in range(pixels.shape[3])]
    return torch.stack(channels, dim=1)


@pytest.mark.parametrize("affine", [{}, {"rotate": 1e-9}, {"zoom": 1e-9}])
def test_the_plain_view_and_a_weak_one_without_movement_only_normalise(affine: dict[str, float]) -> None:
    views, images = make_views(pad=0, flip=False, **affine), images_of(5)
    torch.testing.assert_close(views.plain(images), normalised(images))
    torch.testing.assert_close(views.weak(images, stream()), normalised(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("affine", [{}, {"rotate": 1e-9}])
def test_without_shift_a_flip_mirrors_about_half_of_the_images(affine: dict[str, float]) -> None:
    views = make_views(pad=0, flip=True, **affine)
    images = images_of(400)
    weak, plain = views.weak(images, stream()), views.plain(images)
    mirrored = (weak - plain.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-3
    kept = (weak - plain).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert bool((mirrored ^ kept).all())
    assert 150 < int(mirrored.sum()) < 250


def test_shifts_are_uniform_over_the_window() -> None:
    image = torch.zeros(1, 9, 9, 1, dtype=torch.uint8)
    image[0, 4, 4] = 255
    view = make_views(1, pad=2, flip=False).weak(image.expand(10_000, 9, 9, 1), stream())
    place = view.flatten(1).argmax(dim=1)
    rows, columns = place // 9, place % 9
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4, 5, 6}
    counts = torch.bincount(5 * (rows - 2) + columns - 2, minlength=25)
    assert float((counts - 400).square().sum() / 400) < 59  # chi-squared, 24 degrees of freedom, p = 1e-4


@pytest.mark.parametrize("affine", [{}, {"rotate": 30.0}])
def test_pixels_from_outside_are_minus_mean_over_std(affine: dict[str, float]) -> None:
    white = torch.full((200, 8, 8, 3), 255, dtype=torch.uint8)
    view = make_views(pad=4, flip=False, **affine).weak(white, stream())
    for c in range(3):
        assert float(view[:, c].min()) == pytest.approx(-MEAN[c] / STD[c], rel=1e-4)
        assert float(view[:, c].max()) == pytest.approx((1 - MEAN[c]) / STD[c], rel=1e-4)


def test_rotation_keeps_a_disc_and_its_centre() -> None:
    grid = torch.arange(16) - 7.5
    radius = (grid[:, None].square() + grid[None].square()).sqrt()
    disc = (255 * torch.sigmoid(5 - radius)).byte()[None, :, :, None].expand(20, 16, 16, 1)
    views = make_views(1, pad=0, flip=False, rotate=180.0)
    difference = (views.weak(disc, stream()) - views.plain(disc)).abs() * STD[0]
    assert float(difference.max()) < 0.05


def test_zoom_stays_within_its_range() -> None:
    grid = torch.arange(32)
    square = ((grid >= 8) & (grid < 24)).byte() * 255
    image = (square[:, None].bool() & square[None].bool()).byte()[None, :, :, None] * 255
    view = make_views(1, pad=0, flip=False, zoom=0.25).weak(image.expand(500, 32, 32, 1), stream())
    bright = view * STD[0] + MEAN[0]
    sides = bright[:, 0, 16].sum(dim=1)
    assert 16 / 1.25 - 0.5 < float(sides.min()) < 13.5
    assert 20.5 < float(sides.max()) < 16 / 0.75 + 0.5
