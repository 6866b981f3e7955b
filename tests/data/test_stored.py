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

CPU = torch.device("cpu")


def pictures(batch: ImageBatch) -> list[np.ndarray]:
    """The images of a batch, cut out of its bytes."""
    table = torch.stack([batch.offsets, batch.heights, batch.widths], dim=1).tolist()
    return [batch.pixels[o : o + 3 * h * w].reshape(h, w, 3).cpu().numpy() for o, h, w in table]


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


@pytest.fixture(params=["read", "kept"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether pixels are kept on the device, in blocks smaller than an image."""
    if request.param == "kept":
        monkeypatch.setattr(stored, "_fits", lambda store, device, most: True)
        monkeypatch.setattr(stored, "BLOCK", 1000)
    return request.param == "kept"


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([3, 0, 11, 3]),
        torch.tensor([], dtype=torch.int64),
        torch.arange(12).flip(0),
        *(slice(*ends) for ends in ((None,), (2, 7), (9, 40), (5, 5), (0, 12, 5))),
    ],
)
def test_a_batch_holds_the_images_that_were_asked_for(tmp_path: Path, kept: bool, index: Tensor | slice) -> None:
    written = photographs(12)
    images = StoredImages(store_of(written, tmp_path), 24, CPU)
    batch = images[index]
    chosen = torch.arange(12)[index].tolist()
    assert same(pictures(batch), [written[i] for i in chosen]) and len(batch) == len(chosen)
    assert batch.keys.tolist() == [1000 + i for i in chosen] == image_keys(batch).tolist()
    assert (images.staged is not None) == kept and batch.device == CPU


def test_one_number_gives_one_whole_image(tmp_path: Path, kept: bool) -> None:
    written = photographs(5)
    images = StoredImages(store_of(written, tmp_path), 20, CPU)
    assert np.array_equal(images[2].numpy(), written[2]) and np.array_equal(images[-1].numpy(), written[4])
    with pytest.raises(IndexError):
        images[5]


@pytest.mark.parametrize("size", [1, 4, 5, 12, 100])
def test_parts_are_those_of_a_tensor(tmp_path: Path, kept: bool, size: int) -> None:
    written = photographs(12)
    images = StoredImages(store_of(written, tmp_path), 24, CPU)
    for whole in (images, images[:]):
        parts = list(whole.split(size))  # one stays as it is when others are read
        for part, rows in zip(parts, torch.arange(12).split(size), strict=True):
            assert same(pictures(part), [written[i] for i in rows])


def test_a_set_looks_like_a_tensor_of_its_plain_views(tmp_path: Path) -> None:
    store = store_of(photographs(9, short=20), tmp_path)
    images = StoredImages(store, 20, CPU)
    assert images.shape == (9, 20, 20, 3) and len(images) == 9 and images.device == CPU
    assert torch.equal(image_keys(images), 1000 + torch.arange(9))
    shapes = [(24, 70), (50, 25), (30, 30)]
    store = store_of([np.zeros((*shape, 3), np.uint8) for shape in shapes], tmp_path)
    assert StoredImages(store, 24, CPU)[:1].largest == 24 * 70


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_gpu_gets_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(stored, "SHARE", share)
    monkeypatch.setattr(stored, "BLOCK", 1000)
    written = photographs(40)
    images = StoredImages(store_of(written, tmp_path), 24, torch.device("cuda"))
    assert (images.staged is not None) == (share > 0)
    batches = list(images.split(7))
    assert same([one for batch in batches for one in pictures(batch)], written)
    index = torch.tensor([5, 1, 30], device="cuda")
    assert same(pictures(images[index]), [written[i] for i in (5, 1, 30)])
