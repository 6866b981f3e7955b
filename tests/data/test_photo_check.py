from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trees import Expected, animal10n_tree, clothing1m_tree, food101n_tree, webvision_tree

from nlkit.data import photo_check, verify, verify_photos
from nlkit.errors import NlkitError

TREES = {
    "webvision": webvision_tree,
    "food101n": food101n_tree,
    "clothing1m": clothing1m_tree,
    "animal10n": animal10n_tree,
}


@pytest.mark.parametrize("name", TREES)
def test_every_image_is_counted_by_part_and_class(tmp_path: Path, name: str) -> None:
    expected: Expected = TREES[name](tmp_path)
    report = verify_photos(name, tmp_path, progress=False)
    assert [part.name for part in report.parts] == ["train", *expected.tests]
    train, *tests = report.parts
    usable = [label for image, label in expected.train.items() if image not in expected.flaws]
    np.testing.assert_array_equal(train.counts, np.bincount(usable, minlength=len(expected.class_names)))
    assert set(train.flaws) == set(expected.flaws) and train.listed == len(expected.train)
    for part in tests:
        labels = list(expected.tests[part.name].values())
        np.testing.assert_array_equal(part.counts, np.bincount(labels, minlength=len(expected.class_names)))
        assert part.flaws == {}
    assert sorted(name for _, name, _ in report.flaws) == sorted(expected.flaws)


def test_the_text_tells_counts_flaws_and_verified_labels(tmp_path: Path) -> None:
    expected = food101n_tree(tmp_path)
    text = verify("food101n", tmp_path)
    lines = text.splitlines()
    assert lines[0] == "food101n: 303 images read, 4 cannot be used"
    assert lines[1] == (
        f"  train: 198 of 202 images can be used; from 1 ({expected.class_names[min(flawed_classes(expected))]}) "
        f"to 2 ({expected.class_names[0]}) in each of 101 classes"
    )
    assert lines[2] == "  test: 101 of 101 images can be used; 1 in each of 101 classes"
    assert lines[3] == "  train 202 of 310009, test 101 of 25250 images listed"
    assert lines[4].startswith("  52 train labels verified, 78.85 % of them right; 1 of these")
    assert lines[5] == "  13 val labels verified, 76.92 % of them right"
    assert all(any(repr(name) in line for line in lines[6:]) for name in expected.flaws)


def flawed_classes(expected: Expected) -> set[int]:
    return {expected.train[name] for name in expected.flaws}


@pytest.mark.parametrize("extra", [0, 1, 5])
def test_the_text_is_short_and_the_table_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: int) -> None:
    clothing1m_tree(tmp_path)
    monkeypatch.setattr(photo_check, "SHOWN", 4)
    for path in sorted((tmp_path / "clothing1m/images/7").rglob("*.jpg"))[:extra]:
        path.unlink()
    report = verify_photos("clothing1m", tmp_path, progress=False)
    assert len(report.flaws) == 4 + extra
    assert sum(" 'images/" in line for line in report.text.splitlines()) == 4
    assert ("and 5 more" in report.text) == (extra == 5) and ("more" in report.text) == (extra > 0)
    header, *rows = csv.reader(io.StringIO(report.table))
    assert header == ["part", "path", "fault"] and [tuple(row) for row in rows] == report.flaws


def test_sound_images_of_the_official_numbers_are_praised(tmp_path: Path, official: Callable[..., None]) -> None:
    animal10n_tree(tmp_path)
    official("animal10n", {"train": 200, "test": 50})
    assert "  train 200, test 50 images listed, the official numbers" in verify("animal10n", tmp_path).splitlines()


def test_lists_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NlkitError, match="webvision is missing"):
        verify_photos("webvision", tmp_path)
    with pytest.raises(NlkitError, match="'imagenet' is unknown; use one of webvision"):
        verify_photos("imagenet", tmp_path)
