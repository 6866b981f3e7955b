"""The official layouts of large sets of photographs: what is read where, how many there are, who gives them out.

webvision: mini-WebVision, the first 50 classes of the Google subset (short side 256). Names and formats follow
DivideMix's loader; a public loader asserts 65,944 and 2,500, and ILSVRC-2012 has 50 images a class. Its folders are
called 0 to 49, as DivideMix keeps them, or by synset.

food101n: tested on Food-101. Headers and the name of the unpacked folder were confirmed in public loaders, the counts
on the page of the data set. One verified image of the official files is not in their image list.

clothing1m: names and formats are those of the owners' description, counts were confirmed in public loaders. Without a
folder `images`, the folders 0 to 9 lie beside the lists, as DivideMix keeps them.

animal10n: counts and classes are from the page of the data set; public loaders take the digits of a file's name before
the underscore as the label. There is no list: images are taken in the order of their sorted names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nlkit.data.photos import lists
from nlkit.data.photos.lists import PhotoList, Row, gather, read_names, read_numbered, read_rows
from nlkit.errors import NlkitError

Parts = tuple[dict[str, PhotoList], tuple[str, ...]]
"""Training images ('train') and test sets by name, and the names of the classes."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""As DivideMix uses them for WebVision and LRA-diffusion for Food-101N; for Animal-10N they are our choice."""
ANIMALS = ("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster", "guinea pig")

_SYNSET = re.compile(r"(n\d{8})\s+(\S.*)")
_VERIFIED = ("class_name/key", "verification_label")


@dataclass(frozen=True)
class Layout:
    """A set of photographs as its owners give it out.

    folders: usual names of its folder; files: the lists and folders that must be there, `{}` for that folder; load:
    from these paths, and a list that takes notes, to images and classes; official: numbers of images; owner: who gives
    it out and where it belongs; mean, std: per channel, of pixels in 0..1.
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
                for file in lists.folder_images(place / name)
            )
            return {"imagenet": gather(place, place, rows, notes)}
        if len(lacking) < len(names):
            raise NlkitError(f"{place}: lacks {len(lacking)} of {len(names)} class folders: {', '.join(lacking[:8])}")
    notes.append(
        f"no test set 'imagenet': {place} has no class folders 0 to {len(synsets) - 1} or {synsets[0]} and so on; "
        f"request the ILSVRC-2012 validation images from image-net.org"
    )
    return {}


def _read_synsets(path: Path) -> list[tuple[str, str]]:
    """WordNet identity and first name of each of the 1000 classes, in the order of the labels.

    Raises NlkitError for a line of another form, an identity that is given twice, and another number of classes: were
    a line lost, the folders of the ILSVRC-2012 images would get the labels of their neighbours.
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
    names = read_names(class_list, 101, header="class_name")
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
    names, folder = read_names(name_list, 14), name_list.parent
    prefix = "" if os.path.isdir(folder / "images") else "images/"

    def part(keys: Path, label_list: Path, labels: Mapping[str, int]) -> PhotoList:
        def rows() -> Iterator[Row]:
            for line, (name,) in read_rows(keys, ("IMAGE",)):
                if name not in labels:
                    raise NlkitError(f"{line}: {name!r} has no label in {label_list.name}")
                yield line, name.removeprefix(prefix), labels[name]

        return gather(folder, keys, rows(), notes)

    noisy, clean = (lists.labels_by_name(path, read_numbered(path, 14), []) for path in (noisy_list, clean_list))
    parts = {
        "train": part(train_keys, noisy_list, noisy),
        "test": part(test_keys, clean_list, clean),
        "val": part(val_keys, clean_list, clean),
    }
    return parts, names


def _animal10n(needed: Sequence[Path], notes: list[str]) -> Parts:
    def rows(folder: Path) -> Iterator[Row]:
        for name in lists.folder_images(folder):
            if re.match("[0-9]_", name) is None:
                said = f"the image {name[:80]!r} begins with no label; expected 0_ to 9_ and a number"
                raise NlkitError(f"{folder}: {said}")
            yield str(folder), name, int(name[0])

    train, test = (gather(folder, folder, rows(folder), notes) for folder in needed)
    return {"train": train, "test": test}, ANIMALS


LAYOUTS = {
    "webvision": Layout(
        folders=("webvision",),
        files=("{}/info/train_filelist_google.txt", "{}/info/val_filelist.txt", "{}/info/synsets.txt"),
        load=_webvision,
        official={"train": 65_944, "test": 2_500, "imagenet": 2_500},
        owner="unpack google_resized_256.tar, val_images_256.tar and info.tar of WebVision 1.0, from the page of its "
        "owners data.vision.ee.ethz.ch/cvl/webvision, into webvision; the second test set, the ILSVRC-2012 validation "
        "images in webvision/imagenet/val, must be requested from image-net.org",
    ),
    "food101n": Layout(
        folders=("food-101n", "Food-101N_release"),
        files=("{}/meta/classes.txt", "{}/meta/imagelist.tsv", "food-101/meta/test.txt"),
        load=_food101n,
        official={"train": 310_009, "test": 25_250},
        owner="unpack Food-101N, from the page of its owners kuanghuei.github.io/Food-101N, into food-101n, and "
        "Food-101, from data.vision.ee.ethz.ch/cvl/food-101.tar.gz, into food-101",
    ),
    "clothing1m": Layout(
        folders=("clothing1m", "Clothing1M", "clothing1M"),
        files=(
            *("{}/noisy_train_key_list.txt", "{}/clean_test_key_list.txt", "{}/clean_val_key_list.txt"),
            *("{}/noisy_label_kv.txt", "{}/clean_label_kv.txt", "{}/category_names_eng.txt"),
        ),
        load=_clothing1m,
        official={"train": 1_000_000, "test": 10_526, "val": 14_313},
        owner="it must be requested from its owners, for research only: github.com/Cysu/noisy_label says how; unpack "
        "lists and images into clothing1m",
        mean=(0.6959, 0.6537, 0.6371),
        std=(0.3113, 0.3192, 0.3214),
    ),
    "animal10n": Layout(
        folders=("animal10n", "raw_image"),
        files=("{}/training", "{}/testing"),
        load=_animal10n,
        official={"train": 50_000, "test": 5_000},
        owner="download it from the page of its owners, dm.kaist.ac.kr/datasets/animal-10n, and unpack training and "
        "testing into animal10n",
    ),
}
