"""Mini-WebVision: the first 50 classes of the Google subset of WebVision 1.0, with two test sets.

Layout, with the names that the official archives unpack to (the images are those of the small version, short side 256):

    webvision/info/train_filelist_google.txt, val_filelist.txt    lines 'IMAGE LABEL', labels 0..999
    webvision/info/synsets.txt                                    line i: 'n01440764 tench, Tinca tinca' of class i
    webvision/google/q0001/...                                    training images, named from webvision/ on
    webvision/val_images_256/...                                  validation images, named from this folder on
    webvision/imagenet/val/0 ... 49                               ILSVRC-2012 validation, as DivideMix keeps it,
    webvision/imagenet/val/n01440764 ...                          or in folders by synset; also below imagenet/val

File names and formats follow DivideMix's loader. The counts are those of the specification: 65,944 and 2,500 are
confirmed by a public loader that asserts them, the 2,500 of ILSVRC-2012 follow from its 50 images a class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nlkit.data.files import is_folder
from nlkit.data.list_files import Row, gather, image_names, number, read_columns, read_lines
from nlkit.data.photo_layout import IMAGENET_MEAN, IMAGENET_STD, empty_classes, find_folder
from nlkit.data.photo_list import PhotoList, PhotoSet
from nlkit.errors import NlkitError

ALL_CLASSES = 1000
CLASSES = 50
OFFICIAL = {"train": 65_944, "test": 2_500, "imagenet": 2_500}

_SYNSET = re.compile(r"(n\d{8})\s+(\S.*)")


def needed(root: Path) -> list[Path]:
    """The lists that must be there."""
    info = root / "webvision" / "info"
    return [info / name for name in ("train_filelist_google.txt", "val_filelist.txt", "synsets.txt")]


def load(root: Path) -> PhotoSet:
    """Mini-WebVision below the data root; tests: 'test' (WebVision validation) and 'imagenet', where that is there.

    No image is opened. Raises NlkitError, naming file and line, for lists that are missing or damaged, for a path
    that leaves the folder, and for an ILSVRC-2012 folder that lacks some of the classes.
    """
    train_list, test_list, synset_list = needed(root)
    folder = train_list.parents[1]
    synsets = read_synsets(synset_list)
    class_names = tuple(name for _, name in synsets[:CLASSES])
    train, notes = gather(folder, train_list, _rows(train_list))
    test, more = gather(folder / "val_images_256", test_list, _rows(test_list))
    tests = {"test": test}
    imagenet = _imagenet(root, [synset for synset, _ in synsets[:CLASSES]])
    if imagenet is not None:
        tests["imagenet"] = imagenet
    else:
        more += (
            f"no test set 'imagenet': {folder / 'imagenet' / 'val'} has no class folders 0 to {CLASSES - 1} or "
            f"{synsets[0][0]} and so on; request the ILSVRC-2012 validation images from image-net.org",
        )
    notes = (*notes, *more, *empty_classes(train, class_names))
    return PhotoSet("webvision", train, tests, class_names, IMAGENET_MEAN, IMAGENET_STD, notes)


def read_synsets(path: Path) -> list[tuple[str, str]]:
    """WordNet identity and first name of each of the 1000 classes, in the order of the labels.

    Raises NlkitError for a line of another form, an identity that is given twice, and another number of classes: were
    a line lost, the folders of the ILSVRC-2012 images would get the labels of their neighbours.
    """
    found: dict[str, str] = {}
    for line, text in read_lines(path):
        match = _SYNSET.fullmatch(text)
        if match is None:
            raise NlkitError(f"{path}, line {line}: {text[:80]!r}; expected a synset and its names: n01440764 tench")
        synset, names = match.groups()
        if synset in found:
            raise NlkitError(f"{path}, line {line}: {synset} is given twice")
        found[synset] = names.split(",")[0].strip()
    if len(found) != ALL_CLASSES:
        raise NlkitError(f"{path}: {len(found)} classes; WebVision has {ALL_CLASSES}, one a line")
    return list(found.items())


def _rows(path: Path) -> Iterator[Row]:
    """The rows of the first 50 classes."""
    for line, (name, text) in read_columns(path, ("IMAGE", "LABEL")):
        label = number(text, ALL_CLASSES, path, line)
        if label < CLASSES:
            yield line, name, label


def _imagenet(root: Path, synsets: Sequence[str]) -> PhotoList | None:
    """The ILSVRC-2012 validation images of the classes, or None where there are no class folders."""
    place = find_folder(root, ("webvision/imagenet/val", "imagenet/val"))
    for names in ([str(label) for label in range(CLASSES)], synsets):
        lacking = [name for name in names if not is_folder(place / name)]
        if len(lacking) == CLASSES:
            continue
        if lacking:
            raise NlkitError(f"{place}: lacks {len(lacking)} of {CLASSES} class folders: {', '.join(lacking[:8])}")
        return gather(place, place, _listed(place, names))[0]
    return None


def _listed(place: Path, folders: Sequence[str]) -> Iterator[Row]:
    for label, folder in enumerate(folders):
        for name in image_names(place / folder):
            yield 0, f"{folder}/{name}", label
