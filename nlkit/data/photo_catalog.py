"""The sets of photographs by name: where each is kept, who gives it out, and whether it is there and whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nlkit.data import animal10n, clothing1m, food101n, webvision
from nlkit.data.photo_files import Sampled, sample_files
from nlkit.data.photo_list import PhotoList, PhotoSet
from nlkit.errors import NlkitError


@dataclass(frozen=True)
class Source:
    """A set of photographs: its loader, the files that this needs, the official number of images, how to come by it."""

    load: Callable[[Path], PhotoSet]
    needed: Callable[[Path], list[Path]]
    official: Mapping[str, int]
    owner: str


SOURCES = {
    "webvision": Source(
        webvision.load,
        webvision.needed,
        webvision.OFFICIAL,
        "unpack google_resized_256.tar, val_images_256.tar and info.tar of WebVision 1.0, from the page of its owners "
        "data.vision.ee.ethz.ch/cvl/webvision, into webvision; the second test set, the ILSVRC-2012 validation images "
        "in webvision/imagenet/val, must be requested from image-net.org",
    ),
    "food101n": Source(
        food101n.load,
        food101n.needed,
        food101n.OFFICIAL,
        "unpack Food-101N, from the page of its owners kuanghuei.github.io/Food-101N, into food-101n, and Food-101, "
        "from data.vision.ee.ethz.ch/cvl/food-101.tar.gz, into food-101",
    ),
    "clothing1m": Source(
        clothing1m.load,
        clothing1m.needed,
        clothing1m.OFFICIAL,
        "it must be requested from its owners, for research only: github.com/Cysu/noisy_label says how; unpack "
        "lists and images into clothing1m",
    ),
    "animal10n": Source(
        animal10n.load,
        animal10n.needed,
        animal10n.OFFICIAL,
        "download it from the page of its owners, dm.kaist.ac.kr/datasets/animal-10n, and unpack training and testing "
        "into animal10n",
    ),
}


def load_photos(name: str, root: Path) -> PhotoSet:
    """Names and labels of a set of photographs below the data root; no image is opened.

    Other numbers of images than the official ones give a line in `notes`. Raises NlkitError for an unknown name, and
    for lists that are missing or damaged.
    """
    if name not in SOURCES:
        raise NlkitError(f"the set of photographs '{name}' is unknown; use one of {', '.join(SOURCES)}")
    lacking = missing_files(name, root)
    if lacking:
        raise NlkitError(
            f"{name} is missing: {root} lacks {', '.join(lacking)}; {SOURCES[name].owner}, or name the folder that "
            f"has it with --data DIR or NLKIT_DATA"
        )
    photos = SOURCES[name].load(root)
    return replace(photos, notes=(*_deviations(photos), *photos.notes))


def needed_files(name: str, root: Path) -> list[str]:
    """The lists and folders that a set needs, relative to the data root; the images are not among them."""
    return [str(path.relative_to(root)) for path in SOURCES[name].needed(root)]


def missing_files(name: str, root: Path) -> list[str]:
    """Those of the needed files that are not there."""
    return [file for file in needed_files(name, root) if not _is_there(root / file)]


def place(name: str, root: Path) -> str:
    """The folder or folders where a set is, or belongs."""
    return " and ".join(dict.fromkeys(str(root / Path(file).parts[0]) for file in needed_files(name, root)))


def parts_of(photos: PhotoSet) -> dict[str, PhotoList]:
    """Training images ('train') and test sets of a set of photographs, by name."""
    return {"train": photos.train, **photos.tests}


def survey(name: str, root: Path) -> tuple[bool, str]:
    """Whether a set is complete, and a line that says so: its lists are read, a sample of its files is looked at.

    Raises NlkitError where `load_photos` does.
    """
    photos = load_photos(name, root)
    parts, official = parts_of(photos), SOURCES[name].official
    sampled = sample_files(parts)
    whole = all(len(parts.get(part, ())) >= count for part, count in official.items()) and not sampled.lacking
    return whole, "; ".join((*remarks(photos), _seen(sampled)))


def remarks(photos: PhotoSet) -> tuple[str, ...]:
    """The numbers of images that are listed, beside the official ones where they differ, and the notes of a set."""
    if _deviations(photos):
        return photos.notes
    counts = ", ".join(f"{part} {len(images)}" for part, images in parts_of(photos).items())
    return (f"{counts} images listed, the official numbers", *photos.notes)


def _deviations(photos: PhotoSet) -> tuple[str, ...]:
    parts, official = parts_of(photos), SOURCES[photos.name].official
    if all(len(parts.get(part, ())) == count for part, count in official.items()):
        return ()
    counts = ", ".join(f"{part} {len(parts.get(part, ()))} of {count}" for part, count in official.items())
    return (f"{counts} images listed",)


def _seen(sampled: Sampled) -> str:
    if not sampled.lacking:
        return f"{sampled.count} files looked at, all there"
    return f"{sampled.count} files looked at, {len(sampled.lacking)} missing or empty, first {sampled.lacking[0]!r}"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
