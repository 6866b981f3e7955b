from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trees import Expected, food101n_tree

from nlkit.data.food101n import Verified, load, needed, verified
from nlkit.errors import NlkitError


@pytest.fixture
def tree(tmp_path: Path) -> Expected:
    return food101n_tree(tmp_path)


def test_labels_are_the_classes_of_the_folders_in_the_order_of_the_list(tmp_path: Path, tree: Expected) -> None:
    photos = load(tmp_path)
    assert photos.train.names == list(tree.train) and photos.train.labels.tolist() == list(tree.train.values())
    test = photos.tests["test"]
    assert test.names == list(tree.tests["test"]) and test.labels.tolist() == list(tree.tests["test"].values())
    assert photos.class_names == tree.class_names
    assert all((test.root / name).is_file() for name in test.names)
    assert sum(not (photos.train.root / name).is_file() for name in photos.train.names) == 1


def test_the_name_of_the_unpacked_archive_will_do_and_so_will_classes_without_header(
    tmp_path: Path, tree: Expected
) -> None:
    shutil.move(tmp_path / "food-101n", tmp_path / "Food-101N_release")
    classes = needed(tmp_path)[0]
    assert classes == tmp_path / "Food-101N_release/meta/classes.txt"
    classes.write_text("\n".join(tree.class_names))
    assert load(tmp_path).train.labels.tolist() == list(tree.train.values())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("soup_of_stones/x.jpg", "the class 'soup_of_stones' is not among the 101"),
        ("dish_001/a/x.jpg", "expected CLASS/IMAGE"),
        ("dish_001", "expected CLASS/IMAGE"),
        ("dish_001/", "expected CLASS/IMAGE"),
        ("dish_001/..", "leaves the folder"),
        ("dish_001/x.jpg\t1", "2 columns; expected 1"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, tree: Expected, row: str, said: str) -> None:
    path = needed(tmp_path)[1]
    with path.open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(NlkitError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path}, line 204: ") and said in str(caught.value)


def test_a_list_without_header_is_refused(tmp_path: Path, tree: Expected) -> None:
    path = needed(tmp_path)[1]
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    with pytest.raises(NlkitError, match=r"line 1: the header begins with 'dish_000.*expected 'class_name/key'"):
        load(tmp_path)


@pytest.mark.parametrize("names", [101 * ["soup"], ["class_name", *(f"dish_{i:03d}" for i in range(100))]])
def test_other_than_101_classes_are_refused(tmp_path: Path, tree: Expected, names: list[str]) -> None:
    needed(tmp_path)[0].write_text("\n".join(names))
    with pytest.raises(NlkitError, match=r"classes\.txt.*(twice|100 classes)"):
        load(tmp_path)


def test_verified_labels_are_counted(tmp_path: Path, tree: Expected) -> None:
    train, val = list(tree.train)[::4], list(tree.train)[1::16]
    found = verified(tmp_path, set(tree.train))
    wrong = len(range(0, len(train), 5)), len(range(0, len(val), 5))
    assert found["train"] == Verified(len(train) + 1, len(train) + 1 - wrong[0], unlisted=1)
    assert found["val"] == Verified(len(val), len(val) - wrong[1], unlisted=0)
    path = tmp_path / "food-101n/meta/verified_val.tsv"
    path.write_text(path.read_text() + "dish_000/x.jpg\tyes\n")
    with pytest.raises(NlkitError, match=f"line {len(val) + 2}: the verification is 'yes'; expected 0 or 1"):
        verified(tmp_path, set(tree.train))
    path.unlink()
    assert list(verified(tmp_path, set(tree.train))) == ["train"]
