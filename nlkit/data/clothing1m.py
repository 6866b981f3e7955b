"""Clothing1M: a million photographs of clothes, with labels that were taken from the text around them.

Layout, as its owners give it out (`Clothing1M` and `clothing1M` are also looked for):

    clothing1m/category_names_eng.txt                           line i: the name of class i, of 14
    clothing1m/noisy_label_kv.txt, clean_label_kv.txt           lines 'IMAGE LABEL'
    clothing1m/noisy_train_key_list.txt                         one image a line: 'images/2/26/...,....jpg'
    clothing1m/clean_val_key_list.txt, clean_test_key_list.txt  likewise
    clothing1m/images/0 ... 9                                   images; without `images` the folders 0 ... 9

The last is how DivideMix keeps them: it cuts the first seven letters of each name. The list of clean training images is
never used. Names and formats are those of the owners' description; the counts were confirmed in public loaders
(1,000,000 and, with clean labels, 14,313 and 10,526). The names of the classes are read from the file, not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlkit.data.files import is_folder
from nlkit.data.list_files import check_inside, number, photo_list, read_columns, read_lines, repetitions
from nlkit.data.photo_layout import empty_classes, find_folder
from nlkit.data.photo_list import PhotoList, PhotoSet
from nlkit.errors import NlkitError

CLASSES = 14
OFFICIAL = {"train": 1_000_000, "test": 10_526, "val": 14_313}
MEAN = (0.6959, 0.6537, 0.6371)
STD = (0.3113, 0.3192, 0.3214)
"""Channel statistics that DivideMix and LRA-diffusion normalise with."""

_KEY_LISTS = ("noisy_train_key_list.txt", "clean_test_key_list.txt", "clean_val_key_list.txt")
_LABEL_LISTS = ("noisy_label_kv.txt", "clean_label_kv.txt")
_NAMES = "category_names_eng.txt"
_UNKNOWN = -1


def needed(root: Path) -> list[Path]:
    """The lists that must be there."""
    folder = find_folder(root, ("clothing1m", "Clothing1M", "clothing1M"))
    return [folder / name for name in (*_KEY_LISTS, *_LABEL_LISTS, _NAMES)]


def load(root: Path) -> PhotoSet:
    """Clothing1M below the data root; tests: 'test' and 'val', the clean test and validation images.

    'val' belongs to protocols that choose a checkpoint by clean images. No image is opened. Raises NlkitError, naming
    file and line, for lists that are missing or damaged, an image without label, and a path that leaves the folder.
    """
    train_keys, test_keys, val_keys, noisy, clean, names = needed(root)
    class_names = _read_names(names)
    train, notes = _labelled([train_keys], noisy)
    clean_lists, more = _labelled([test_keys, val_keys], clean)
    test, val = clean_lists
    notes = (*notes, *more, *empty_classes(train[0], class_names))
    return PhotoSet("clothing1m", train[0], {"test": test, "val": val}, class_names, MEAN, STD, notes)


def _labelled(key_lists: Sequence[Path], label_list: Path) -> tuple[list[PhotoList], tuple[str, ...]]:
    """The images of each list of keys with their labels from `label_list`, and notes.

    The keys come first: of the labels only those are kept that are asked for, so that a million need no second copy.
    """
    notes: tuple[str, ...] = ()
    found: list[dict[str, int]] = []
    for path in key_lists:
        keys, more = _read_keys(path)
        found.append(keys)
        notes += more
    _fill(found, label_list)
    for path, keys in zip(key_lists, found, strict=True):
        _check_labelled(path, keys, label_list)
    return [_photos(path, keys) for path, keys in zip(key_lists, found, strict=True)], notes


def _read_keys(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    found: dict[str, int] = {}
    count = 0
    for line, (name,) in read_columns(path, ("IMAGE",)):
        check_inside(name, path, line)
        found[name] = _UNKNOWN
        count += 1
    return found, repetitions(path, count - len(found))


def _fill(found: Sequence[dict[str, int]], path: Path) -> None:
    """Give the keys in `found` the labels that a list tells."""
    for line, (name, text) in read_columns(path, ("IMAGE", "LABEL")):
        label = number(text, CLASSES, path, line)
        for keys in found:
            before = keys.get(name)
            if before is None:
                continue
            if before not in (_UNKNOWN, label):
                raise NlkitError(f"{path}, line {line}: {name!r} has label {label} here and {before} before")
            keys[name] = label


def _check_labelled(path: Path, keys: dict[str, int], label_list: Path) -> None:
    bare = next((name for name, label in keys.items() if label == _UNKNOWN), None)
    if bare is not None:
        line = next(line for line, text in read_lines(path) if text == bare)
        raise NlkitError(f"{path}, line {line}: {bare!r} has no label in {label_list.name}")


def _photos(path: Path, keys: dict[str, int]) -> PhotoList:
    if is_folder(path.parent / "images"):
        return photo_list(path.parent, path, keys)
    return photo_list(path.parent, path, {name.removeprefix("images/"): label for name, label in keys.items()})


def _read_names(path: Path) -> tuple[str, ...]:
    names = tuple(text for _, text in read_lines(path))
    if len(names) != CLASSES or len(set(names)) != CLASSES:
        raise NlkitError(f"{path}: {len(set(names))} names; Clothing1M has {CLASSES} classes, one name a line")
    return names
