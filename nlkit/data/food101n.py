"""Food-101N: images from the web in the classes of Food-101, whose test images are the test set.

Layout, with the names that the official archives unpack to (`Food-101N_release` may also be called `food-101n`):

    food-101n/meta/classes.txt          a header 'class_name', then one class a line; labels are in this order
    food-101n/meta/imagelist.tsv        a header 'class_name/key', then one image a line: 'apple_pie/....jpg'
    food-101n/meta/verified_train.tsv   a header 'class_name/key verification_label', then an image and 0 or 1
    food-101n/meta/verified_val.tsv     likewise
    food-101n/images/apple_pie/...      images
    food-101/meta/test.txt              one image a line, without ending: 'apple_pie/1011328'
    food-101/images/apple_pie/...       images

Headers and the name of the unpacked folder were confirmed in public loaders, the counts on the page of the data set
(310,009 images; 52,868 and 4,741 verified). One verified image of the official files is not in their image list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nlkit.data.files import is_file
from nlkit.data.list_files import Row, gather, read_columns, read_lines
from nlkit.data.photo_layout import IMAGENET_MEAN, IMAGENET_STD, empty_classes, find_folder
from nlkit.data.photo_list import PhotoSet
from nlkit.errors import NlkitError

CLASSES = 101
OFFICIAL = {"train": 310_009, "test": 25_250}

_HEADER = "class_name/key"


@dataclass(frozen=True)
class Verified:
    """How many images people have looked at, how many of these have the right label, how many are in no list."""

    count: int
    right: int
    unlisted: int


def needed(root: Path) -> list[Path]:
    """The lists that must be there; those of verified images need not be."""
    meta = _folder(root) / "meta"
    return [meta / "classes.txt", meta / "imagelist.tsv", root / "food-101" / "meta" / "test.txt"]


def load(root: Path) -> PhotoSet:
    """Food-101N below the data root; tests: 'test' (the test images of Food-101). No image is opened.

    Raises NlkitError, naming file and line, for lists that are missing or damaged, a class that is not among the
    101, and a path that leaves the folder.
    """
    class_list, image_list, test_list = needed(root)
    class_names = read_classes(class_list)
    numbers = {name: label for label, name in enumerate(class_names)}
    train, notes = gather(class_list.parents[1] / "images", image_list, _train_rows(image_list, numbers))
    test, more = gather(test_list.parents[1] / "images", test_list, _test_rows(test_list, numbers))
    notes = (*notes, *more, *empty_classes(train, class_names))
    return PhotoSet("food101n", train, {"test": test}, class_names, IMAGENET_MEAN, IMAGENET_STD, notes)


def read_classes(path: Path) -> tuple[str, ...]:
    """The names of the 101 classes, in the order of the labels; raises NlkitError for another number or a twin."""
    names: dict[str, None] = {}
    for line, text in read_lines(path):
        if line == 1 and text == "class_name":
            continue
        if text in names:
            raise NlkitError(f"{path}, line {line}: the class {text[:80]!r} is given twice")
        names[text] = None
    if len(names) != CLASSES:
        raise NlkitError(f"{path}: {len(names)} classes; Food-101N has {CLASSES}")
    return tuple(names)


def verified(root: Path, listed: Collection[str]) -> dict[str, Verified]:
    """What people found among the training and validation images ('train', 'val'), for the files that are there.

    Verification says whether a label is right; no method sees it. Raises NlkitError for a damaged file.
    """
    places = {part: _folder(root) / "meta" / f"verified_{part}.tsv" for part in ("train", "val")}
    return {part: _verified(path, listed) for part, path in places.items() if is_file(path)}


def _verified(path: Path, listed: Collection[str]) -> Verified:
    count = right = unlisted = 0
    for line, (name, text) in read_columns(path, (_HEADER, "verification_label"), "\t"):
        if line == 1:
            _check_header(name, path)
            continue
        if text not in ("0", "1"):
            raise NlkitError(f"{path}, line {line}: the verification is {text[:40]!r}; expected 0 or 1")
        count, right, unlisted = count + 1, right + (text == "1"), unlisted + (name not in listed)
    return Verified(count, right, unlisted)


def _train_rows(path: Path, numbers: Mapping[str, int]) -> Iterator[Row]:
    for line, (name,) in read_columns(path, (_HEADER,), "\t"):
        if line == 1:
            _check_header(name, path)
        else:
            yield line, name, _label(name, numbers, path, line)


def _test_rows(path: Path, numbers: Mapping[str, int]) -> Iterator[Row]:
    for line, name in read_lines(path):
        yield line, f"{name}.jpg", _label(name, numbers, path, line)


def _label(name: str, numbers: Mapping[str, int], path: Path, line: int) -> int:
    folder, slash, file = name.partition("/")
    if not slash or not file or "/" in file:
        raise NlkitError(f"{path}, line {line}: {name[:80]!r}; expected CLASS/IMAGE")
    if folder not in numbers:
        raise NlkitError(f"{path}, line {line}: the class {folder[:80]!r} is not among the {CLASSES} of classes.txt")
    return numbers[folder]


def _check_header(text: str, path: Path) -> None:
    if text != _HEADER:
        raise NlkitError(f"{path}, line 1: the header begins with {text[:80]!r}; expected {_HEADER!r}")


def _folder(root: Path) -> Path:
    return find_folder(root, ("food-101n", "Food-101N_release"))
