"""What holds for every random view: its shape, its stream, and that each image has randomness of its own."""

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
def test_a_view_of_any_number_of_images_has_its_shape_and_8_bit_levels(
    view: tuple[View, str], images: Batch, count: int
) -> None:
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
