"""Resized crops against Pillow, for both forms, and closed forms of the weights."""

from types import ModuleType

import numpy as np
import pytest
import tiny
import torch
from pictures import batch_of
from PIL import Image
from torch import Tensor

from nlkit.data.photos.stored import ImageBatch
from nlkit.kernels import resized_crop as on_cpu
from nlkit.kernels.resized_crop import naive
from nlkit.views.photos import Box

forms = pytest.mark.parametrize("form", [naive, on_cpu], ids=["naive", "on a CPU"])
SHAPES = [(63, 257), (257, 63), (8, 8), (31, 30), (100, 64), (300, 17)]


@pytest.fixture
def images() -> list[np.ndarray]:
    """One image of noise and one of an edge for each shape."""
    rng = np.random.default_rng(0)
    found = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES]
    for height, width in SHAPES:
        edge = (np.arange(height)[:, None] + np.arange(width)[None] > (height + width) / 2) * 255
        found.append(np.repeat(edge[..., None], 3, axis=2).astype(np.uint8))
    return found


def random_boxes(batch: ImageBatch, seed: int = 0) -> tuple[Box, Tensor]:
    """Any boxes inside the images, one pixel high or wide at least, and flips."""
    u = torch.rand(5, len(batch), generator=tiny.stream(seed))
    height, width = 1 + (u[0] * batch.heights).long(), 1 + (u[1] * batch.widths).long()
    top, left = (u[2] * (batch.heights - height + 1)).long(), (u[3] * (batch.widths - width + 1)).long()
    return (top, left, height, width), u[4] < 0.5


def pillow(image: np.ndarray, box: list[int], size: int, flip: bool, two_steps: bool) -> np.ndarray:
    """Pillow's resize of the cut-out image, in one step or rows first."""
    top, left, height, width = box
    found = Image.fromarray(image).crop((left, top, left + width, top + height))
    if two_steps:
        found = found.resize((size, height), Image.Resampling.BILINEAR)
    found = found.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(found.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else found)


@forms
@pytest.mark.parametrize("size", [8, 63, 64, 257])
def test_every_form_is_pillow(form: ModuleType, images: list[np.ndarray], size: int) -> None:
    """The naive one bit for bit where rows come first, the other within one level of one step."""
    batch = batch_of(images, 8, pad=5)
    box, flip = random_boxes(batch, seed=size)
    before = batch.pixels.clone()
    found = form.resized_crop(batch, box, size, flip, 300)
    assert torch.equal(batch.pixels, before)
    assert found.shape == (len(images), size, size, 3) and found.dtype == torch.uint8
    for k, numbers in enumerate(torch.stack(box, dim=1).tolist()):
        expected = pillow(images[k], numbers, size, bool(flip[k]), two_steps=form is naive)
        assert np.abs(found[k].numpy().astype(int) - expected).max() <= (form is not naive), (SHAPES[k % 6], numbers)


@forms
def test_a_box_of_the_size_asked_for_is_copied(form: ModuleType, images: list[np.ndarray]) -> None:
    batch = batch_of(images, 8)
    (top, left, _, _), flip = random_boxes(batch)
    top, left = torch.minimum(top, batch.heights - 8), torch.minimum(left, batch.widths - 8)
    eight = torch.full_like(top, 8)
    copied = form.cut(batch, top, left, 8, flip)
    assert torch.equal(form.resized_crop(batch, (top, left, eight, eight), 8, flip, 300), copied)
    for k, image in enumerate(images):
        expected = image[int(top[k]) : int(top[k]) + 8, int(left[k]) : int(left[k]) + 8]
        assert np.array_equal(copied[k].numpy(), expected[:, ::-1] if flip[k] else expected)


@forms
def test_no_image_gives_none(form: ModuleType, images: list[np.ndarray]) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    batch = ImageBatch(torch.zeros(0, dtype=torch.uint8), none, none, none, none, 8, 0)
    assert form.resized_crop(batch, (none,) * 4, 8, none.bool(), 3).shape == (0, 8, 8, 3)
    assert form.cut(batch, none, none, 8, none.bool()).shape == (0, 8, 8, 3)


def test_the_bound_and_the_groups_change_nothing(images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(images, 8)
    box, flip = random_boxes(batch)
    expected = naive.resized_crop(batch, box, 40, flip, 300)
    assert torch.equal(naive.resized_crop(batch, box, 40, flip, 411), expected)
    monkeypatch.setattr(naive, "GROUP_BYTES", 3 * 300 * (32 * 300 + 80 * 40))
    assert torch.equal(naive.resized_crop(batch, box, 40, flip, 300), expected)
