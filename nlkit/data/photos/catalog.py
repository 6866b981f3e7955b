"""The sets of photographs by name: lists and labels, whether a set is there and whole, and the check of every image."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from nlkit.data import Source, present_source
from nlkit.data.photos import PhotoList, PhotoSet
from nlkit.data.photos.layouts import LAYOUTS, verified_labels
from nlkit.errors import NlkitError

SHOWN = 20  # images that cannot be used, in the text of a report


def load_photos(name: str, root: Path) -> PhotoSet:
    """Names and labels of a set of photographs below the data root; no image is opened.

    Raises NlkitError for lists that are missing or damaged; classes without images, and other numbers, are remarks.
    """
    present_source(name, root, SOURCES)
    layout, notes = LAYOUTS[name], list[str]()
    parts, class_names = layout.load(layout.needed(root), notes)
    found = {part: len(parts.get(part, ())) for part in layout.official}
    whole = found == layout.official
    counts = (f"{part} {count}" + ("" if whole else f" of {layout.official[part]}") for part, count in found.items())
    numbers = f"{', '.join(counts)} images listed{', the official numbers' if whole else ''}"
    present = np.bincount(parts["train"].labels, minlength=len(class_names)) > 0
    if empty := [name for name, some in zip(class_names, present, strict=True) if not some]:
        notes.append(f"{len(empty)} classes have no training images: {', '.join(empty[:8])}")
    return PhotoSet(parts.pop("train"), parts, class_names, layout.mean, layout.std, (numbers, *notes), whole)


def survey(name: str, root: Path) -> tuple[bool, str]:
    """Whether a set is complete, and a line that says so: lists are read, and a sample of the files is looked at."""
    photos = load_photos(name, root)
    count, lacking = sample_files(photos.parts)
    found = f"{len(lacking)} missing or empty, first {lacking[0]!r}" if lacking else "all there"
    enough = all(len(photos.parts.get(part, ())) >= most for part, most in LAYOUTS[name].official.items())
    return enough and not lacking, "; ".join((*photos.remarks, f"{count} files looked at, {found}"))


def sample_files(parts: Mapping[str, PhotoList], most: int = 200) -> tuple[int, list[str]]:
    """Looks at about `most` files, evenly spread over parts; their number, and the names of missing or empty ones."""
    total = sum(len(photos) for photos in parts.values())
    chosen: list[tuple[PhotoList, int]] = []
    for photos in parts.values():
        count = min(len(photos), max(1, round(most * len(photos) / total)))
        chosen += [(photos, index) for index in np.linspace(0, len(photos) - 1, count).astype(int).tolist()]
    return len(chosen), [photos.names[index] for photos, index in chosen if not _holds_something(photos, index)]


def verify_photos(name: str, root: Path, progress: bool) -> tuple[pd.DataFrame, str]:
    """Decode every image of a set: a table `part, path, fault` of those that cannot be used, and a report in lines.

    Raises NlkitError where `load_photos` does.
    """
    from nlkit.data.photos.decode import find_faults, read_rgb

    photos = load_photos(name, root)
    found, lines = list[tuple[str, str, str]](), list[str]()
    for part, images in photos.parts.items():
        read = partial(lambda listed, place: read_rgb(listed.path(place)), images)
        faults = find_faults(read, len(images), f"reading {part} images", progress)
        found += [(part, images.names[place], why) for place, why in faults.items()]
        counts = np.bincount(np.delete(images.labels, list(faults)), minlength=len(photos.class_names))
        lines.append(f"  {part}: {counts.sum()} of {len(images)} images can be used; {_spread(photos, counts)}")
    verified = verified_labels(root, photos.train) if name == "food101n" else []
    total = sum(len(images) for images in photos.parts.values())
    lines = [f"{name}: {total} images read, {len(found)} cannot be used", *lines]
    lines += [f"  {note}" for note in (*photos.remarks, *verified)]
    lines += [f"  {part} {image!r}: {why}" for part, image, why in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more; --list FILE writes all of them")
    return pd.DataFrame(found, columns=["part", "path", "fault"]), "\n".join(lines)


def _spread(photos: PhotoSet, counts: np.ndarray) -> str:
    """The least and the greatest of the numbers of images of the classes."""
    few, many = int(counts.argmin()), int(counts.argmax())
    spread = f"from {counts[few]} ({photos.class_names[few]}) to {counts[many]} ({photos.class_names[many]})"
    return f"{counts[few] if counts[few] == counts[many] else spread} in each of {len(counts)} classes"


def _holds_something(photos: PhotoList, index: int) -> bool:
    with suppress(NlkitError, OSError):
        path = photos.path(index)
        return path.is_file() and path.stat().st_size > 0
    return False


SOURCES = {name: Source(one.needed, partial(survey, name), one.owner) for name, one in LAYOUTS.items()}
"""What each set of photographs needs, and how it is looked at."""
