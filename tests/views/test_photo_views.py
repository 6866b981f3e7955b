"""Views of images of varying sizes: where they are cut, and torchvision's pipelines on Pillow images."""

import math

import numpy as np
import pytest
import torch
from pictures import MEAN, STD, batch_of, levels, photographs, rows
from PIL import Image
from tiny import stream
from torch import Tensor
from torchvision import transforms

from nlkit.params.views import PhotoViewParams, SimCLRParams
from nlkit.views import Views
from nlkit.views.photos import crop_boxes, longest_side
from nlkit.views.strong import strong_view

SIZES = [(64, 64), (48, 160), (160, 48), (63, 257), (20, 27), (27, 20)]
GIVEN = MEAN, STD, torch.device("cpu")


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


@pytest.mark.parametrize(("height", "width"), SIZES)
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


def views(kind: str = "crop", size: int = 16, **params: object) -> Views:
    return Views(PhotoViewParams(kind=kind, size=size, **params), *GIVEN)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [15, 16, 24])
def test_the_plain_view_is_the_centre_crop_of_torchvision(size: int) -> None:
    written = photographs(12)
    finish = transforms.Compose([transforms.CenterCrop(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected = torch.stack([finish(Image.fromarray(image)) for image in written])
    torch.testing.assert_close(views(size=size).plain(batch_of(written, size)), expected, atol=1e-4, rtol=0)


def test_a_weak_crop_is_a_square_of_the_image_and_every_square_is_as_likely() -> None:
    image = np.random.default_rng(0).integers(0, 256, (18, 19, 3), dtype=np.uint8)
    same = rows(batch_of([image], 16), torch.zeros(2400, dtype=torch.int64))
    found = [one.tobytes() for one in levels(views().weak(same, stream())).permute(0, 2, 3, 1).round().byte().numpy()]
    squares = [image[top : top + 16, left : left + 16] for top in range(3) for left in range(4)]
    plain, mirrored = ({one[:, ::step].tobytes() for one in squares} for step in (1, -1))
    counts = np.array([found.count(one) for one in plain | mirrored])
    assert counts.sum() == 2400 and ((counts - 100) ** 2).sum() / 100 < 58  # chi-squared, 23 degrees, p = 1e-4
    assert np.mean([one in plain for one in found]) == pytest.approx(0.5, abs=0.05)


def test_simclr_views_cut_each_image_by_its_own_size() -> None:
    """Without other changes they are the resized crop that the same stream draws."""
    images, still = batch_of(photographs(15), 20), SimCLRParams(kind="simclr", crop=0.3, flip=False, jitter=0.0)
    strong = strong_view(still.model_copy(update={"grey": 0.0, "solarise": 0.0}), *GIVEN)
    weak = views("resized_crop", 20, smallest=0.3, flip=False)
    torch.testing.assert_close(strong(images, stream(2)), weak.weak(images, stream(2)), atol=1e-4, rtol=0)
