"""The official layouts of large sets of photographs: what is read where; facts are in `sources.yaml`."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass

from nlkit.data import photos
from nlkit.data.dataset import FACTS
from nlkit.data.photos import PhotoList, Row, gather, read_numbered, read_rows
from nlkit.errors import NlkitError

Parts = tuple[dict[str, PhotoList], tuple[str, ...]]  # images by part, of which 'train' is one, and names of classes

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ANIMALS = ("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster", "guinea pig")

_SYNSET = re.compile(r"(n\d{8})\s+(\S.*)")
_VERIFIED = ("class_name/key", "verification_label")


@dataclass(frozen=True)
class Layout:
    """A set of photographs as its owners give it out; `sources.yaml` says what each field is.

    load: from the paths of its files, and a list that takes notes, to images and classes.
    """

    folders: tuple[str, ...]
    files: tuple[str, ...]
    load: Callable[[Sequence[Path], list[str]], Parts]
    official: Mapping[str, int]
    owner: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def needed(self, root: Path) -> list[Path]:
        """The lists and folders that must be there; the images are not among them."""
        folder = next((name for name in self.folders if os.path.isdir(root / name)), self.folders[0])
        return [root / file.format(folder) for file in self.files]


def _webvision(needed: Sequence[Path], notes: list[str]) -> Parts:
    train_list, test_list, synset_list = needed
    folder, classes = train_list.parents[1], 50
    synsets = _read_synsets(synset_list)[:classes]

    def rows(path: Path) -> Iterator[Row]:
        return (row for row in read_numbered(path, 1000) if row[2] < classes)

    parts = {
        "train": gather(folder, train_list, rows(train_list), notes),
        "test": gather(folder / "val_images_256", test_list, rows(test_list), notes),
    }
    parts |= _imagenet(folder, [synset for synset, _ in synsets], notes)
    return parts, tuple(name for _, name in synsets)


def _imagenet(folder: Path, synsets: Sequence[str], notes: list[str]) -> dict[str, PhotoList]:
    """The ILSVRC-2012 validation images of these classes; nothing, with a note, where there are no class folders."""
    places = (folder / "imagenet" / "val", folder.parent / "imagenet" / "val")
    place = next((place for place in places if os.path.isdir(place)), places[0])
    for names in ([str(label) for label in range(len(synsets))], synsets):
        lacking = [name for name in names if not os.path.isdir(place / name)]
        if not lacking:
            rows = (
                (str(place), f"{name}/{file}", label)
                for label, name in enumerate(names)
                for file in photos.folder_images(place / name)
            )
            return {"imagenet": gather(place, place, rows, notes)}
        if len(lacking) < len(names):
            raise NlkitError(f"{place}: lacks {len(lacking)} of {len(names)} class folders: {', '.join(lacking[:8])}")
    lack = f"{place} has no class folders 0 to {len(synsets) - 1} or {synsets[0]} and so on"
    notes.append(f"no test set 'imagenet': {lack}; request the ILSVRC-2012 validation images from image-net.org")
    return {}


def _read_synsets(path: Path) -> list[tuple[str, str]]:
    """WordNet identity and first name of each of the 1000 classes, in the order of the labels.

    A lost or odd line raises NlkitError: the folders of ILSVRC-2012 would get the labels of their neighbours.
    """
    found: dict[str, str] = {}
    for line, (text,) in read_rows(path, ("SYNSET NAMES",), "\t"):
        match = _SYNSET.fullmatch(text)
        if match is None or match[1] in found:
            raise NlkitError(f"{line}: {text[:80]!r}; expected another synset and its names: n01440764 tench")
        found[match[1]] = match[2].split(",")[0].strip()
    if len(found) != 1000:
        raise NlkitError(f"{path}: {len(found)} classes; WebVision has 1000, one a line")
    return list(found.items())


def _food101n(needed: Sequence[Path], notes: list[str]) -> Parts:
    class_list, image_list, test_list = needed
    names = photos.read_names(class_list, 101, header="class_name")
    numbers = {name: label for label, name in enumerate(names)}

    def rows(images: Iterator[tuple[str, list[str]]], ending: str) -> Iterator[Row]:
        for line, (name,) in images:
            folder, _, file = name.partition("/")
            if not file or "/" in file:
                raise NlkitError(f"{line}: {name[:80]!r}; expected CLASS/IMAGE")
            if folder not in numbers:
                raise NlkitError(f"{line}: the class {folder[:80]!r} is not among those of classes.txt")
            yield line, name + ending, numbers[folder]

    train = rows(read_rows(image_list, _VERIFIED[:1], "\t", header=True), "")
    test = rows(read_rows(test_list, ("CLASS/IMAGE",), "\t"), ".jpg")
    parts = {
        "train": gather(image_list.parents[1] / "images", image_list, train, notes),
        "test": gather(test_list.parents[1] / "images", test_list, test, notes),
    }
    return parts, names


def verified_labels(root: Path, train: PhotoList) -> list[str]:
    """What people found about the labels of Food-101N, a line for each file that is there; no method sees it."""
    meta, listed = LAYOUTS["food101n"].needed(root)[0].parent, set(train.names)
    lines = []
    for part in ("train", "val"):
        path = meta / f"verified_{part}.tsv"
        if not os.path.isfile(path):
            continue
        count = right = unlisted = 0
        for line, (name, text) in read_rows(path, _VERIFIED, "\t", header=True):
            if text not in ("0", "1"):
                raise NlkitError(f"{line}: the verification is {text[:40]!r}; expected 0 or 1")
            count, right, unlisted = count + 1, right + int(text), unlisted + (name not in listed)
        share = f"{count} {part} labels verified, {100 * right / max(count, 1):.2f} % of them right"
        lines.append(share + (f"; {unlisted} of these images are not listed" if unlisted else ""))
    return lines


def _clothing1m(needed: Sequence[Path], notes: list[str]) -> Parts:
    train_keys, test_keys, val_keys, noisy_list, clean_list, name_list = needed
    names, folder = photos.read_names(name_list, 14), name_list.parent
    prefix = "" if os.path.isdir(folder / "images") else "images/"

    def part(keys: Path, label_list: Path, labels: Mapping[str, int]) -> PhotoList:
        def rows() -> Iterator[Row]:
            for line, (name,) in read_rows(keys, ("IMAGE",)):
                if name not in labels:
                    raise NlkitError(f"{line}: {name!r} has no label in {label_list.name}")
                yield line, name.removeprefix(prefix), labels[name]

        return gather(folder, keys, rows(), notes)

    noisy, clean = (photos.labels_by_name(path, read_numbered(path, 14), []) for path in (noisy_list, clean_list))
    parts = {
        "train": part(train_keys, noisy_list, noisy),
        "test": part(test_keys, clean_list, clean),
        "val": part(val_keys, clean_list, clean),
    }
    return parts, names


def _animal10n(needed: Sequence[Path], notes: list[str]) -> Parts:
    def rows(folder: Path) -> Iterator[Row]:
        for name in photos.folder_images(folder):
            if re.match("[0-9]_", name) is None:
                said = f"the image {name[:80]!r} begins with no label; expected 0_ to 9_ and a number"
                raise NlkitError(f"{folder}: {said}")
            yield str(folder), name, int(name[0])

    train, test = (gather(folder, folder, rows(folder), notes) for folder in needed)
    return {"train": train, "test": test}, ANIMALS


_LOADERS = {"webvision": _webvision, "food101n": _food101n, "clothing1m": _clothing1m, "animal10n": _animal10n}
LAYOUTS = {name: Layout(load=load, **FACTS["photos"][name]) for name, load in _LOADERS.items()}
