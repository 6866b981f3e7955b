from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import FLAWS, clothing1m_tree, webvision_tree

from nlkit.data import PhotoList, load_photos, photo_files
from nlkit.data.photo_files import find_flaws, photo_path, sample_files
from nlkit.errors import NlkitError


@pytest.fixture
def photos(tmp_path: Path) -> PhotoList:
    """Five small images in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [f"{i}.png" for i in range(5)]
    for i, name in enumerate(names):
        Image.fromarray(np.full((4 + i, 9, 3), 40 * i, np.uint8)).save(folder / name)
    return PhotoList(folder, names, np.zeros(5, np.int64))


def test_a_path_lies_in_the_folder_and_follows_links_that_stay_there(tmp_path: Path, photos: PhotoList) -> None:
    assert photo_path(photos, 2) == photos.root / "2.png"
    (photos.root / "1.png").unlink()
    (photos.root / "1.png").symlink_to(photos.root / "3.png")
    assert photo_path(photos, 1) == photos.root / "3.png"
    (tmp_path / "link").symlink_to(photos.root)
    assert photo_path(PhotoList(tmp_path / "link", photos.names, photos.labels), 2) == photos.root / "2.png"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path, photos: PhotoList, what: str) -> None:
    (tmp_path / "outside").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside/secret.png")
    target = tmp_path / "outside/secret.png" if what == "file" else tmp_path / "outside"
    (photos.root / "link").symlink_to(target)
    name = "link" if what == "file" else "link/secret.png"
    linked = PhotoList(photos.root, [*photos.names, name], np.zeros(6, np.int64))
    with pytest.raises(NlkitError, match="link that leaves the folder"):
        photo_path(linked, 5)
    assert find_flaws(linked, "test", progress=False) == {5: "a link that leaves the folder"}
    assert sample_files({"train": linked}).lacking == (name,)


@pytest.mark.parametrize("block", [1, 3, 64])
def test_flaws_are_found_by_place_whatever_the_size_of_a_block(
    photos: PhotoList, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(photo_files, "_BLOCK", block)
    (photos.root / "0.png").write_bytes(b"")
    (photos.root / "3.png").unlink()
    (photos.root / "4.png").write_bytes((photos.root / "4.png").read_bytes()[:-30])
    flaws = find_flaws(photos, "test", progress=False)
    assert sorted(flaws) == [0, 3, 4] and (flaws[0], flaws[3]) == ("empty file", "no such file")
    assert flaws[4].startswith("damaged")


def test_odd_names_are_flaws_not_errors(photos: PhotoList) -> None:
    (photos.root / "loop.png").symlink_to(photos.root / "loop.png")
    names = ["loop.png", "x" * 3000, ".", "0.png/x.png"]
    flaws = find_flaws(PhotoList(photos.root, names, np.zeros(4, np.int64)), "test", progress=False)
    assert sorted(flaws) == [0, 1, 2, 3]
    assert sample_files({"train": PhotoList(photos.root, names, np.zeros(4, np.int64))}).lacking == tuple(names)


def test_only_what_is_broken_is_a_flaw(tmp_path: Path) -> None:
    """Grey, CMYK and turned images, and a PNG called .jpg, can be used."""
    expected = webvision_tree(tmp_path)
    train = load_photos("webvision", tmp_path).train
    flaws = {train.names[i]: why for i, why in find_flaws(train, "test", progress=False).items()}
    assert set(flaws) == set(expected.flaws) and set(expected.flaws.values()) == set(FLAWS)
    assert all(flaws[name].startswith(FLAWS[flaw]) for name, flaw in expected.flaws.items())
    assert {"grey", "cmyk", "rotated", "png"} == set(expected.kinds.values())


def test_an_error_stops_the_search_and_leaves_the_rest_alone(
    photos: PhotoList, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def interrupted(_photos: PhotoList, block: range) -> dict[int, str]:
        calls.append(block.start)
        raise KeyboardInterrupt

    monkeypatch.setattr(photo_files, "_BLOCK", 1)
    monkeypatch.setattr(photo_files, "_block_flaws", interrupted)
    many = PhotoList(photos.root, photos.names * 1000, np.zeros(5000, np.int64))
    with pytest.raises(KeyboardInterrupt):
        find_flaws(many, "test", progress=False)
    assert len(calls) < 5000


@pytest.mark.parametrize("most", [1, 20, 200])
def test_a_sample_takes_about_as_many_as_asked_for_and_some_of_each_part(tmp_path: Path, most: int) -> None:
    clothing1m_tree(tmp_path)
    photos = load_photos("clothing1m", tmp_path)
    parts = {"train": photos.train, **photos.tests}
    for part in parts.values():
        for name in part.names:
            (part.root / name).unlink(missing_ok=True)
    sampled = sample_files(parts, most)
    assert sampled.count == len(set(sampled.lacking)) and abs(sampled.count - most) <= len(parts)
    assert all(set(sampled.lacking) & set(part.names) for part in parts.values())


def test_a_sample_of_everything_finds_what_is_missing_or_empty(tmp_path: Path) -> None:
    expected = clothing1m_tree(tmp_path)
    photos = load_photos("clothing1m", tmp_path)
    lacking = sample_files({"train": photos.train}, 10_000).lacking
    assert set(lacking) == {name for name, flaw in expected.flaws.items() if flaw in ("missing", "zero")}
