"""What holds for every random view; and weak views of images of one size: shifts, mirrors, rotation and zoom."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pictures import MEAN, STD, batch_of, levels, photographs, rows
from tiny import stream
from torch import Tensor

from nlkit.data.photos.stored import Batch
from nlkit.params import views as params
from nlkit.params.views import ViewParams
from nlkit.views import Views
from nlkit.views.strong import strong_view

SIDE = 20
GIVEN = MEAN, STD, torch.device("cpu")
SMALL: dict[str, Any] = {
    "shift and flip": Views(params.ViewParams(pad=4), *GIVEN).weak,
    "rotate and zoom": Views(params.ViewParams(pad=2, rotate=15.0, zoom=0.2), *GIVEN).weak,
    "affine": strong_view(params.AffineStrongParams(kind="affine"), *GIVEN),
    "simclr": strong_view(params.SimCLRParams(kind="simclr", blur=0.5), *GIVEN),
    "autoaugment": strong_view(params.AutoAugmentParams(kind="autoaugment"), *GIVEN),
}
STORED: dict[str, Any] = {
    "crop": Views(params.PhotoViewParams(kind="crop", size=SIDE), *GIVEN).weak,
    "resized crop": Views(params.PhotoViewParams(kind="resized_crop", size=SIDE), *GIVEN).weak,
    "stored simclr": SMALL["simclr"],
    "stored autoaugment": strong_view(params.AutoAugmentPhotoParams(kind="autoaugment_imagenet"), *GIVEN),
}
VIEWS = SMALL | STORED
View = Callable[[Batch, torch.Generator], Tensor]


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest) -> tuple[View, str]:
    return VIEWS[request.param], request.param


@pytest.fixture
def images(view: tuple[View, str]) -> Batch:
    """Twelve images of a kind that the view takes."""
    found = photographs(12, short=40)
    if view[1] in STORED:
        return batch_of(found, SIDE)
    return torch.from_numpy(np.stack([one[:SIDE, :SIDE] for one in found]))


def chosen(images: Batch, index: Tensor) -> Batch:
    return images[index] if isinstance(images, Tensor) else rows(images, index)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_a_view_of_any_number_has_its_shape_and_8_bit_levels(view: tuple[View, str], images: Batch, count: int) -> None:
    found = view[0](chosen(images, torch.arange(count)), stream())
    assert found.shape == (count, 3, SIDE, SIDE) and found.dtype == torch.float32
    seen = levels(found)
    assert bool(((seen > -1e-3) & (seen < 255.001)).all())
    if view[1] not in ("rotate and zoom", "affine"):  # these are resampled at the very end
        torch.testing.assert_close(seen, seen.round(), atol=1e-3, rtol=0)


def test_a_view_depends_on_its_stream_only_and_each_call_draws_anew(view: tuple[View, str], images: Batch) -> None:
    make, before, source = view[0], torch.get_rng_state(), stream(3)
    first = make(images, source)
    assert not torch.equal(first, make(images, source)) and torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(first, make(images, stream(3))) and not torch.equal(first, make(images, stream(4)))


def test_each_image_has_randomness_of_its_own(view: tuple[View, str], images: Batch) -> None:
    same = view[0](chosen(images, torch.zeros(60, dtype=torch.int64)), stream())
    assert len({one.contiguous().numpy().tobytes() for one in same}) > 40


def make_views(channels: int = 3, **params: object) -> Views:
    return Views(ViewParams(**params), MEAN[:channels], STD[:channels], torch.device("cpu"))  # type: ignore[arg-type]


def normalised(pixels: Tensor) -> Tensor:
    """Pixels in 0..255 [B, H, W, C] as network inputs, channel by channel."""
    channels = [(pixels[..., c] / 255 - MEAN[c]) / STD[c] for c in range(pixels.shape[3])]
    return torch.stack(channels, dim=1)


@pytest.mark.parametrize("affine", [{}, {"rotate": 1e-9}, {"zoom": 1e-9}])
def test_the_plain_view_and_a_weak_one_without_movement_only_normalise(affine: dict[str, float]) -> None:
    views = make_views(pad=0, flip=False, **affine)
    images = torch.randint(0, 256, (5, 8, 8, 3), generator=stream(9), dtype=torch.uint8)
    torch.testing.assert_close(views.plain(images), normalised(images))
    torch.testing.assert_close(views.weak(images, stream()), normalised(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("affine", [{}, {"rotate": 1e-9}])
def test_without_shift_a_flip_mirrors_about_half_of_the_images(affine: dict[str, float]) -> None:
    views = make_views(pad=0, flip=True, **affine)
    images = torch.randint(0, 256, (400, 8, 8, 3), generator=stream(9), dtype=torch.uint8)
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
    image = torch.zeros(1, 32, 32, 1, dtype=torch.uint8)
    image[:, 8:24, 8:24] = 255
    view = make_views(1, pad=0, flip=False, zoom=0.25).weak(image.expand(500, 32, 32, 1), stream())
    bright = view * STD[0] + MEAN[0]
    sides = bright[:, 0, 16].sum(dim=1)
    assert 16 / 1.25 - 0.5 < float(sides.min()) < 13.5
    assert 20.5 < float(sides.max()) < 16 / 0.75 + 0.5
