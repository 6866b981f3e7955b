"""Views of images of varying sizes: those of torchvision's pipelines on Pillow images, normalised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from nlkit.data.photos import stored
from nlkit.data.photos.store import Store
from nlkit.data.photos.stored import ImageBatch, StoredImages
from nlkit.params.views import AutoAugmentPhotoParams, PhotoViewParams, SimCLRParams, ViewParams
from nlkit.views.strong import SimCLR, StrongView, strong_view
from nlkit.views.weak import Views

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
STILL = {"flip": False, "jitter": 0.0, "grey": 0.0, "solarise": 0.0}
Make = Callable[..., Store]
Draw = Callable[..., list[np.ndarray]]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(kind: str = "crop", size: int = 16, **params: object) -> Views:
    own = PhotoViewParams(kind=kind, size=size, **params)  # type: ignore[arg-type]
    return Views(own, MEAN, STD, CPU)


def levels(view: Tensor) -> Tensor:
    """8-bit levels [B, H, W, 3] of normalised inputs."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (255 * (view * std + mean)).permute(0, 2, 3, 1)


def whole(found: Tensor) -> bool:
    """Whether levels are whole numbers in 0..255."""
    return (
        bool(((found - found.round()).abs() < 1e-3).all())
        and float(found.min()) > -1e-3
        and float(found.max()) < 255.001
    )


@pytest.mark.parametrize("size", [15, 16, 24])
def test_the_plain_view_is_the_centre_crop_of_torchvision(make_store: Make, photographs: Draw, size: int) -> None:
    written = photographs(12)
    plain = views(size=size).plain(StoredImages(make_store(written), size, CPU)[:])
    finish = transforms.Compose([transforms.CenterCrop(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected = torch.stack([finish(Image.fromarray(image)) for image in written])
    torch.testing.assert_close(plain, expected, atol=1e-4, rtol=0)


def test_squares_as_large_as_their_views_are_seen_as_a_tensor_is(make_store: Make) -> None:
    rng = np.random.default_rng(0)
    dense = torch.from_numpy(rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8))
    images = StoredImages(make_store(list(dense.numpy())), 16, CPU)
    still, small = views(flip=False), Views(ViewParams(pad=0, flip=False), MEAN, STD, CPU)
    index = torch.tensor([4, 4, 0, 8])
    assert torch.equal(still.plain(images[index]), small.plain(dense[index]))
    assert torch.equal(still.weak(images[index], stream()), small.plain(dense[index]))
    for part, expected in zip(images.split(4), dense.split(4), strict=True):
        assert torch.equal(still.plain(part), small.plain(expected))


def test_a_weak_crop_is_a_square_of_the_image_and_every_square_comes(make_store: Make) -> None:
    image = np.random.default_rng(0).integers(0, 256, (18, 19, 3), dtype=np.uint8)
    images = StoredImages(make_store([image]), 16, CPU)
    same = images[torch.zeros(2000, dtype=torch.int64)]
    found = levels(views().weak(same, stream())).round().byte().numpy()
    squares = [image[top : top + 16, left : left + 16] for top in range(3) for left in range(4)]
    expected = {square.tobytes() for square in squares} | {square[:, ::-1].tobytes() for square in squares}
    assert {one.tobytes() for one in found} == expected
    plain = {square.tobytes() for square in squares}
    assert np.mean([one.tobytes() in plain for one in found]) == pytest.approx(0.5, abs=0.05)


def test_a_weak_resized_crop_is_on_average_torchvisions(make_store: Make, photographs: Draw) -> None:
    image = photographs(1, short=40)[0]
    images = StoredImages(make_store([image]), 16, CPU)
    same = images[torch.zeros(3000, dtype=torch.int64)]
    ours = levels(views("resized_crop", smallest=0.1).weak(same, stream()))
    assert whole(ours)
    make = transforms.Compose([transforms.RandomResizedCrop(16, scale=(0.1, 1.0)), transforms.RandomHorizontalFlip()])
    theirs = np.stack([np.asarray(make(Image.fromarray(image))) for _ in range(3000)]).astype(float)
    expected, spread = theirs.mean(axis=0), theirs.std(axis=0)
    error = np.sqrt(2) * spread / np.sqrt(3000)
    assert bool((np.abs(ours.mean(dim=0).numpy() - expected) < 5 * error + 0.05).all())
    assert np.abs(ours.std(dim=0).numpy() / spread - 1).mean() < 0.05


def all_views(size: int) -> list[Callable[[ImageBatch, torch.Generator], Tensor]]:
    """Every random view of photographs."""
    strong: list[StrongView] = [
        strong_view(SimCLRParams(kind="simclr", blur=0.5), MEAN, STD, CPU),
        strong_view(AutoAugmentPhotoParams(kind="autoaugment_imagenet"), MEAN, STD, CPU),
    ]
    return [views("crop", size).weak, views("resized_crop", size).weak, *strong]


@pytest.mark.parametrize("number", range(4))
def test_a_view_is_8_bit_of_its_size_and_depends_on_its_stream_only(
    make_store: Make, photographs: Draw, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store, view = make_store(photographs(20)), all_views(20)[number]
    first = view(StoredImages(store, 20, CPU)[:], stream(3))
    assert first.shape == (20, 3, 20, 20) and first.dtype == torch.float32 and whole(levels(first))
    monkeypatch.setattr(stored, "_fits", lambda store, device: True)
    images = StoredImages(store, 20, CPU)
    assert images.staged is not None and torch.equal(view(images[:], stream(3)), first)
    assert not torch.equal(view(images[:], stream(4)), first)


@pytest.mark.parametrize("number", range(4))
def test_each_image_has_randomness_of_its_own_and_none_has_no_view(
    make_store: Make, photographs: Draw, number: int
) -> None:
    images, view = StoredImages(make_store(photographs(1, short=40)), 20, CPU), all_views(20)[number]
    same = view(images[torch.zeros(30, dtype=torch.int64)], stream())
    assert len({one.contiguous().numpy().tobytes() for one in same}) > 20
    assert view(images[:0], stream()).shape == (0, 3, 20, 20)
    assert view(images[:1], stream()).shape == (1, 3, 20, 20)


def test_simclr_views_cut_each_image_by_its_own_size(make_store: Make, photographs: Draw) -> None:
    """Without other changes they are the resized crop that the same stream draws."""
    images = StoredImages(make_store(photographs(15)), 20, CPU)
    strong = SimCLR(SimCLRParams(kind="simclr", crop=0.3, **STILL), MEAN, STD, CPU)  # type: ignore[arg-type]
    weak = views("resized_crop", 20, smallest=0.3, flip=False)
    torch.testing.assert_close(strong(images[:], stream(2)), weak.weak(images[:], stream(2)), atol=1e-4, rtol=0)
