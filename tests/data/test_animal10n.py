from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trees import animal10n_tree

from nlkit.data.animal10n import load
from nlkit.errors import NlkitError


@pytest.mark.parametrize("folder", ["animal10n", "raw_image"])
def test_labels_are_read_from_sorted_names(tmp_path: Path, folder: str) -> None:
    expected = animal10n_tree(tmp_path)
    shutil.move(tmp_path / "animal10n", tmp_path / folder)
    photos = load(tmp_path)
    assert photos.train.names == list(expected.train) and photos.train.labels.tolist() == list(expected.train.values())
    test = photos.tests["test"]
    assert test.names == list(expected.tests["test"]) and test.labels.tolist() == list(expected.tests["test"].values())
    assert photos.class_names == expected.class_names and photos.notes == ()


@pytest.mark.parametrize("name", ["10_3.jpg", "x_3.jpg", "_3.jpg", "3.jpg", "-1_3.jpg", "٣_3.jpg"])
def test_a_name_without_label_is_refused(tmp_path: Path, name: str) -> None:
    animal10n_tree(tmp_path)
    (tmp_path / "animal10n/training" / name).touch()
    with pytest.raises(NlkitError, match=r"training: the image '.*' begins with no label; expected 0_ to 9_"):
        load(tmp_path)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "animal10n/training").mkdir(parents=True)
    with pytest.raises(NlkitError, match="training: names no images"):
        load(tmp_path)
    (tmp_path / "animal10n/training/3_1.jpg").touch()
    with pytest.raises(NlkitError, match="testing: cannot read the folder"):
        load(tmp_path)
