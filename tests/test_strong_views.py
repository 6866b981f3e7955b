"""Strong views: every part against torchvision's or a count, and each sample with randomness of its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as reference

from nlkit.strong_views import crop_boxes, erase, resized_crop, strong_view
from nlkit.tcl_params import AffineStrongParams, SimCLRParams
from nlkit.view_params import ViewParams
from nlkit.views import Views

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
STILL = {"crop": 1.0, "flip": False, "jitter": 0.0, "grey": 0.0, "solarise": 0.0}


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(count: int, size: int = 32) -> Tensor:
    return torch.randint(0, 256, (count, size, size, 3), generator=stream(5), dtype=torch.uint8)


def simclr(images: Tensor, seed: int = 0, **params: object) -> Tensor:
    """One view of each image, as 8-bit levels [B, C, H, W]."""
    view = strong_view(SimCLRParams(kind="simclr", **params), MEAN, STD, CPU)(images, stream(seed))  # type: ignore[arg-type]
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return 255 * (view * std + mean)


@pytest.mark.parametrize("size", [(32, 32), (9, 13)])
def test_a_resized_crop_is_that_of_torchvision(size: tuple[int, int]) -> None:
    pixels = torch.rand(40, 3, *size, generator=stream())
    box = crop_boxes(40, *size, 0.2, stream(3), CPU)
    ours = resized_crop(pixels, box)
    for k, (top, left, height, width) in enumerate(torch.stack(box, dim=1).tolist()):
        expected = reference.resized_crop(pixels[k], top, left, height, width, list(size), antialias=True)
        torch.testing.assert_close(ours[k], expected, atol=1e-5, rtol=0)


def test_crops_are_inside_and_of_the_sizes_that_torchvision_draws() -> None:
    count = 20_000
    top, left, height, width = crop_boxes(count, 32, 32, 0.2, stream(), CPU)
    assert int(top.min()) == int(left.min()) == 0
    assert int((top + height).max()) == int((left + width).max()) == 32
    torch.manual_seed(1)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(torch.empty(3, 32, 32), [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    ).float()
    ours = torch.stack([top, left, height, width], dim=1).float()
    error = theirs.std(dim=0) / math.sqrt(len(theirs))
    assert bool(((ours.mean(dim=0) - theirs.mean(dim=0)).abs() < 4 * error).all())
    assert bool(((ours.std(dim=0) / theirs.std(dim=0) - 1).abs() < 0.06).all())


def test_a_crop_that_never_fits_is_the_whole_image() -> None:
    boxes = crop_boxes(3000, 4, 4, 1.0, stream(), CPU)
    whole = (boxes[2] == 4) & (boxes[3] == 4)
    assert bool(whole.any()) and bool((boxes[0][whole] == 0).all())


def test_without_any_change_the_strong_view_is_the_plain_one() -> None:
    images = photographs(300)
    found = simclr(images, **STILL)
    same = (found - images.permute(0, 3, 1, 2)).abs().amax(dim=(1, 2, 3)) < 1e-3
    boxes = crop_boxes(300, 32, 32, 1.0, stream(), CPU)
    whole = (boxes[2] == 32) & (boxes[3] == 32)
    assert torch.equal(same, whole) and int(whole.sum()) > 20


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("grey", lambda view: view.std(dim=1).amax(dim=(1, 2)) < 1),
        ("solarise", lambda view: view.amax(dim=(1, 2, 3)) < 128),
    ],
)  # fmt: skip
def test_a_part_happens_as_often_as_asked(part: str, changed) -> None:  # type: ignore[no-untyped-def]
    images = photographs(2000, 8)
    images[:, 0, 0] = 255
    share = changed(simclr(images, **{**STILL, part: 0.3})).float().mean()
    assert float(share) == pytest.approx(0.3, abs=0.04)


def test_views_are_8_bit_levels() -> None:
    levels = simclr(photographs(50))
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert float(levels.min()) > -1e-3 and float(levels.max()) < 255.001


def test_each_sample_has_randomness_of_its_own_and_a_stream_decides_all() -> None:
    same = photographs(1).expand(64, -1, -1, -1)
    view = simclr(same)
    assert len({one.numpy().tobytes() for one in view}) == 64
    assert torch.equal(view, simclr(same)) and not torch.equal(view, simclr(same, seed=1))


def digits(count: int) -> Tensor:
    return torch.full((count, 8, 8, 1), 200, dtype=torch.uint8)


def test_the_erased_rectangle_has_sides_up_to_the_longest_and_any_place() -> None:
    black = erase(digits(20_000), 0.5, stream())[..., 0] == 0
    rows, columns = black.any(dim=2).sum(dim=1), black.any(dim=1).sum(dim=1)
    assert set(rows.tolist()) == set(columns.tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(black.sum(dim=(1, 2)), rows * columns)
    assert bool(black.any(dim=0).all())
    assert float((rows * columns == 0).float().mean()) == pytest.approx(1 - (4 / 5) ** 2, abs=0.02)


def test_without_erasing_the_affine_view_is_the_weak_one_with_its_own_numbers() -> None:
    images = torch.randint(0, 256, (30, 8, 8, 1), generator=stream(2), dtype=torch.uint8)
    params = AffineStrongParams(kind="affine", pad=2, rotate=20.0, zoom=0.2, erase=0.0)
    ours = strong_view(params, (0.3,), (0.4,), CPU)
    moves = Views(ViewParams(pad=2, flip=False, rotate=20.0, zoom=0.2), (0.3,), (0.4,), CPU)
    generator = stream(4)
    erase(images, 0.0, generator)
    torch.testing.assert_close(ours(images, stream(4)), moves.weak(images, generator))


@pytest.mark.parametrize("kind", ["affine", "simclr"])
def test_a_batch_may_be_one_image(kind: str) -> None:
    params = AffineStrongParams(kind="affine") if kind == "affine" else SimCLRParams(kind="simclr")
    assert strong_view(params, MEAN, STD, CPU)(photographs(1, 8), stream()).shape == (1, 3, 8, 8)


def test_a_weak_view_with_padding_four_has_81_places_and_2_mirrors() -> None:
    same = photographs(1).expand(4000, -1, -1, -1)
    weak = Views(ViewParams(pad=4, flip=True), MEAN, STD, CPU).weak(same, stream())
    assert len({one.contiguous().numpy().tobytes() for one in weak}) == 81 * 2
