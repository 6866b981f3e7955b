"""Sets of photographs in their official layouts: lists, labels, numbers, and what cannot be used."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fuzzing import refused
from trees import FLAWS, TREES, clothing1m_tree, food101n_tree, webvision_tree

from nlkit.data import Status, sources, status_of
from nlkit.data.photos import PhotoList, catalog, folder_images, read_names, read_numbered, read_rows
from nlkit.data.photos.catalog import load_photos, sample_files, verify_photos
from nlkit.data.photos.decode import find_faults, read_rgb
from nlkit.data.photos.layouts import LAYOUTS

sets = pytest.mark.parametrize("name", TREES)


def state(name: str, root: Path) -> Status:
    return status_of(name, sources()[name], root)


def labels_of(photos: PhotoList) -> list[tuple[str, int]]:
    return list(zip(photos.names, photos.labels.tolist(), strict=True))


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_keep_their_place_and_lose_white_space_and_marks_and_other_lines_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff a 1\r\n\n\t b\u00e9 2 \n  \nc 3")
    expected = [("line 1", "a", 1), ("line 3", "b\u00e9", 2), ("line 5", "c", 3)]
    assert list(read_numbered(path, 4)) == [(f"{path}, {line}", name, label) for line, name, label in expected]
    assert list(read_rows(written(tmp_path, "a b\tc d\n"), ("X", "Y"), "\t")) == [(f"{path}, line 1", ["a b", "c d"])]
    for content in ("class\na b\nc", "a b\nc"):
        assert read_names(written(tmp_path, content), 2, header="class") == ("a b", "c")

    def said(content: bytes | str) -> str:
        return refused(lambda: list(read_numbered(written(tmp_path, content), 14)))

    for row in ("a", "a b c"):
        assert "list.txt, line 2: " in said(f"x 1\n{row}\n") and "expected 2: IMAGE LABEL" in said(f"x 1\n{row}\n")
    for label in ("14", "-1", "1.0", "1e1", "x", "٣", "²", "9" * 4000):
        assert "list.txt, line 1: the label is " in said(f"a {label}") and "expected 0 to 13" in said(f"a {label}")
    assert "line 2: not UTF-8" in said(b"a 1\nb\xff 2\n")
    assert "3 lines, 2 different; expected 3" in refused(lambda: read_names(written(tmp_path, "a\na\nb"), 3))


def test_a_folder_tells_its_images_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.jpg", ".hidden.jpg", "readme.txt", "c.png"):
        (tmp_path / name).touch()
    assert folder_images(tmp_path) == ["a.jpg", "b.JPEG", "c.png"]
    assert "nothing" in refused(lambda: folder_images(tmp_path / "nothing"))
    (tmp_path / "\udcff.jpg").touch()
    assert "not UTF-8" in refused(lambda: folder_images(tmp_path))


@sets
def test_lists_are_read_from_any_usual_folder(tmp_path: Path, name: str, official: Callable[..., None]) -> None:
    expected = TREES[name](tmp_path)
    photos = load_photos(name, tmp_path)
    found = {part: labels_of(images) for part, images in photos.parts.items()}
    assert found == {"train": [*expected.train.items()], **{p: [*part.items()] for p, part in expected.tests.items()}}
    assert list(photos.parts)[:2] == ["train", "test"] and photos.class_names == expected.class_names
    missing = {image for image in photos.train.names if not (photos.train.root / image).is_file()}
    assert missing == {image for image, flaw in expected.flaws.items() if flaw == "missing"}
    assert photos.notes[0].startswith(f"train {len(expected.train)} of {LAYOUTS[name].official['train']}, test ")
    official(name, {part: len(images) for part, images in photos.parts.items()})
    assert load_photos(name, tmp_path).notes == ()
    for before, other in pairwise(LAYOUTS[name].folders):
        shutil.move(tmp_path / before, tmp_path / other)
        found = load_photos(name, tmp_path)
        assert labels_of(found.train) == labels_of(photos.train) and other in str(found.train.root)


@sets
def test_status_follows_lists_and_files(tmp_path: Path, name: str, official: Callable[..., None]) -> None:
    row = state(name, tmp_path)
    assert row.state == "missing" and row.where.startswith(str(tmp_path)) and row.note == LAYOUTS[name].owner
    expected = TREES[name](tmp_path)
    photos = load_photos(name, tmp_path)
    assert state(name, tmp_path).state == "incomplete" and "images listed" in state(name, tmp_path).note
    official(name, {part: len(images) for part, images in photos.parts.items()})
    for image in expected.flaws:
        (photos.train.root / image).write_bytes(b"something")
    row = state(name, tmp_path)
    assert row.state == "present" and row.note.endswith("files looked at, all there") and "official" in row.note
    for image in expected.train:
        (photos.train.root / image).write_bytes(b"")
    assert state(name, tmp_path).state == "incomplete" and "missing or empty" in state(name, tmp_path).note


@pytest.mark.parametrize("name", [name for name in TREES if name != "animal10n"])
def test_each_list_that_is_missing_damaged_or_empty_is_said_to_be(tmp_path: Path, name: str) -> None:
    TREES[name](tmp_path)
    for path in LAYOUTS[name].needed(tmp_path):
        whole = path.read_bytes()
        for content, said in ((b"\xff", "not UTF-8"), (b"\n", path.name)):
            path.write_bytes(content)
            assert state(name, tmp_path).state == "corrupt" and said in state(name, tmp_path).note
        path.unlink()
        row = state(name, tmp_path)
        assert row.state == "incomplete" and row.note == f"lacks {path.relative_to(tmp_path)}"
        said = refused(lambda: load_photos(name, tmp_path))
        assert said.startswith(f"{name} is missing: {tmp_path} {row.note}; {sources()[name].origin}, or name")
        assert said.endswith("--data DIR or NLKIT_DATA")
        path.write_bytes(whole)


@sets
def test_every_image_is_counted_and_only_what_is_broken_is_a_flaw(tmp_path: Path, name: str) -> None:
    """Grey, CMYK and turned images, and a PNG called .jpg, can be used."""
    expected = TREES[name](tmp_path)
    flaws, report = verify_photos(name, tmp_path, progress=False)
    usable = {"train": len(expected.train) - len(expected.flaws)} | {p: len(one) for p, one in expected.tests.items()}
    for line, (part, count) in zip(report.splitlines()[1:], usable.items(), strict=False):
        assert line.startswith(f"  {part}: {count} of ")
    assert set(zip(flaws["part"], flaws["path"], strict=True)) == {("train", image) for image in expected.flaws}
    assert all(row.fault.startswith(FLAWS[expected.flaws[row.path]]) for row in flaws.itertuples())


ROWS = [
    ("webvision", 0, "google/q0001/x.jpg 1000", "expected 0 to 999"),
    ("webvision", 0, "../secret.jpg 3", "leaves the folder"),
    ("webvision", 0, "{first} {other}", "here and"),
    ("food101n", 1, "soup_of_stones/x.jpg", "the class 'soup_of_stones' is not among those of classes.txt"),
    ("food101n", 1, "dish_001/a/x.jpg", "expected CLASS/IMAGE"),
    ("food101n", 1, "dish_001/x.jpg\t1", "2 columns; expected 1"),
    ("clothing1m", 0, "images/0/x.jpg", "'images/0/x.jpg' has no label in noisy_label_kv.txt"),
    ("clothing1m", 3, "{first} {other}", "here and"),
]


@pytest.mark.parametrize(("name", "place", "row", "said"), ROWS)
def test_a_bad_row_is_named(tmp_path: Path, name: str, place: int, row: str, said: str) -> None:
    expected = TREES[name](tmp_path)
    path = LAYOUTS[name].needed(tmp_path)[place]
    first, label = next(iter(expected.train.items()))
    count = len(path.read_text().splitlines())
    with path.open("a") as file:
        file.write(row.format(first=first, other=(label + 1) % 14) + "\n")
    message = refused(lambda: load_photos(name, tmp_path))
    assert message.startswith(f"{path}, line {count + 1}: ") and said in message


@pytest.mark.parametrize("folders", ["numbers", "synsets"])
@pytest.mark.parametrize("moved", [False, True])
def test_webvision_both_ways_to_keep_the_second_test_set(tmp_path: Path, folders: str, moved: bool) -> None:
    expected = webvision_tree(tmp_path, imagenet=folders)  # type: ignore[arg-type]
    if moved:
        shutil.move(tmp_path / "webvision/imagenet", tmp_path / "imagenet")
    found = load_photos("webvision", tmp_path).tests["imagenet"]
    assert labels_of(found) == list(expected.tests["imagenet"].items())
    assert all((found.root / name).is_file() for name in found.names)
    shutil.rmtree(found.root / found.names[0].split("/")[0])
    assert "lacks 1 of 50 class folders" in refused(lambda: load_photos("webvision", tmp_path))


def test_webvision_without_the_second_test_set_and_without_some_classes(tmp_path: Path) -> None:
    tree = webvision_tree(tmp_path, imagenet="none")
    path = LAYOUTS["webvision"].needed(tmp_path)[0]
    path.write_text("".join(f"{name} {label}\n" for name, label in tree.train.items() if label not in (4, 9)))
    photos = load_photos("webvision", tmp_path)
    assert list(photos.tests) == ["test"]
    assert "no test set 'imagenet'" in photos.notes[1] and "image-net.org" in photos.notes[1]
    assert photos.notes[2] == "2 classes have no training images: creature 4, creature 9"


def test_webvision_a_lost_line_of_the_synsets_is_noticed(tmp_path: Path) -> None:
    webvision_tree(tmp_path)
    path = LAYOUTS["webvision"].needed(tmp_path)[2]
    lines = path.read_text().splitlines()
    for changed, said in (
        (lines[:20] + lines[21:], "999 classes"),
        ([*lines[:20], lines[20] + lines[21], *lines[22:]], "999 classes"),
        ([*lines, lines[5]], "line 1001: 'n01440949 creature 5"),
        ([*lines[:20], "tench", *lines[21:]], "line 21: 'tench'"),
    ):
        path.write_text("\n".join(changed))
        assert said in refused(lambda: load_photos("webvision", tmp_path))


def test_food101n_classes_may_lack_a_header_and_the_list_may_not(tmp_path: Path) -> None:
    tree = food101n_tree(tmp_path)
    classes, images, _ = LAYOUTS["food101n"].needed(tmp_path)
    classes.write_text("\n".join(tree.class_names))
    assert labels_of(load_photos("food101n", tmp_path).train) == list(tree.train.items())
    for names in (101 * ["soup"], ["class_name", *tree.class_names[:100]]):
        classes.write_text("\n".join(names))
        assert "expected 101 classes" in refused(lambda: load_photos("food101n", tmp_path))
    classes.write_text("\n".join(tree.class_names))
    images.write_text("\n".join(images.read_text().splitlines()[1:]))
    assert "line 1: the header is 'dish_000" in refused(lambda: load_photos("food101n", tmp_path))


def test_the_report_tells_counts_flaws_and_verified_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = food101n_tree(tmp_path)
    lines = verify_photos("food101n", tmp_path, progress=False)[1].splitlines()
    flawed = min(tree.train[name] for name in tree.flaws)
    assert lines[:4] == [
        "food101n: 303 images read, 4 cannot be used",
        f"  train: 198 of 202 images can be used; from 1 ({tree.class_names[flawed]}) to 2 ({tree.class_names[0]}) "
        "in each of 101 classes",
        "  test: 101 of 101 images can be used; 1 in each of 101 classes",
        "  train 202 of 310009, test 101 of 25250 images listed",
    ]
    assert lines[4] == "  52 train labels verified, 78.85 % of them right; 1 of these images are not listed"
    assert lines[5] == "  13 val labels verified, 76.92 % of them right"
    assert len(lines) == 10 and all(any(repr(name) in line for line in lines[6:]) for name in tree.flaws)
    monkeypatch.setattr(catalog, "SHOWN", 3)
    flaws, report = verify_photos("food101n", tmp_path, progress=False)
    assert "and 1 more" in report and report.splitlines()[6:9] == lines[6:9] and len(flaws) == 4
    path = tmp_path / "food-101n/meta/verified_val.tsv"
    path.write_text(path.read_text() + "dish_000/x.jpg\tyes\n")
    assert "line 15: the verification is 'yes'" in refused(lambda: verify_photos("food101n", tmp_path, False))


@pytest.mark.parametrize("inner", ["images/", ""])
def test_clothing1m_clean_training_images_are_not_used_and_all_may_lie_by_the_lists(tmp_path: Path, inner: str) -> None:
    expected = clothing1m_tree(tmp_path, inner=inner)
    clean = tmp_path / "clothing1m/clean_train_key_list.txt"
    unused = {key.replace("images/", inner) for key in clean.read_text().split()}
    clean.unlink()
    photos = load_photos("clothing1m", tmp_path)
    assert labels_of(photos.train) == list(expected.train.items())
    assert unused and not unused & {name for part in photos.parts.values() for name in part.names}


def test_clothing1m_keys_that_repeat_count_once(tmp_path: Path) -> None:
    expected = clothing1m_tree(tmp_path)
    keys = tmp_path / "clothing1m/noisy_train_key_list.txt"
    keys.write_text(keys.read_text() + "\n".join(list(expected.train)[4:6]))
    photos = load_photos("clothing1m", tmp_path)
    assert photos.train.names == list(expected.train) and "2 rows repeat" in photos.notes[1]


@pytest.mark.parametrize("name", ["10_3.jpg", "x_3.jpg", "_3.jpg", "3.jpg", "-1_3.jpg", "٣_3.jpg"])
def test_animal10n_a_name_without_label_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "animal10n/training").mkdir(parents=True)
    (tmp_path / "animal10n/testing").mkdir()
    assert "training: names no images" in refused(lambda: load_photos("animal10n", tmp_path))
    (tmp_path / "animal10n/training" / name).touch()
    assert "begins with no label; expected 0_ to 9_" in refused(lambda: load_photos("animal10n", tmp_path))


def test_odd_names_and_links_that_leave_the_folder_are_flaws_not_errors(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    for name, target in (("loop.png", "loop.png"), ("out.png", "../secret.png"), ("up", "..")):
        (tmp_path / "photos" / name).symlink_to(target)
    names = ["out.png", "up/secret.png", "loop.png", "x" * 3000, ".", "out.png/x.png"]
    photos = PhotoList(tmp_path / "photos", names, np.zeros(len(names), np.int64))
    flaws = find_faults(lambda place: read_rgb(photos.path(place)), len(photos), "test", progress=False)
    assert sorted(flaws) == list(range(len(names)))
    assert all("link that leaves the folder" in flaws[place] for place in (0, 1))
    assert sample_files({"train": photos}) == (len(names), names)


@pytest.mark.parametrize("most", [1, 20, 200, 10_000])
def test_a_sample_takes_about_as_many_as_asked_for_and_some_of_each_part(tmp_path: Path, most: int) -> None:
    expected = clothing1m_tree(tmp_path)
    parts = load_photos("clothing1m", tmp_path).parts
    lacking = sample_files({"train": parts["train"]}, 10_000)[1]
    assert set(lacking) == {name for name, flaw in expected.flaws.items() if flaw in ("missing", "zero")}
    for part in parts.values():
        for name in part.names:
            (part.root / name).unlink(missing_ok=True)
    count, lacking = sample_files(parts, most)
    assert count == len(set(lacking)) and abs(count - min(most, 280)) <= len(parts)
    assert all(set(lacking) & set(part.names) for part in parts.values())
