from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trees import Expected, animal10n_tree, clothing1m_tree, food101n_tree, webvision_tree

from nlkit.data import PHOTO_SOURCES, PhotoSet, load_photos
from nlkit.data.catalog import status_of
from nlkit.data.photo_catalog import missing_files, needed_files, parts_of
from nlkit.errors import NlkitError

TREES: dict[str, Callable[[Path], Expected]] = {
    "webvision": webvision_tree,
    "food101n": food101n_tree,
    "clothing1m": clothing1m_tree,
    "animal10n": animal10n_tree,
}
LISTS = {
    "webvision": ["info/train_filelist_google.txt", "info/val_filelist.txt", "info/synsets.txt"],
    "food101n": ["meta/classes.txt", "meta/imagelist.tsv", "../food-101/meta/test.txt"],
    "clothing1m": [
        "noisy_train_key_list.txt",
        "clean_val_key_list.txt",
        "clean_test_key_list.txt",
        "noisy_label_kv.txt",
        "clean_label_kv.txt",
        "category_names_eng.txt",
    ],
}
FOLDERS = {"webvision": "webvision", "food101n": "food-101n", "clothing1m": "clothing1m"}

names = pytest.mark.parametrize("name", TREES)


@names
def test_the_same_seed_makes_the_same_tree(tmp_path: Path, name: str) -> None:
    first, second = TREES[name](tmp_path / "1"), TREES[name](tmp_path / "2")
    assert first == second

    def content(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert content(tmp_path / "1") == content(tmp_path / "2")


@names
def test_every_set_is_loaded_and_its_numbers_are_noted(
    tmp_path: Path, name: str, official: Callable[..., None]
) -> None:
    expected = TREES[name](tmp_path)
    photos = load_photos(name, tmp_path)
    assert photos.name == name and list(photos.train.names) == list(expected.train)
    assert next(iter(photos.tests)) == "test"
    assert photos.notes[0].startswith(f"train {len(expected.train)} of {PHOTO_SOURCES[name].official['train']}, test ")
    official(name, {part: len(images) for part, images in parts_of(photos).items()})
    assert load_photos(name, tmp_path).notes == ()


@names
def test_status_follows_lists_and_files(tmp_path: Path, name: str, official: Callable[..., None]) -> None:
    row = status_of(name, tmp_path)
    assert row.state == "missing" and row.where.startswith(str(tmp_path)) and row.note == PHOTO_SOURCES[name].owner
    expected = TREES[name](tmp_path)
    photos = load_photos(name, tmp_path)
    assert status_of(name, tmp_path).state == "incomplete" and "images listed" in status_of(name, tmp_path).note
    official(name, {part: len(images) for part, images in parts_of(photos).items()})
    for image in expected.flaws:
        (photos.train.root / image).write_bytes(b"something")
    row = status_of(name, tmp_path)
    assert row.state == "present" and row.note.endswith("files looked at, all there") and "official" in row.note
    for image in expected.train:
        (photos.train.root / image).write_bytes(b"")
    assert status_of(name, tmp_path).state == "incomplete" and "missing or empty" in status_of(name, tmp_path).note


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_missing_or_damaged_is_said_to_be(tmp_path: Path, name: str) -> None:
    TREES[name](tmp_path)
    path = tmp_path / FOLDERS[name] / LISTS[name][0]
    path.write_bytes(b"\xff")
    assert status_of(name, tmp_path).state == "corrupt" and "not UTF-8" in status_of(name, tmp_path).note
    path.unlink()
    row = status_of(name, tmp_path)
    assert row.state == "incomplete" and row.note == f"lacks {FOLDERS[name]}/{LISTS[name][0]}"
    with pytest.raises(NlkitError, match=f"{name} is missing: .* lacks {FOLDERS[name]}/{LISTS[name][0]}; "):
        load_photos(name, tmp_path)


@names
def test_what_is_needed_is_missing_where_nothing_is(tmp_path: Path, name: str) -> None:
    assert missing_files(name, tmp_path) == needed_files(name, tmp_path) != []
    TREES[name](tmp_path)
    assert missing_files(name, tmp_path) == []


def damaged_lists(folder: Path, files: list[str], count: int) -> Iterator[Path]:
    """Damage the lists, one after the other and each many times: a byte flipped, two exchanged, cut short."""
    rng = random.Random(5)
    for file in files:
        path = folder / file
        whole = path.read_bytes()
        for turn in range(count):
            copy, place = bytearray(whole), rng.randrange(len(whole))
            if turn % 3 == 0:
                copy[place] ^= rng.randrange(1, 256)
            elif turn % 3 == 1:
                copy[place] = rng.choice(b"\n\t /.:\\\0 0123456789\xff")
            else:
                copy = copy[:place]
            path.write_bytes(copy)
            yield path
        path.write_bytes(whole)


@pytest.mark.parametrize("name", LISTS)
def test_damaged_lists_are_refused_or_change_at_most_what_was_hit(tmp_path: Path, name: str) -> None:
    """Where a damaged list is still a list, no image that it names has another's label, and a lost row is noted."""
    TREES[name](tmp_path)
    whole = load_photos(name, tmp_path)
    refused = 0
    for path in damaged_lists(tmp_path / FOLDERS[name], LISTS[name], 40):
        try:
            found = load_photos(name, tmp_path)
        except NlkitError as error:
            assert path.name in str(error) and "\n" not in str(error)
            refused += 1
            continue
        check_alike(found, whole)
    assert refused > 20 * len(LISTS[name])


def check_alike(found: PhotoSet, whole: PhotoSet) -> None:
    assert list(parts_of(found)) == list(parts_of(whole)) and len(found.class_names) == len(whole.class_names)
    others = 0
    for part, images in parts_of(found).items():
        before = parts_of(whole)[part]
        labels = dict(zip(before.names, before.labels.tolist(), strict=True))
        assert images.labels.min() >= 0 and images.labels.max() < len(whole.class_names)
        assert all(not image.startswith("/") and ".." not in image.split("/") for image in images.names)
        others += sum(
            labels.get(image, label) != label for image, label in zip(images.names, images.labels.tolist(), strict=True)
        )
        if len(images) != len(before):
            assert f"{part} {len(images)} of " in found.notes[0]
    assert others <= 1  # a digit of one label may have become another
