from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trees import Expected, Labels, webvision_tree

from nlkit.data import PhotoList
from nlkit.data.webvision import load, needed, read_synsets
from nlkit.errors import NlkitError


def as_labels(photos: PhotoList) -> Labels:
    return dict(zip(photos.names, photos.labels.tolist(), strict=True))


@pytest.fixture
def tree(tmp_path: Path) -> Expected:
    return webvision_tree(tmp_path)


def test_the_first_fifty_classes_are_read_in_the_order_of_the_lists(tmp_path: Path, tree: Expected) -> None:
    photos = load(tmp_path)
    assert list(as_labels(photos.train).items()) == list(tree.train.items())
    assert list(as_labels(photos.tests["test"]).items()) == list(tree.tests["test"].items())
    assert photos.class_names == tree.class_names and len(photos.class_names) == 50
    assert photos.train.root == tmp_path / "webvision" and photos.notes == ()
    assert photos.tests["test"].root == tmp_path / "webvision/val_images_256"


@pytest.mark.parametrize("folders", ["numbers", "synsets"])
@pytest.mark.parametrize("moved", [False, True])
def test_both_ways_to_keep_the_second_test_set(tmp_path: Path, folders: str, moved: bool) -> None:
    expected = webvision_tree(tmp_path, imagenet=folders)  # type: ignore[arg-type]
    if moved:
        shutil.move(tmp_path / "webvision/imagenet", tmp_path / "imagenet")
    found = load(tmp_path).tests
    assert list(found) == ["test", "imagenet"]
    assert as_labels(found["imagenet"]) == expected.tests["imagenet"]
    assert all((found["imagenet"].root / name).is_file() for name in found["imagenet"].names)


def test_without_the_second_test_set_a_note_says_so(tmp_path: Path) -> None:
    webvision_tree(tmp_path, imagenet="none")
    photos = load(tmp_path)
    assert list(photos.tests) == ["test"]
    assert "no test set 'imagenet'" in photos.notes[0] and "image-net.org" in photos.notes[0]


def test_a_second_test_set_without_some_classes_is_refused(tmp_path: Path, tree: Expected) -> None:
    for label in (3, 17):
        shutil.rmtree(tmp_path / f"webvision/imagenet/val/{label}")
    with pytest.raises(NlkitError, match="lacks 2 of 50 class folders: 3, 17"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("google/q0001/x.jpg 1000", "label 1000 is outside 0..999"),
        ("google/q0001/x.jpg tench", "the label is 'tench'"),
        ("google/q0001/x.jpg", "1 columns; expected 2"),
        ("../secret.jpg 3", "leaves the folder"),
        ("/etc/passwd 3", "leaves the folder"),
        ("{first} {other}", "here and"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, tree: Expected, row: str, said: str) -> None:
    path = needed(tmp_path)[0]
    first, label = next(iter(tree.train.items()))
    with path.open("a") as file:
        file.write(row.format(first=first, other=(label + 1) % 50) + "\n")
    with pytest.raises(NlkitError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path}, line 211: ") and said in str(caught.value)


def test_classes_without_images_are_noted(tmp_path: Path, tree: Expected) -> None:
    path = needed(tmp_path)[0]
    path.write_text("".join(f"{name} {label}\n" for name, label in tree.train.items() if label not in (4, 9)))
    assert load(tmp_path).notes == ("2 classes have no training images: creature 4, creature 9",)


def test_a_lost_line_of_the_synsets_is_noticed(tmp_path: Path, tree: Expected) -> None:
    path = needed(tmp_path)[2]
    lines = path.read_text().splitlines()
    for changed, said in (
        (lines[:20] + lines[21:], "999 classes"),
        ([*lines[:20], lines[20] + lines[21], *lines[22:]], "999 classes"),
        ([*lines, lines[5]], "given twice"),
        ([*lines[:20], "tench", *lines[21:]], "line 21"),
    ):
        path.write_text("\n".join(changed))
        with pytest.raises(NlkitError, match=said):
            read_synsets(path)
