"""The store of decoded images: what it holds, when it is another one, and that nothing is decoded twice."""

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pytest
from fuzzing import damaged, refused
from PIL import Image
from processes import FORK

from nlkit.data.photos import PhotoList, decode
from nlkit.data.photos import store as module
from nlkit.data.photos.decode import read_photo
from nlkit.data.photos.store import Store, build, digested, read

SHORT = 12
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


@pytest.fixture
def store(photos: PhotoList) -> Store:
    return make(photos)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is decoded from now on."""
    spy = Mock(wraps=read_photo)
    monkeypatch.setattr(module, "read_photo", spy)
    return spy.mock_calls


def test_a_store_holds_what_decoding_one_by_one_gives(photos: PhotoList, store: Store) -> None:
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


def test_images_are_read_one_after_the_other_and_what_cannot_be_read_is_told_in_one_line(store: Store) -> None:
    for indices in ([], [5], [26, 0], range(27), range(26, -1, -1), [3, 4, 5, 9, 10, 2, 3, 3], [0, 1, 1, 2]):
        assert pixels_of(store, *indices) == b"".join(pixels_of(store, i) for i in indices)
    file = store.files[0]
    file.write_bytes(file.read_bytes()[:-1])
    assert refused(lambda: pixels_of(store, 3)).startswith(f"{file}: the stored images are cut short")
    gone = replace(store, files=(Path("/nowhere/00000.pixels"), *store.files[1:]))
    assert "cannot read the stored images (No such file" in refused(lambda: pixels_of(gone, 0))
    with pytest.raises(IndexError):
        pixels_of(store, 27)


def test_shards_and_threads_leave_no_trace(photos: PhotoList, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard, threads in ((1, 1), (7, 3), (1000, 8)):
        monkeypatch.setattr(module, "SHARD", shard)
        monkeypatch.setattr(decode, "MAX_THREADS", threads)
        found = make(photos, photos.root.parent / f"{shard}")
        assert same(found, store) and len(found.files) == -(-30 // shard)


def test_a_finished_store_is_found_and_nothing_else_is_left(photos: PhotoList, store: Store, seen: list[Any]) -> None:
    assert same(make(photos), store) and seen == []
    folder = store.files[0].parent
    assert sorted(path.suffix for path in folder.parent.iterdir()) == ["", ".lock"]
    expected = {name for file in store.files for name in (file.name, f"{file.stem}.safetensors")}
    assert {path.name for path in folder.iterdir()} == expected


def test_corrupt_images_may_be_fatal_and_nothing_is_lost(photos: PhotoList, seen: list[Any]) -> None:
    message = refused(lambda: make(photos, corrupt="fail"))
    assert "3 of 30 images cannot be used" in message and f"{photos.names[5]!r}: empty file" in message
    assert make(photos).faults == FAULTS and len(seen) == 30
    assert refused(lambda: make(photos, corrupt="fail")) == message
    unreadable = part(photos, photos.names[5], photos.names[29])
    assert "2 of 2 images cannot be used" in refused(lambda: make(unreadable))


def test_impossible_requests_are_refused(photos: PhotoList, seen: list[Any], tmp_path: Path) -> None:
    assert "leaves the folder" in refused(lambda: make(part(photos, "../x.png", "/etc/passwd", "x\0.png")))
    (tmp_path / "file").write_text("")
    assert "cannot write there" in refused(lambda: make(photos, tmp_path / "file"))
    usage = shutil.disk_usage("/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        assert "the disk has 0.0 GiB; what is there is kept" in refused(lambda: make(photos))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
        assert "No space left" in refused(lambda: make(photos))
    seen.clear()
    assert len(make(photos)) == 27 and len(seen) == 26


def test_the_hash_follows_content_the_request_files(photos: PhotoList, store: Store, seen: list[Any]) -> None:
    for path in photos.root.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    assert same(make(photos), store) and len(seen) == 30
    copy = shutil.copytree(photos.root, photos.root.parent / "copy")
    folder = photos.root.parent / ".stores"
    assert same(make(PhotoList(copy, photos.names, photos.labels), folder), store) and len(seen) == 60
    moved = photos.root.parent.rename(photos.root.parent.with_name("moved"))
    assert make(PhotoList(moved / "images", photos.names, photos.labels)).sha256 == store.sha256 and len(seen) == 60


@pytest.mark.parametrize("change", ["pixels", "order", "fewer", "short", "restored"])
def test_other_images_are_another_store(photos: PhotoList, store: Store, change: str) -> None:
    short, redrawn = SHORT + (change == "short"), {"pixels": 0, "restored": 29}.get(change)
    names = {"order": photos.names[::-1], "fewer": photos.names[1:]}.get(change, photos.names)
    if redrawn is not None:
        Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(photos.root / names[redrawn])
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


def test_two_processes_decode_the_same_once(photos: PhotoList, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, folder = photos.root.parent / "decoded", photos.root.parent / "two"

    def slow(path: Path, short: int) -> np.ndarray:
        with decoded.open("ab", buffering=0) as file:
            file.write(b".")
        time.sleep(0.004)
        return read_photo(path, short)

    monkeypatch.setattr(module, "read_photo", slow)
    monkeypatch.setattr(decode, "MAX_THREADS", 2)
    with FORK.Pool(2) as pool:
        pool.starmap(make, [(photos, folder)] * 2, chunksize=1)
    assert same(make(photos, folder), store) and decoded.stat().st_size == 30


def test_a_shard_that_is_damaged_is_made_again(photos: PhotoList, store: Store, seen: list[Any]) -> None:
    index, other = (store.files[shard].with_suffix(".safetensors") for shard in (2, 3))
    pixels = store.files[2].read_bytes()
    indices = [*damaged(index.read_bytes(), count=12), other.read_bytes(), b""]
    for file, copies in ((index, indices), (store.files[2], [b"", pixels[:-1], pixels + b"\0"])):
        for copy in copies:
            file.write_bytes(copy)
            seen.clear()
            with patch.object(module, "tqdm", wraps=module.tqdm) as bar:
                assert same(make(photos), store) and len(seen) == 4
            assert bar.call_args.kwargs["initial"] == 30 - 4
