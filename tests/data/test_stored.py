"""Stored images come out as they were written, however they are asked for and wherever they are kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import photographs, store_of
from torch import Tensor

from nlkit.data.photos import stored
from nlkit.data.photos.stored import ImageBatch, StoredImages
from nlkit.parts.frozen import image_keys

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
WRITTEN = photographs(12)


def pictures(batch: ImageBatch) -> list[np.ndarray]:
    """The images of a batch, cut out of its bytes."""
    table = torch.stack([batch.offsets, batch.heights, batch.widths], dim=1).tolist()
    return [batch.pixels[o : o + 3 * h * w].reshape(h, w, 3).cpu().numpy() for o, h, w in table]


def assert_chosen(batch: ImageBatch, chosen: list[int]) -> None:
    """The batch holds the images at these places and nothing else."""
    assert len(batch) == len(chosen)
    for found, place in zip(pictures(batch), chosen, strict=True):
        np.testing.assert_array_equal(found, WRITTEN[place])


@pytest.fixture(params=["cpu", "cpu, kept", pytest.param("cuda", marks=GPU), pytest.param("cuda, kept", marks=GPU)])
def images(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StoredImages:
    """Twelve images, read when they are asked for, or kept on the device, in blocks smaller than an image."""
    device, _, kept = request.param.partition(", ")
    monkeypatch.setattr(stored, "BLOCK", 1000)
    monkeypatch.setattr(stored, "SHARE", 0.6 if kept else 0.0)
    if device == "cpu" and kept:
        monkeypatch.setattr(stored, "_fits", lambda store, device, most: True)
    images = StoredImages(store_of(WRITTEN, tmp_path), 24, torch.device(device))
    assert (images.staged is not None) == bool(kept) and images.device.type == device
    return images


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([3, 0, 11, 3]),
        torch.tensor([], dtype=torch.int64),
        torch.arange(12).flip(0),
        *(slice(*ends) for ends in ((None,), (2, 7), (9, 40), (5, 5), (0, 12, 5))),
    ],
)
def test_a_batch_holds_the_images_that_were_asked_for(images: StoredImages, index: Tensor | slice) -> None:
    batch = images[index if isinstance(index, slice) else index.to(images.device)]
    chosen = torch.arange(12)[index].tolist()
    assert_chosen(batch, chosen)
    assert batch.keys.tolist() == [1000 + i for i in chosen] == image_keys(batch).tolist()
    assert batch.device.type == images.device.type


@pytest.mark.parametrize("size", [1, 4, 5, 12, 100])
def test_one_image_and_parts_are_those_of_a_tensor(images: StoredImages, size: int) -> None:
    for whole in (images, images[:]):
        parts = list(whole.split(size))  # one stays as it is when others are read
        for part, rows in zip(parts, torch.arange(12).split(size), strict=True):
            assert_chosen(part, rows.tolist())
    assert np.array_equal(images[2].cpu(), WRITTEN[2]) and np.array_equal(images[-1].cpu(), WRITTEN[-1])
    with pytest.raises(IndexError):
        images[12]


def test_a_set_looks_like_a_tensor_of_its_plain_views(images: StoredImages, tmp_path: Path) -> None:
    assert images.shape == (12, 24, 24, 3) and len(images) == 12
    assert image_keys(images).tolist() == list(range(1000, 1012))
    shapes = [(24, 70), (50, 25), (30, 30)]
    store = store_of([np.zeros((*shape, 3), np.uint8) for shape in shapes], tmp_path)
    assert StoredImages(store, 24, torch.device("cpu"), most=0)[:1].largest == 24 * 70
