"""What holds for every random view; weak views of images of one size; and those of images of varying sizes.

Shifts, mirrors, rotation and zoom; where photographs are cut, against torchvision's pipelines on Pillow images.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pictures import MEAN, STD, batch_of, levels, photographs, rows
from PIL import Image
from tiny import stream
from torch import Tensor
from torchvision import transforms

from nlkit.data.photos.stored import Batch
from nlkit.params import views as params
from nlkit.views import Views
from nlkit.views.photos import crop_boxes, longest_side
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


def test_a_view_is_decided_by_its_stream_and_each_call_and_image_draws_anew(view: Any, images: Batch) -> None:
    make, before, source = view[0], torch.get_rng_state(), stream(3)
    first = make(images, source)
    assert not torch.equal(first, make(images, source)) and torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(first, make(images, stream(3))) and not torch.equal(first, make(images, stream(4)))
    same = make(chosen(images, torch.zeros(60, dtype=torch.int64)), stream())
    assert len({one.contiguous().numpy().tobytes() for one in same}) > 40


def make_views(channels: int = 3, **own: object) -> Views:
    return Views(params.ViewParams(**own), MEAN[:channels], STD[:channels], torch.device("cpu"))  # type: ignore[arg-type]


def noise(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 8, 8, 3), generator=stream(9), dtype=torch.uint8)


@pytest.mark.parametrize("affine", [{}, {"rotate": 1e-9}, {"zoom": 1e-9}])
def test_the_plain_view_and_a_weak_one_without_movement_only_normalise(affine: dict[str, float]) -> None:
    views = make_views(pad=0, flip=False, **affine)
    images = noise(5)
    normalised = transforms.functional.normalize(images.permute(0, 3, 1, 2) / 255, MEAN, STD)
    torch.testing.assert_close(views.plain(images), normalised)
    torch.testing.assert_close(views.weak(images, stream()), normalised, atol=1e-4, rtol=0)


@pytest.mark.parametrize("affine", [{}, {"rotate": 1e-9}])
def test_without_shift_a_flip_mirrors_about_half_of_the_images(affine: dict[str, float]) -> None:
    views = make_views(pad=0, flip=True, **affine)
    images = noise(400)
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


def sides(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.full((count,), height), torch.full((count,), width)


@pytest.mark.parametrize(
    ("side", "smallest", "boxes"),
    [
        (32, 0.2, [[4, 0, 16, 18], [0, 10, 18, 17], [0, 1, 32, 30], [0, 3, 32, 28], [1, 7, 31, 25]]),
        (224, 0.08, [[37, 0, 91, 103], [5, 80, 100, 98], [0, 9, 221, 208], [0, 26, 220, 190], [9, 48, 212, 174]]),
    ],
)
def test_a_stream_gives_the_boxes_that_records_were_made_with(side: int, smallest: float, boxes: list[int]) -> None:
    assert torch.stack(crop_boxes(*sides(5, side, side), smallest, stream(5)), dim=1).tolist() == boxes


def theirs(height: int, width: int, smallest: float, count: int) -> Tensor:
    image = torch.empty(3, height, width)
    make = transforms.RandomResizedCrop.get_params
    return torch.tensor([make(image, [smallest, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]).double()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 160), (160, 48), (63, 257), (20, 27), (27, 20)])
def test_boxes_have_the_mean_and_spread_of_torchvisions(height: int, width: int) -> None:
    expected = theirs(height, width, 0.08, 3000)
    ours = torch.stack(crop_boxes(*sides(20_000, height, width), 0.08, stream()), dim=1).double()
    error = expected.std(dim=0) / math.sqrt(len(expected))
    assert bool(((ours.mean(dim=0) - expected.mean(dim=0)).abs() < 4.5 * error).all())
    assert bool(((ours.std(dim=0) / expected.std(dim=0) - 1).abs() < 0.08).all())


@pytest.mark.parametrize(("height", "width"), [(8, 100), (100, 8), (10, 17), (17, 10), (9, 31), (33, 10)])
def test_where_nothing_fits_the_box_is_the_middle_one_of_torchvision(height: int, width: int) -> None:
    ours = torch.stack(crop_boxes(*sides(50, height, width), 1.0, stream()), dim=1).double()
    assert torch.equal(ours, theirs(height, width, 1.0, 1).expand(50, 4))


def test_every_image_has_a_box_of_its_own_size_inside_it() -> None:
    rng = stream(2)
    heights, widths = torch.randint(8, 400, (2, 5000), generator=rng)
    top, left, high, wide = crop_boxes(heights, widths, 0.08, rng)
    assert int(top.min()) >= 0 and int(left.min()) >= 0 and int(high.min()) > 0 and int(wide.min()) > 0
    assert bool((top + high <= heights).all()) and bool((left + wide <= widths).all())
    longest = torch.tensor([longest_side(int(pixels)) for pixels in heights * widths])
    assert bool((torch.maximum(high, wide) <= longest).all())


@pytest.mark.parametrize("size", [15, 16, 24])
def test_the_plain_view_is_the_centre_crop_of_torchvision(size: int) -> None:
    written = photographs(12)
    finish = transforms.Compose([transforms.CenterCrop(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected = torch.stack([finish(Image.fromarray(image)) for image in written])
    found = Views(params.PhotoViewParams(kind="crop", size=size), *GIVEN).plain(batch_of(written, size))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_weak_crop_is_a_square_of_the_image_and_every_square_is_as_likely() -> None:
    image = np.random.default_rng(0).integers(0, 256, (18, 19, 3), dtype=np.uint8)
    same = rows(batch_of([image], 16), torch.zeros(2400, dtype=torch.int64))
    weak = Views(params.PhotoViewParams(kind="crop", size=16), *GIVEN).weak(same, stream())
    found = [one.tobytes() for one in levels(weak).permute(0, 2, 3, 1).round().byte().numpy()]
    squares = [image[top : top + 16, left : left + 16] for top in range(3) for left in range(4)]
    plain, mirrored = ({one[:, ::step].tobytes() for one in squares} for step in (1, -1))
    counts = np.array([found.count(one) for one in plain | mirrored])
    assert counts.sum() == 2400 and ((counts - 100) ** 2).sum() / 100 < 58  # chi-squared, 23 degrees, p = 1e-4
    assert np.mean([one in plain for one in found]) == pytest.approx(0.5, abs=0.05)


def test_simclr_views_cut_each_image_by_its_own_size() -> None:
    """Without other changes they are the resized crop that the same stream draws."""
    images, still = batch_of(photographs(15), 20), params.SimCLRParams(kind="simclr", crop=0.3, flip=False, jitter=0.0)
    strong = strong_view(still.model_copy(update={"grey": 0.0, "solarise": 0.0}), *GIVEN)
    weak = Views(params.PhotoViewParams(kind="resized_crop", size=20, smallest=0.3, flip=False), *GIVEN)
    torch.testing.assert_close(strong(images, stream(2)), weak.weak(images, stream(2)), atol=1e-4, rtol=0)
