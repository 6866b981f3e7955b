"""Strong views: every part, colours and AutoAugment among them, against torchvision's, or against a count."""

import math
from itertools import permutations

import numpy as np
import pytest
import tiny
import torch
from pictures import MEAN, STD, batch_of, levels, rows
from tiny import stream
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import autoaugment
from torchvision.transforms import functional as reference
from torchvision.transforms.functional import InterpolationMode

from nlkit.errors import NlkitError
from nlkit.params.views import AffineStrongParams, AutoAugmentParams, AutoAugmentPhotoParams, SimCLRParams, ViewParams
from nlkit.views import Views
from nlkit.views.autoaugment import OPERATIONS, AutoAugment, apply
from nlkit.views.photos import Box, crop_boxes
from nlkit.views.strong import ADJUSTMENTS, enlarged, erase, gaussian_blur, jitter, solarise, strong_view

CPU = torch.device("cpu")
STILL = {"crop": 1.0, "flip": False, "jitter": 0.0, "grey": 0.0, "solarise": 0.0}


@pytest.mark.parametrize("own", [SimCLRParams(kind="simclr"), AutoAugmentParams(kind="autoaugment")])
def test_views_that_change_colours_are_refused_for_grey_images(own: SimCLRParams | AutoAugmentParams) -> None:
    with pytest.raises(NlkitError, match=f"'{own.kind}' is for colours"):
        strong_view(own, MEAN[:1], STD[:1], CPU)


def photographs(count: int, size: int = 32) -> Tensor:
    return torch.randint(0, 256, (count, size, size, 3), generator=stream(5), dtype=torch.uint8)


def boxes(count: int, height: int, width: int, smallest: float, seed: int = 0) -> Box:
    """Those of images of one size."""
    return crop_boxes(torch.full((count,), height), torch.full((count,), width), smallest, stream(seed))


def simclr(images: Tensor, seed: int = 0, **params: object) -> Tensor:
    """One view of each image, as 8-bit levels [B, C, H, W]."""
    return levels(strong_view(SimCLRParams(kind="simclr", **params), MEAN, STD, CPU)(images, stream(seed)))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(32, 32), (9, 13)])
def test_a_resized_crop_is_that_of_torchvision(size: tuple[int, int]) -> None:
    pixels = torch.rand(40, 3, *size, generator=stream())
    box = boxes(40, *size, 0.2, seed=3)
    ours = enlarged(pixels, box)
    for k, (top, left, height, width) in enumerate(torch.stack(box, dim=1).tolist()):
        expected = reference.resized_crop(pixels[k], top, left, height, width, list(size), antialias=True)
        torch.testing.assert_close(ours[k], expected, atol=1e-5, rtol=0)


def test_without_any_change_the_strong_view_is_the_plain_one() -> None:
    images = photographs(300)
    found = simclr(images, **STILL)
    same = (found - images.permute(0, 3, 1, 2)).abs().amax(dim=(1, 2, 3)) < 1e-3
    _, _, height, width = boxes(300, 32, 32, 1.0)
    whole = (height == 32) & (width == 32)
    assert torch.equal(same, whole) and int(whole.sum()) > 20


@pytest.mark.parametrize(
    ("part", "changed"),
    [("grey", lambda view: view.std(1).amax((1, 2)) < 1), ("solarise", lambda view: view.amax((1, 2, 3)) < 128)],
)
def test_a_part_happens_as_often_as_asked(part: str, changed) -> None:  # type: ignore[no-untyped-def]
    images = photographs(2000, 8)
    images[:, 0, 0] = 255
    share = changed(simclr(images, **{**STILL, part: 0.3})).float().mean()
    assert float(share) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(("shape", "length"), [((224, 224), 23), ((40, 60), 7), ((9, 13), 1)])
def test_the_blur_is_that_of_torchvision(shape: tuple[int, int], length: int) -> None:
    pixels = torch.rand(4, 3, *shape, generator=stream())
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0])
    ours = gaussian_blur(pixels, sigma)
    for k in range(4):
        expected = reference.gaussian_blur(pixels[k], [length, length], [float(sigma[k])] * 2)
        torch.testing.assert_close(ours[k], expected, atol=1e-5, rtol=0)


def test_blur_happens_as_often_as_asked_and_in_every_strength() -> None:
    """A standard deviation below a quarter of a pixel, 8 % of the draws, changes less than one level."""
    images = photographs(1000, 20)
    sharp, view = (simclr(images, **{**STILL, "blur": p}) for p in (1e-12, 0.3))
    changed = (sharp - view).abs().amax(dim=(1, 2, 3)) > 0.5
    assert float(changed.float().mean()) == pytest.approx(0.3 * 0.92, abs=0.05)
    left = view[changed].std(dim=(1, 2, 3)) / sharp[changed].std(dim=(1, 2, 3))
    assert float(left.min()) < 0.4 and float(left.max()) > 0.95 and float(left.diff().abs().max()) > 0.3


def test_the_erased_rectangle_has_sides_up_to_the_longest_and_any_place() -> None:
    black = erase(torch.full((20_000, 8, 8, 1), 200, dtype=torch.uint8), 0.5, stream())[..., 0] == 0
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


def test_each_image_is_changed_in_the_order_of_its_own_and_solarisation_inverts_from_the_threshold_up() -> None:
    pixels, orders = images(), torch.tensor(list(permutations(range(4))))
    strong = factors(0.6, 1.4)
    factor = torch.stack([strong, strong.flip(0), strong.roll(5), factors(-0.1, 0.1)], dim=1)
    expected = []
    for one, f, order in zip(pixels, factor, orders, strict=True):
        for number in order.tolist():
            one = SINGLE[number](one, float(f[number]))
        expected.append(one)
    torch.testing.assert_close(jitter(pixels, factor, orders), torch.stack(expected), atol=1e-4, rtol=0)
    levels = torch.arange(256)
    assert solarise(levels.float()).tolist() == [255 - level if level >= 128 else level for level in range(256)]


POLICIES = [transforms.AutoAugmentPolicy.CIFAR10, transforms.AutoAugmentPolicy.IMAGENET]


def drawn(count: int = 12, size: int = 32) -> Tensor:
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
    pixels = drawn(size=size).permute(0, 3, 1, 2)
    for magnitude in magnitudes(name, size):
        number = torch.full((len(pixels),), OPERATIONS.index(name))
        ours = apply(pixels.float(), number, torch.full((len(pixels),), magnitude))
        given = name, magnitude, InterpolationMode.NEAREST, None
        theirs = torch.stack([autoaugment._apply_op(one, *given) for one in pixels]).float()
        assert torch.equal(ours, ours.round()) and ours.min() >= 0 and ours.max() <= 255
        differing = (ours != theirs).double().mean()
        if name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
            assert differing < 0.015, (magnitude, differing)
        else:
            assert (ours - theirs).abs().max() <= 1 and differing < 0.001, (magnitude, differing)


@pytest.mark.parametrize("photo", [False, True], ids=["dense", "stored"])
def test_on_average_a_view_is_as_torchvisions(photo: bool) -> None:
    """Mean, spread and share of black pixels of 2,000 views of one image agree but for chance.

    Dense: without crop and flip. Stored: random resized crop and flip of an image of 40 x 61 pixels.
    """
    noise = np.random.default_rng(1).integers(0, 90, (40, 61, 3)) + np.linspace(0, 160, 61)[:, None]
    image = torch.from_numpy(noise.astype(np.uint8)) if photo else drawn(3)[2]
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
    for measure in (Tensor.mean, Tensor.std, lambda views, dim: (views < 1).double().mean(dim=dim)):
        one, other = (measure(views, dim=(1, 2, 3)) for views in (ours, expected))
        error = math.sqrt(float(one.var() + other.var()) / 2000)
        assert abs(float(one.mean() - other.mean())) < 4.5 * error
