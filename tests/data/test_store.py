from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from nlkit import NlkitError
from nlkit.data.store import Store, byte_sizes, image_digest, image_keys, read, store_sha256, verify


def make(folder: Path, count: int = 23) -> tuple[Store, list[np.ndarray]]:
    """A store that is written by hand, and its images."""
    rng = np.random.default_rng(0)
    shapes = [tuple(int(side) for side in rng.integers(1, 9, 2)) for _ in range(count)]
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    pixels = folder / "pixels.bin"
    pixels.write_bytes(b"".join(image.tobytes() for image in images))
    heights, widths = np.array(shapes, np.int64).T
    sizes = byte_sizes(heights, widths)
    digests = b"".join(image_digest(*shape, image) for shape, image in zip(shapes, images, strict=True))
    offsets = np.cumsum(sizes) - sizes
    kept = np.arange(count)
    return Store(pixels, offsets, heights, widths, image_keys(digests), kept, {}, store_sha256(digests)), images


def refused(store: Store, indices: list[int], out: np.ndarray | None = None) -> str:
    with pytest.raises(NlkitError) as caught:
        read(store, np.array(indices), out)
    return str(caught.value)


@pytest.mark.parametrize(
    "indices", [[], [5], [22, 0], list(range(23)), list(range(22, -1, -1)), [3, 4, 5, 9, 10, 2, 3, 3], [0, 1, 1, 2]]
)
@pytest.mark.parametrize("given", [False, True])
def test_read_gives_the_images_one_after_the_other(tmp_path: Path, indices: list[int], given: bool) -> None:
    store, images = make(tmp_path)
    buffer = np.full(5000, 7, np.uint8) if given else None
    found, begins = read(store, np.array(indices, np.int64), buffer)
    expected = b"".join(images[i].tobytes() for i in indices)
    assert found.tobytes() == expected and len(begins) == len(indices)
    for i, begin in zip(indices, begins, strict=True):
        shape = (store.heights[i], store.widths[i], 3)
        assert np.array_equal(found[begin:][: images[i].size].reshape(shape), images[i])
    if buffer is not None:
        assert np.shares_memory(found, buffer) or not indices
        assert (buffer[len(expected) :] == 7).all()


def test_read_agrees_with_slices_at_random(tmp_path: Path) -> None:
    store, _ = make(tmp_path, 200)
    whole = np.fromfile(store.pixels, np.uint8)
    sizes = byte_sizes(store.heights, store.widths)
    rng = np.random.default_rng(1)
    for _ in range(30):
        indices = rng.integers(0, 200, rng.integers(1, 80))
        for order in (indices, np.sort(indices)):
            found, _ = read(store, order)
            assert np.array_equal(found, np.concatenate([whole[store.offsets[i] :][: sizes[i]] for i in order]))


def test_neighbours_are_read_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nlkit.data import store as module

    store, _ = make(tmp_path)
    calls = []
    whole = module._read_run
    monkeypatch.setattr(module, "_read_run", lambda *call: (calls.append(call[2]), whole(*call)))
    read(store, np.arange(23))
    read(store, np.array([4, 5, 6, 0, 1, 9]))
    assert calls == [0, *store.offsets[[4, 0, 9]]]


def test_the_kernel_may_give_less_than_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nlkit.data import store as module

    store, images = make(tmp_path)
    whole = module.os.preadv
    monkeypatch.setattr(module.os, "preadv", lambda file, parts, at: whole(file, [parts[0][:5]], at))
    found, _ = read(store, np.arange(23))
    assert found.tobytes() == b"".join(image.tobytes() for image in images)


def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    store, _ = make(tmp_path)
    assert "outside 0..22" in refused(store, [23]) and "outside 0..22" in refused(store, [0, -1])
    assert "too small" in refused(store, [0, 1], np.empty(1, np.uint8))
    store.pixels.write_bytes(store.pixels.read_bytes()[:-1])
    assert "cut short" in refused(store, [22])
    store.pixels.unlink()
    assert "No such file" in refused(store, [0])


def test_keys_and_the_hash_follow_shapes_and_pixels(tmp_path: Path) -> None:
    store, images = make(tmp_path)
    shape = images[0].shape
    digest = hashlib.sha256(f"{shape[0]} {shape[1]} 3\n".encode() + images[0].tobytes()).digest()
    assert int(store.keys[0]) == int.from_bytes(digest[:8], "little", signed=True)
    other_shape = image_digest(3, 4, bytes(36)) != image_digest(4, 3, bytes(36))
    assert other_shape and image_digest(3, 4, bytes(36)) == image_digest(3, 4, np.zeros((3, 4, 3), np.uint8))
    assert store_sha256(b"a" * 32 + b"b" * 32) != store_sha256(b"b" * 32 + b"a" * 32)


def test_verify_finds_any_flipped_byte(tmp_path: Path) -> None:
    store, _ = make(tmp_path)
    verify(store, progress=False)
    content = store.pixels.read_bytes()
    for place in np.random.default_rng(3).integers(0, len(content), 20):
        damaged = bytearray(content)
        damaged[place] ^= 16
        store.pixels.write_bytes(bytes(damaged))
        index = int(np.searchsorted(store.offsets, place, "right")) - 1
        with pytest.raises(NlkitError, match=f"image {index} is not what was written"):
            verify(store, progress=False)
    store.pixels.write_bytes(content)
    with pytest.raises(NlkitError, match="its sha256 is not"):
        verify(dataclasses.replace(store, sha256="0" * 64), progress=False)
