"""The store of decoded images: what it holds, when it is another one, and that nothing is decoded twice."""

import hashlib
import multiprocessing
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from fuzzing import damaged, refused
from PIL import Image

from nlkit.data.photos import PhotoList, decode
from nlkit.data.photos import store as module
from nlkit.data.photos.decode import read_photo
from nlkit.data.photos.store import Store, build, digested, read

SHORT = 12
FORK = multiprocessing.get_context("fork")
FAULTS = {5: "empty file", 11: "not an image of a known kind", 29: "no such file"}


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD", 4)


@pytest.fixture
def photos(tmp_path: Path) -> PhotoList:
    """Thirty images of several shapes, kinds and names; places 5, 11 and 29 hold none."""
    root, rng = tmp_path / "images", np.random.default_rng(0)
    (root / "ä b").mkdir(parents=True)
    names = [f"{'ä b/' if i % 3 else ''}图 {i}.{'jpg' if i % 2 else 'png'}" for i in range(30)]
    for i, name in enumerate(names):
        pixels = rng.integers(0, 256, (15 + i, 40 - i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / names[5]).write_bytes(b"")
    (root / names[11]).write_bytes(b"<html>gone</html>")
    (root / names[29]).unlink()
    return PhotoList(root, names, np.zeros(30, np.int64))


def make(photos: PhotoList, folder: Path | None = None, corrupt: Any = "drop", short: int = SHORT) -> Store:
    return build(photos, short, folder or photos.root.parent / ".stores", corrupt, progress=False)


def part(photos: PhotoList, *names: str) -> PhotoList:
    return PhotoList(photos.root, names, np.zeros(len(names), np.int64))


def pixels_of(store: Store, *indices: int) -> bytes:
    out = np.empty(int(store.sizes[list(indices)].sum()), np.uint8)
    read(store, np.array(indices, np.int64), out)
    return out.tobytes()


def same(one: Store, other: Store) -> bool:
    """Whether two stores hold the same, in memory and on disk."""
    names = ("heights", "widths", "digests", "keys", "kept")
    columns = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
    alike = columns and one.sha256 == other.sha256 and one.faults == other.faults
    return alike and pixels_of(one, *range(len(one))) == pixels_of(other, *range(len(other)))


def decoding(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is decoded from now on."""
    seen: list[Any] = []
    monkeypatch.setattr(module, "read_photo", lambda *given: seen.append(given) or read_photo(*given))
    return seen


def test_a_store_holds_what_decoding_one_by_one_gives(photos: PhotoList) -> None:
    store = make(photos)
    assert store.faults == FAULTS and store.kept.tolist() == [i for i in range(30) if i not in FAULTS]
    digests = b""
    for i, place in enumerate(store.kept):
        pixels = read_photo(photos.root / photos.names[place], SHORT)
        assert (store.heights[i], store.widths[i]) == pixels.shape[:2] and pixels_of(store, i) == pixels.tobytes()
        digest = hashlib.sha256(f"{pixels.shape[0]} {pixels.shape[1]} 3\n".encode() + pixels.tobytes()).digest()
        assert digest == digested(pixels)[1] == store.digests[i].tobytes()
        assert int(store.keys[i]) == int.from_bytes(digest[:8], "little", signed=True)
        digests += digest
    assert store.sha256 == hashlib.sha256(digests).hexdigest()


def test_images_are_read_one_after_the_other_and_what_cannot_be_read_is_told_in_one_line(photos: PhotoList) -> None:
    store = make(photos)
    for indices in ([], [5], [26, 0], range(27), range(26, -1, -1), [3, 4, 5, 9, 10, 2, 3, 3], [0, 1, 1, 2]):
        assert pixels_of(store, *indices) == b"".join(pixels_of(store, i) for i in indices)
    file = store.files[0]
    file.write_bytes(file.read_bytes()[:-1])
    assert refused(lambda: pixels_of(store, 3)).startswith(f"{file}: the stored images are cut short")
    gone = replace(store, files=(Path("/nowhere/00000.pixels"), *store.files[1:]))
    assert "cannot read the stored images (No such file" in refused(lambda: pixels_of(gone, 0))
    with pytest.raises(IndexError):
        pixels_of(store, 27)


def test_shards_and_threads_leave_no_trace(photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(photos)
    for shard, threads in ((1, 1), (7, 3), (1000, 8)):
        monkeypatch.setattr(module, "SHARD", shard)
        monkeypatch.setattr(decode, "MAX_THREADS", threads)
        found = make(photos, tmp_path / f"{shard}")
        assert same(found, store) and len(found.files) == -(-30 // shard)


def test_a_finished_store_is_found_and_nothing_else_is_left(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(photos)
    seen = decoding(monkeypatch)
    assert same(make(photos), store) and seen == []
    folder = store.files[0].parent
    assert sorted(path.suffix for path in folder.parent.iterdir()) == ["", ".lock"]
    expected = {name for file in store.files for name in (file.name, f"{file.stem}.safetensors")}
    assert {path.name for path in folder.iterdir()} == expected


def test_corrupt_images_may_be_fatal_and_nothing_is_lost(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(lambda: make(photos, corrupt="fail"))
    assert "3 of 30 images cannot be used" in message and f"{photos.names[5]!r}: empty file" in message
    seen = decoding(monkeypatch)
    assert make(photos).faults == FAULTS and seen == []
    assert refused(lambda: make(photos, corrupt="fail")) == message
    unreadable = part(photos, photos.names[5], photos.names[29])
    assert "2 of 2 images cannot be used" in refused(lambda: make(unreadable))


def test_impossible_requests_are_refused(photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "leaves the folder" in refused(lambda: make(part(photos, "../x.png", "/etc/passwd", "x\0.png")))
    (tmp_path / "file").write_text("")
    assert "cannot write there" in refused(lambda: make(photos, tmp_path / "file"))
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        assert "the disk has 0.0 GiB; what is there is kept" in refused(lambda: make(photos))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
        assert "No space left" in refused(lambda: make(photos))
    seen = decoding(monkeypatch)
    assert len(make(photos)) == 27 and len(seen) == 26


def test_the_hash_follows_content_the_request_files(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(photos)
    seen = decoding(monkeypatch)
    for path in photos.root.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    assert same(make(photos), store) and len(seen) == 30
    copy = shutil.copytree(photos.root, photos.root.parent / "copy")
    folder = photos.root.parent / ".stores"
    assert same(make(PhotoList(copy, photos.names, photos.labels), folder), store) and len(seen) == 60
    moved = photos.root.parent.rename(photos.root.parent.with_name("moved"))
    assert make(PhotoList(moved / "images", photos.names, photos.labels)).sha256 == store.sha256 and len(seen) == 60


@pytest.mark.parametrize("change", ["pixels", "order", "fewer", "short", "restored"])
def test_other_images_are_another_store(photos: PhotoList, change: str) -> None:
    store = make(photos)
    names, short = list(photos.names), SHORT
    if change in ("pixels", "restored"):
        path = photos.root / names[0 if change == "pixels" else 29]
        Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(path)
    elif change == "order":
        names[:2] = names[1::-1]
    elif change == "fewer":
        names = names[1:]
    else:
        short += 1
    other = make(part(photos, *names), short=short)
    assert other.sha256 != store.sha256 and set(other.files).isdisjoint(store.files)
    for i, place in enumerate(other.kept):
        assert pixels_of(other, i) == read_photo(photos.root / names[place], short).tobytes()


def test_a_file_that_changes_meanwhile_is_noticed(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(path: Path, short: int) -> np.ndarray:
        if path.name == "图 20.png":
            Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(photos.root / photos.names[0])
        return read_photo(path, short)

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_photo", change)
        assert "were changed" in refused(lambda: make(photos))
    assert make(photos).heights[0] == SHORT == make(photos).widths[0]


def build_slowly(photos: PhotoList, folder: Path, decoded: Path) -> None:
    def slow(path: Path, short: int) -> np.ndarray:
        with decoded.open("ab", buffering=0) as file:
            file.write(b".")
        time.sleep(0.004)
        return read_photo(path, short)

    module.read_photo = slow  # type: ignore[assignment]  # in a process of its own
    decode.MAX_THREADS = 2
    build(photos, SHORT, folder, "drop", progress=False)


def test_two_processes_that_want_the_same_decode_it_once(photos: PhotoList, tmp_path: Path) -> None:
    decoded, folder = tmp_path / "decoded", tmp_path / "two"
    with FORK.Pool(2) as pool:
        pool.starmap(build_slowly, [(photos, folder, decoded)] * 2, chunksize=1)
    assert decoded.stat().st_size == 30
    assert same(make(photos, folder), make(photos))


def test_a_shard_that_is_damaged_is_made_again(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(photos)
    index = store.files[2].with_suffix(".safetensors")
    whole, other = index.read_bytes(), store.files[3].with_suffix(".safetensors").read_bytes()
    seen = decoding(monkeypatch)
    for copy in [*damaged(whole, count=12), other, b""]:
        index.write_bytes(copy)
        assert same(make(photos), store) and len(seen) == 4
        seen.clear()
    pixels = store.files[2].read_bytes()
    for copy in (b"", pixels[:-1], pixels + b"\0"):
        store.files[2].write_bytes(copy)
        assert same(make(photos), store) and len(seen) == 4
        seen.clear()
