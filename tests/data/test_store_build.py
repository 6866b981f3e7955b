from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from nlkit import NlkitError
from nlkit.data import store_build, threads
from nlkit.data.photo import read_photo
from nlkit.data.photo_list import PhotoList
from nlkit.data.store import Store, read, verify
from nlkit.data.store_build import build
from nlkit.data.store_files import INDEX

SHORT = 12
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_build, "CHUNK", 4)


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


FAULTS = {5: "empty file", 11: "not an image of a known kind", 29: "no such file"}


def make(
    photos: PhotoList, folder: Path | None = None, corrupt: Literal["drop", "fail"] = "drop", short: int = SHORT
) -> Store:
    return build(photos, short, folder or photos.root.parent / ".stores", corrupt, progress=False)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(NlkitError) as caught:
        work()
    return str(caught.value)


def images(store: Store) -> list[bytes]:
    return [read(store, np.array([i]))[0].tobytes() for i in range(len(store))]


def same(one: Store, other: Store) -> bool:
    """Whether two stores hold the same, in memory and on disk."""
    columns = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("offsets", "heights", "widths", "keys", "kept")
    )
    return columns and one.sha256 == other.sha256 and one.faults == other.faults and images(one) == images(other)


def count_decoding(monkeypatch: pytest.MonkeyPatch, each: Callable[[Path], object] = lambda path: None) -> list[Path]:
    """Note every file that is decoded, after `each`."""
    seen: list[Path] = []

    def counted(path: Path, short: int) -> np.ndarray:
        each(path)
        seen.append(path)
        return read_photo(path, short)

    monkeypatch.setattr(store_build, "read_photo", counted)
    return seen


# What a store holds.


def test_a_store_holds_what_decoding_one_by_one_gives(photos: PhotoList) -> None:
    store = make(photos)
    assert store.faults == FAULTS and store.kept.tolist() == [i for i in range(30) if i not in FAULTS]
    for i, place in enumerate(store.kept):
        pixels = read_photo(photos.root / photos.names[place], SHORT)
        assert (store.heights[i], store.widths[i]) == pixels.shape[:2]
        assert read(store, np.array([i]))[0].tobytes() == pixels.tobytes()
    assert store.pixels.parent.name == store.sha256
    assert store.pixels.stat().st_size == (store.heights * store.widths * 3).sum()
    verify(store, progress=False)


def test_chunks_and_threads_leave_no_trace(photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(photos)
    for chunk, workers in ((1, 1), (7, 3), (1000, 8)):
        monkeypatch.setattr(store_build, "CHUNK", chunk)
        monkeypatch.setattr(threads, "MAX_WORKERS", workers)
        assert same(make(photos, tmp_path / f"{chunk}"), store)


def test_a_finished_store_is_found_and_nothing_else_is_left(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(photos)
    seen = count_decoding(monkeypatch)
    assert same(make(photos), store) and seen == []
    left = sorted(path.name[64:] for path in store.pixels.parents[1].iterdir())
    assert left == ["", ".json", ".lock"]
    assert sorted(path.name for path in store.pixels.parent.iterdir()) == [INDEX, store.pixels.name]


def test_corrupt_images_are_fatal_by_choice_and_nothing_is_lost(
    photos: PhotoList, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused(lambda: make(photos, corrupt="fail"))
    assert "3 of 30 images cannot be used" in message and repr(photos.names[5]) in message and "empty file" in message
    seen = count_decoding(monkeypatch)
    assert make(photos).faults == FAULTS and seen == []
    assert refused(lambda: make(photos, corrupt="fail")) == message


def test_requests_without_an_answer_are_refused_in_one_line(photos: PhotoList, tmp_path: Path) -> None:
    def part(*names: str) -> PhotoList:
        return PhotoList(photos.root, names, np.zeros(len(names), np.int64))

    unreadable = part(photos.names[5], photos.names[29])
    for _ in range(2):
        assert "2 of 2 images cannot be used" in refused(lambda: make(unreadable))
    assert "empty" in refused(lambda: make(part()))
    for name in ("../x.png", "/etc/passwd", "a/../../x.png", "x\0.png"):
        assert "leaves the folder" in refused(lambda name=name: make(part(name)))  # type: ignore[misc]
    assert "cannot be the name" in refused(lambda: make(part("\ud800.png")))
    for short in (0, 5000):
        assert "use 1 to" in refused(lambda short=short: make(photos, short=short))  # type: ignore[misc]
    (tmp_path / "file").write_text("")
    assert "cannot write there" in refused(lambda: make(photos, tmp_path / "file"))


def test_a_full_disk_is_noticed_before_and_while_decoding(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_decoding(monkeypatch)
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        assert "the disk has 0.0 GiB" in refused(lambda: make(photos)) and seen == []
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(store_build.Unfinished, "write", full)
        assert "No space left" in refused(lambda: make(photos))
    assert len(make(photos)) == 27


# Content and requests.


def test_the_store_is_named_by_content_and_the_request_by_files(
    photos: PhotoList, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(photos)
    seen = count_decoding(monkeypatch)
    for path in photos.root.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    touched = make(photos)
    assert same(touched, store) and touched.pixels == store.pixels and len(seen) == 30
    copy = shutil.copytree(photos.root, photos.root.parent / "copy")
    copied = make(PhotoList(copy, photos.names, photos.labels), store.pixels.parents[1])
    assert same(copied, store) and copied.pixels == store.pixels and len(seen) == 60


def test_a_data_root_may_be_moved_with_its_stores(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos)
    moved = photos.root.parent.rename(photos.root.parent.with_name("moved"))
    seen = count_decoding(monkeypatch)
    make(PhotoList(moved / "images", photos.names, photos.labels))
    assert seen == []


@pytest.mark.parametrize("change", ["pixels", "order", "fewer", "short", "restored"])
def test_other_images_are_another_store(photos: PhotoList, change: str) -> None:
    store = make(photos)
    names, short = list(photos.names), SHORT
    if change == "pixels":
        Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(photos.root / names[0])
    elif change == "order":
        names[:2] = names[1::-1]
    elif change == "fewer":
        names = names[1:]
    elif change == "short":
        short += 1
    else:
        Image.fromarray(np.zeros((15, 40, 3), np.uint8)).save(photos.root / names[29])
    other = make(PhotoList(photos.root, names, np.zeros(len(names), np.int64)), short=short)
    assert other.sha256 != store.sha256 and other.pixels != store.pixels
    assert same(make(PhotoList(photos.root, names, np.zeros(len(names), np.int64)), short=short), other)
    for i, place in enumerate(other.kept):
        pixels = read_photo(photos.root / names[place], short)
        assert read(other, np.array([i]))[0].tobytes() == pixels.tobytes()


def test_a_file_that_changes_meanwhile_is_noticed(photos: PhotoList, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(path: Path) -> None:
        if path.name == "图 20.png":
            Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(photos.root / photos.names[0])

    with monkeypatch.context() as patch:
        count_decoding(patch, change)
        assert "were changed" in refused(lambda: make(photos))
    assert make(photos).heights[0] == SHORT == make(photos).widths[0]


# Interruption.


def interrupted(photos: PhotoList, folder: Path, monkeypatch: pytest.MonkeyPatch, after: int = 18) -> Path:
    """The folder of a store whose making was interrupted."""

    def stop(path: Path) -> None:
        if f"图 {after}." in path.name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        count_decoding(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            make(photos, folder)
    (work,) = folder.glob("*.building")
    return work


def build_slowly(photos: PhotoList, folder: Path) -> None:
    def slow(path: Path, short: int) -> np.ndarray:
        time.sleep(0.004)
        return read_photo(path, short)

    store_build.read_photo = slow  # type: ignore[assignment]  # in a process of its own
    threads.MAX_WORKERS = 2
    build(photos, SHORT, folder, "drop", progress=False)


def test_killed_at_any_moment_it_goes_on_to_the_same_store(
    photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, folder, rng = make(photos), tmp_path / "killed", np.random.default_rng()
    for _ in range(5):
        process = FORK.Process(target=build_slowly, args=(photos, folder))
        before = sizes(folder)
        process.start()
        while sizes(folder) == before and process.is_alive():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
    seen = count_decoding(monkeypatch)
    found = make(photos, folder)
    assert same(found, expected) and len(seen) < 30
    assert found.pixels.read_bytes() == expected.pixels.read_bytes()
    verify(found, progress=False)


def sizes(folder: Path) -> int:
    """Bytes of the journals, or one where all is done."""
    journals = list(folder.glob("*.building/journal.txt"))
    return sum(path.stat().st_size for path in journals) or len(list(folder.glob("*.json")))


@pytest.mark.parametrize("moves", range(3))
def test_an_interruption_at_the_very_end_costs_nothing(
    photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    expected, done, replace = make(photos), [], os.replace

    def stop(source: Path, target: Path) -> None:
        if len(done) == moves and source.name != f".{INDEX}.writing":
            raise KeyboardInterrupt
        replace(source, target)
        done.extend([source] if source.name != f".{INDEX}.writing" else [])

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            make(photos, tmp_path / "again")
    seen = count_decoding(monkeypatch)
    assert same(make(photos, tmp_path / "again"), expected) and seen == []


def test_only_what_is_left_is_decoded(photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make(photos)
    interrupted(photos, tmp_path / "again", monkeypatch)
    seen = count_decoding(monkeypatch)
    assert same(make(photos, tmp_path / "again"), expected) and 12 <= len(seen) <= 18


def test_after_damage_it_can_be_interrupted_again(
    photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, folder = make(photos), tmp_path / "again"
    work = interrupted(photos, folder, monkeypatch, after=10)
    journal = work / "journal.txt"
    journal.write_bytes(journal.read_bytes()[:-3])
    interrupted(photos, folder, monkeypatch, after=25)
    seen = count_decoding(monkeypatch)
    assert same(make(photos, folder), expected) and len(seen) <= 10


@pytest.mark.parametrize("file", ["journal.txt", "pixels.bin"])
def test_damage_to_an_unfinished_store_is_never_built_upon(
    photos: PhotoList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: Callable[..., list[bytes]], file: str
) -> None:
    expected, folder = make(photos), tmp_path / "damaged"
    work = interrupted(photos, folder, monkeypatch)
    backup = shutil.copytree(work, tmp_path / "backup")
    content = (work / file).read_bytes()
    lines = content.splitlines(keepends=True)
    edits = [b"", content + b"\n", content + content, b"".join(lines[1:]), b"".join([*lines[:1], *lines[2:]])]
    for copy in [*damaged(content, flips=12, cuts=5), *edits]:
        shutil.rmtree(folder)
        shutil.copytree(backup, folder / work.name)
        (folder / work.name / file).write_bytes(copy)
        assert same(make(photos, folder), expected)


def test_damage_to_a_finished_store_is_noticed_and_mended(
    photos: PhotoList, damaged: Callable[..., list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    store = make(photos)
    folder = store.pixels.parents[1]
    (pointer,) = folder.glob("*.json")
    make(photos, short=SHORT + 1)
    (other,) = set(folder.glob("*.json")) - {pointer}
    for path in (pointer, store.pixels.with_name(INDEX)):
        content = path.read_bytes()
        edits = [other.read_bytes(), b"", b"[]", b"0", b'{"a": 1}', content.replace(b"empty file", b"empty fool")]
        for copy in [*damaged(content, flips=10, cuts=4), *edits]:
            path.write_bytes(copy)
            assert same(make(photos), store)
        path.unlink()
        assert same(make(photos), store)
    for copy in (b"", store.pixels.read_bytes()[:-1], store.pixels.read_bytes() + b"\0"):
        store.pixels.write_bytes(copy)
        capsys.readouterr()
        assert same(make(photos), store)
        assert "decoded again" in "".join(capsys.readouterr())


# Two at once.


def build_and_tell(photos: PhotoList, folder: Path, decoded: Path, results: Any) -> None:
    def noted(path: Path, short: int) -> np.ndarray:
        with decoded.open("ab", buffering=0) as file:
            file.write(b".")
        time.sleep(0.003)
        return read_photo(path, short)

    store_build.read_photo = noted  # type: ignore[assignment]  # in a process of its own
    results.put(build(photos, SHORT, folder, "drop", progress=False).sha256)


def test_two_processes_that_want_the_same_decode_it_once(photos: PhotoList, tmp_path: Path) -> None:
    results, decoded, folder = FORK.SimpleQueue(), tmp_path / "decoded", tmp_path / "two"
    processes = [FORK.Process(target=build_and_tell, args=(photos, folder, decoded, results)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {results.get(), results.get()} == {make(photos).sha256}
    assert decoded.stat().st_size == 30
