"""The thorough check of a set of photographs: every image is decoded and counted."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlkit.data import food101n
from nlkit.data.photo_catalog import load_photos, parts_of, remarks
from nlkit.data.photo_files import find_flaws
from nlkit.data.photo_list import PhotoList, PhotoSet

SHOWN = 20


@dataclass(frozen=True)
class Part:
    """A part of a set: how many images are listed, how many of each class [C] are usable, what is wrong with others."""

    name: str
    listed: int
    counts: np.ndarray
    flaws: dict[str, str]


@dataclass(frozen=True)
class PhotoReport:
    """What the check of a set of photographs found."""

    name: str
    class_names: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    @property
    def flaws(self) -> list[tuple[str, str, str]]:
        """Part, name and fault of each image that cannot be used."""
        return [(part.name, name, why) for part in self.parts for name, why in part.flaws.items()]

    @property
    def text(self) -> str:
        """The report in lines: counts of each part, notes, and at most 20 of the images that cannot be used."""
        total, flaws = sum(part.listed for part in self.parts), self.flaws
        lines = [
            f"{self.name}: {total} images read, {len(flaws)} cannot be used",
            *(f"  {_part_line(part, self.class_names)}" for part in self.parts),
            *(f"  {note}" for note in self.notes),
            *(f"  {part} {name!r}: {why}" for part, name, why in flaws[:SHOWN]),
        ]
        if len(flaws) > SHOWN:
            lines.append(f"  and {len(flaws) - SHOWN} more; --list FILE writes all of them")
        return "\n".join(lines)

    @property
    def table(self) -> str:
        """Every image that cannot be used, as CSV: part, path and fault."""
        stream = io.StringIO(newline="")
        csv.writer(stream, lineterminator="\n").writerows([("part", "path", "fault"), *self.flaws])
        return stream.getvalue()


def verify_photos(name: str, root: Path, progress: bool = True) -> PhotoReport:
    """Decode every image of a set of photographs below the data root and count what can be used.

    Raises NlkitError for an unknown name, and for lists that are missing or damaged; an image that cannot be decoded
    is a line of the report.
    """
    photos = load_photos(name, root)
    classes = len(photos.class_names)
    parts = tuple(_check(part, images, classes, progress) for part, images in parts_of(photos).items())
    return PhotoReport(name, photos.class_names, parts, (*remarks(photos), *_verification(photos, root)))


def _check(name: str, photos: PhotoList, classes: int, progress: bool) -> Part:
    flaws = find_flaws(photos, f"reading {name} images", progress)
    usable = np.ones(len(photos), dtype=bool)
    usable[list(flaws)] = False
    counts = np.bincount(photos.labels[usable], minlength=classes)
    return Part(name, len(photos), counts, {photos.names[i]: why for i, why in sorted(flaws.items())})


def _verification(photos: PhotoSet, root: Path) -> tuple[str, ...]:
    """What people said about the labels, where a set has such a file: Food-101N only."""
    if photos.name != "food101n":
        return ()
    found = food101n.verified(root, set(photos.train.names))
    return tuple(
        f"{one.count} {part} labels verified, {100 * one.right / max(one.count, 1):.2f} % of them right"
        + (f"; {one.unlisted} of these images are not listed" if one.unlisted else "")
        for part, one in found.items()
    )


def _part_line(part: Part, class_names: tuple[str, ...]) -> str:
    few, many = int(part.counts.argmin()), int(part.counts.argmax())
    spread = f"from {part.counts[few]} ({class_names[few]}) to {part.counts[many]} ({class_names[many]})"
    if part.counts[few] == part.counts[many]:
        spread = str(part.counts[few])
    return (
        f"{part.name}: {part.counts.sum()} of {part.listed} images can be used; {spread} in each of "
        f"{len(class_names)} classes"
    )
