from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trees import Expected, clothing1m_tree

from nlkit.data.clothing1m import load
from nlkit.errors import NlkitError


@pytest.fixture
def tree(tmp_path: Path) -> Expected:
    return clothing1m_tree(tmp_path)


def change(tmp_path: Path, name: str, old: str, new: str) -> Path:
    path = tmp_path / "clothing1m" / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return path


def refused(tmp_path: Path) -> str:
    with pytest.raises(NlkitError) as caught:
        load(tmp_path)
    return str(caught.value)


def test_noisy_labels_train_and_clean_ones_test(tmp_path: Path, tree: Expected) -> None:
    photos = load(tmp_path)
    assert photos.train.names == list(tree.train) and photos.train.labels.tolist() == list(tree.train.values())
    for part in ("test", "val"):
        assert photos.tests[part].names == list(tree.tests[part])
        assert photos.tests[part].labels.tolist() == list(tree.tests[part].values())
    assert list(photos.tests) == ["test", "val"] and photos.class_names == tree.class_names and photos.notes == ()


def test_clean_training_images_are_never_used(tmp_path: Path, tree: Expected) -> None:
    clean = set((tmp_path / "clothing1m/clean_train_key_list.txt").read_text().split())
    photos = load(tmp_path)
    named = {name for part in (photos.train, *photos.tests.values()) for name in part.names}
    assert clean and not clean & named
    (tmp_path / "clothing1m/clean_train_key_list.txt").unlink()
    assert load(tmp_path).train.names == photos.train.names


@pytest.mark.parametrize("folder", ["Clothing1M", "clothing1M"])
def test_images_may_lie_beside_the_lists(tmp_path: Path, folder: str) -> None:
    expected = clothing1m_tree(tmp_path, inner="")
    shutil.move(tmp_path / "clothing1m", tmp_path / folder)
    photos = load(tmp_path)
    assert photos.train.names == list(expected.train) and photos.train.names[0].count("/") == 2
    missing = [name for name in photos.train.names if not (photos.train.root / name).is_file()]
    assert missing == [name for name, flaw in expected.flaws.items() if flaw == "missing"]


def test_an_image_without_label_is_named(tmp_path: Path, tree: Expected) -> None:
    name, label = list(tree.train.items())[7]
    change(tmp_path, "noisy_label_kv.txt", f"{name} {label}\n", "")
    assert refused(tmp_path).endswith(f"noisy_train_key_list.txt, line 8: {name!r} has no label in noisy_label_kv.txt")


@pytest.mark.parametrize(
    ("row", "said"), [("{name} 14", "label 14 is outside 0..13"), ("{name} {other}", "here and"), ("x", "1 columns")]
)
def test_a_bad_label_is_named(tmp_path: Path, tree: Expected, row: str, said: str) -> None:
    path = tmp_path / "clothing1m/clean_label_kv.txt"
    name, label = list(tree.tests["val"].items())[2]
    count = len(path.read_text().splitlines())
    with path.open("a") as file:
        file.write(row.format(name=name, other=(label + 1) % 14))
    message = refused(tmp_path)
    assert message.startswith(f"{path}, line {count + 1}: ") and said in message


def test_a_key_that_leaves_the_folder_is_named(tmp_path: Path, tree: Expected) -> None:
    name = list(tree.train)[4]
    path = change(tmp_path, "noisy_train_key_list.txt", name, f"images/../../{name}")
    assert refused(tmp_path).startswith(f"{path}, line 5: ")


def test_keys_that_repeat_count_once(tmp_path: Path, tree: Expected) -> None:
    name = list(tree.train)[4]
    change(tmp_path, "noisy_train_key_list.txt", name, f"{name}\n{name}\n{name}")
    photos = load(tmp_path)
    assert photos.train.names == list(tree.train) and "2 rows repeat" in photos.notes[0]


@pytest.mark.parametrize("name", ["noisy_train_key_list.txt", "clean_val_key_list.txt", "category_names_eng.txt"])
def test_an_empty_list_is_refused(tmp_path: Path, tree: Expected, name: str) -> None:
    (tmp_path / "clothing1m" / name).write_text("\n")
    assert name in refused(tmp_path)
