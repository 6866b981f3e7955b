"""One's own images: what a table or a tree says of them, and the parts that are made of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from fuzzing import refused
from pictures import photographs, save
from PIL import Image

from nlkit.data.folder import FolderData, class_names, load_folder
from nlkit.data.listing import Entry, read_listing
from nlkit.params.sections import FolderDataParams

(PICTURE,) = photographs(1)
Rows = Sequence[tuple[str, ...]]
GOOD = [(f"{i}.png", "ab"[i % 2]) for i in range(12)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve coloured images of different shapes in a folder of their own."""
    for i, image in enumerate(photographs(12)):
        save(tmp_path / "images" / f"{i}.png", image)
    return tmp_path / "images"


def table(folder: Path, rows: Rows, name: str = "labels.csv", header: str = "path,label") -> Path:
    path = folder.parent / name
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def load(folder: Path, rows: Rows = GOOD, header: str = "path,label", **options: Any) -> FolderData:
    labels = str(table(folder, rows, header=header))
    return load_folder(FolderDataParams(name="folder", folder=str(folder), labels=labels, side=16, **options))


def pairs(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.name, entry.label) for entry in entries]


def test_a_table_gives_images_labels_and_names_in_its_order_from_columns_in_any_order(folder: Path) -> None:
    found = load(folder, GOOD[::-1])
    assert found.train.images.shape == (12, 16, 16, 3) and found.train.images.dtype == np.uint8
    assert found.train.names == tuple(f"{i}.png" for i in range(12))[::-1]
    assert found.train.labels.tolist() == [1, 0] * 6 and found.class_names == ("a", "b")
    assert (found.test, found.train.truth, found.dropped, found.notes) == (None, None, (), ())
    refused(lambda: load(folder, [*GOOD[:0:-1], ("0.png", "b")], sha256=found.sha256), "have changed")
    path = folder.parent / "l.csv"
    path.write_text("\ufeff who , label,path\r\nme,a,0.png\r\n\r\nme, b ,1.png\r\n", encoding="utf-8")
    assert pairs(read_listing(folder, path)[0]) == [("0.png", "a"), ("1.png", "b")]


@pytest.mark.parametrize("name", ["link", "up/secret.png", "../outside/secret.png"])
def test_a_path_or_a_link_that_leaves_the_folder_is_refused_by_line(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    save(outside / "secret.png", PICTURE)
    (folder / "link").symlink_to(outside / "secret.png")
    (folder / "up").symlink_to(outside)
    message = refused(lambda: read_listing(folder, table(folder, [*GOOD, (name, "a")])))
    assert "labels.csv, line 14" in message and "leaves the folder" in message
    save(folder / "a" / "x.png", PICTURE)
    (folder / "a" / "y.png").symlink_to(outside / "secret.png")
    assert "link that leaves" in refused(lambda: read_listing(folder, None))


def test_repeated_rows_and_links_to_an_image_count_once_and_contradicting_ones_are_refused(folder: Path) -> None:
    (folder / "same.png").symlink_to(folder / "0.png")
    twice = [*GOOD, ("0.png", "a"), ("./1.png", "b"), ("same.png", "a")]
    entries, notes = read_listing(folder, table(folder, twice))
    assert len(entries) == 12 and "3 entries repeat" in notes[0]
    message = refused(lambda: read_listing(folder, table(folder, [*GOOD, ("0.png", "b")])))
    assert "'0.png' is labelled 'b' here and 'a' as '0.png'" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected the columns path,label"), (b"file,label\n0.png,a\n", "expected the columns path,label"),
        (b"path,label\n", "no images"), (b"path,label\n0.png,a,b\n", "line 2: 3 cells"),
        (b"path,label\n0.png,\n", "has no label"), (b"path,label\n\xff\xfe,a\n", "UTF-8"),
        (b'path,label\n"' + b"x" * 200_000 + b'",a\n', "not CSV"),
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(folder: Path, content: bytes, said: str) -> None:
    path = folder.parent / "labels.csv"
    path.write_bytes(content)
    message = refused(lambda: read_listing(folder, path))
    assert said in message and str(path) in message


def test_a_folder_or_a_table_that_is_not_there_is_refused(folder: Path) -> None:
    assert "not a folder" in refused(lambda: read_listing(folder / "0.png", None))
    for name in ("none", "x" * 300, "nul\0"):
        assert "no such folder" in refused(lambda name=name: read_listing(folder / name, None))  # type: ignore[misc]
    assert "no such file" in refused(lambda: read_listing(folder, folder / "none.csv"))


def test_a_tree_has_labels_on_its_first_level_and_tells_the_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("katze/1.PNG", "katze/deep/2.png", "犬/3.png", "犬/.hidden.png", ".git/4.png"):
        save(folder / name, PICTURE)
    for name in ("odd", "none"):
        (folder / name).mkdir()
    for name in ("odd/x.jp2", "katze/y.JP2", "katze/none", "katze/.hidden.jp2", "犬/notes.txt"):
        (folder / name).write_bytes(b"JP")
    (folder / "c").symlink_to(folder / "katze")
    entries, notes = read_listing(folder, None)
    assert pairs(entries) == [("katze/1.PNG", "katze"), ("katze/deep/2.png", "katze"), ("犬/3.png", "犬")]
    expected = ["12 images lie beside the class folders", "c: is a link to a folder", "2 folders hold no images"]
    expected.append("4 files with other endings, ['', '.jp2', '.txt'], are passed over")
    assert len(notes) == 4 and all(any(one in note for note in notes) for one in expected)
    (folder / "犬/same.png").symlink_to(folder / "katze/1.PNG")
    assert "is labelled '犬' here and 'katze' as 'katze/1.PNG'" in refused(lambda: read_listing(folder, None))
    monkeypatch.setattr("os.scandir", Mock(side_effect=PermissionError(13, "Permission denied", "images/b")))
    assert "images/b: cannot read the folder (Permission denied)" in refused(lambda: read_listing(folder, None))


def test_a_held_out_part_has_its_share_of_each_class_and_is_the_same_again(folder: Path) -> None:
    rows = [(f"{i}.png", "a" if i < 6 else "b" if i < 11 else "only one") for i in range(12)]
    found = load(folder, rows, hold_out=0.34)
    assert found.test is not None
    assert np.bincount(found.test.labels).tolist() == [2, 2] and np.bincount(found.train.labels).tolist() == [4, 3, 1]
    assert sorted([*found.train.names, *found.test.names]) == sorted(name for name, _ in rows)
    assert load(folder, rows, hold_out=0.34).sha256 == found.sha256
    assert load(folder, rows, hold_out=0.34, split_seed=1).train.names != found.train.names


def test_images_of_the_test_table_are_not_trained_on_and_an_unseen_label_is_refused_by_line(folder: Path) -> None:
    found = load(folder, test=str(table(folder, [("0.png", "b"), ("1.png", "b")], "test.csv")))
    assert found.test is not None and found.test.labels.tolist() == [1, 1]
    assert found.train.names == tuple(f"{i}.png" for i in range(2, 12)) and "2 images are held out" in found.notes[0]
    test = table(folder, [("0.png", "b"), ("1.png", "zebra")], "test.csv")
    message = refused(lambda: load(folder, test=str(test)))
    assert "test.csv, line 3" in message and "'zebra'" in message and "not among the training labels" in message


def test_the_column_of_correct_labels_is_kept_apart(folder: Path) -> None:
    found = load(folder, [(*row, "a") for row in GOOD], header="path,label,really", truth="really")
    assert found.train.truth is not None and found.train.truth.tolist() == [0] * 12
    assert found.train.labels.tolist() == [0, 1] * 6
    labels = table(folder, [("0.png", "a", "")], header="path,label,really")
    said = refused(lambda: read_listing(folder, labels, "really"))
    assert "line 2: '0.png' has no label in the column 'really'" in said


def test_what_no_method_can_learn_is_refused(folder: Path) -> None:
    for rows, said in [
        (GOOD[:3], "3 usable images; at least 10"),
        ([(name, "a") for name, _ in GOOD], "all 12 images have the label 'a'"),
        ([(name, name) for name, _ in GOOD], "12 different labels for 12 images"),
    ]:
        assert said in refused(lambda rows=rows: load(folder, rows))  # type: ignore[misc]


def test_copies_of_an_image_and_16_bits_of_which_12_are_used_are_told(folder: Path) -> None:
    save(folder / "1.png", Image.open(folder / "0.png"), compress_level=0)
    save(folder / "2.png", Image.open(folder / "4.png"))
    said = "2 images are exact copies of others, 1 under another label, first '1.png' and '0.png'"
    assert load(folder).notes == (said,)
    for name, _ in GOOD:
        save(folder / name, np.random.default_rng(int(name[:-4])).integers(0, 4096, (20, 20)).astype(np.uint16))
    (note,) = load(folder).notes
    assert "no pixel is above 1" in note and "of 255" in note


def test_classes_are_in_the_order_of_their_numbers_or_of_the_alphabet() -> None:
    assert class_names(["10", "9", "2", "9"]) == ("2", "9", "10")
    assert class_names(["b", "10", "9"]) == ("10", "9", "b")
