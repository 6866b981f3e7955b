"""A folder of one's own images as training and test arrays, with names for everything that was left out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlkit.data.files import content_sha256
from nlkit.data.listing import Entry, read_listing
from nlkit.data.photos.decode import decode_all
from nlkit.errors import NlkitError
from nlkit.params.sections import FolderDataParams
from nlkit.seeding import numpy_stream

LEAST_IMAGES = 10
UNKNOWN = -1
CACHE = "images.safetensors"


@dataclass(frozen=True)
class Part:
    """Images uint8 [N, S, S, C], given labels int64 [N], correct labels where known, and paths as they were given."""

    images: np.ndarray
    labels: np.ndarray
    truth: np.ndarray | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class FolderData:
    """What was read: training and held-out images, classes, and the images that were left out, with the reason."""

    train: Part
    test: Part | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    dropped: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]


def load_folder(params: FolderDataParams, cache: Path | None = None, progress: bool = False) -> FolderData:
    """Read, decode, check and divide the images that the parameters name; `cache` is a folder for decoded images.

    Raises NlkitError for input that no method can learn from, and, where `corrupt` is `fail`, for unreadable images.
    """
    entries, tests, notes = _entries(params)
    everything = [*entries, *tests]
    paths = [entry.path for entry in everything]
    images, faults = decode_all(paths, params.side, progress, cache / CACHE if cache is not None else None)
    dropped = tuple((everything[i].name, everything[i].label, why) for i, why in sorted(faults.items()))
    if dropped and params.corrupt == "fail":
        name, _, why = dropped[0]
        raise NlkitError(f"{params.folder}: {len(dropped)} images cannot be used, first {name!r}: {why}")
    sound = np.array([i not in faults for i in range(len(everything))])
    names = class_names([entry.label for entry, good in zip(entries, sound, strict=False) if good])
    check_enough(params.labels or params.folder, int(sound[: len(entries)].sum()), names, dropped)
    keep = np.flatnonzero(sound)
    kept, images = [everything[i] for i in keep], images[keep] if dropped else images
    number = {name: index for index, name in enumerate(names)}
    tested = keep >= len(entries)
    if params.hold_out:
        tested = held_out(np.array([number[entry.label] for entry in kept]), params.hold_out, params.split_seed)
    train = _part(kept, images, ~tested, number)
    test = _part(kept, images, tested, number) if tested.any() else None
    arrays = [part for one in (train, test) if one is not None for part in (one.images, one.labels)]
    sha256 = content_sha256(arrays)
    if params.sha256 not in (None, sha256):
        raise NlkitError(
            f"{params.folder}: images or labels have changed: sha256 {sha256[:16]}, not {params.sha256[:16]}"
        )
    mean, std = _moments(train.images)
    return FolderData(train, test, names, mean, std, sha256, dropped, (*notes, *_odd_pixels(kept, images)))


def _odd_pixels(entries: Sequence[Entry], images: np.ndarray) -> list[str]:
    """Notes about images uint8 [N, S, S, C] that are equal, and about pixels that use little of their range."""
    notes, first = [], dict[bytes, Entry]()
    keys = (hashlib.sha256(image.tobytes()).digest() for image in images)
    pairs = [(first.setdefault(key, entry), entry) for key, entry in zip(keys, entries, strict=True)]
    wrong = [f", first {b.name!r} and {a.name!r}" for a, b in pairs if a.label != b.label]
    if count := len(pairs) - len(first):
        notes = [f"{count} images are exact copies of others, {len(wrong)} under another label{''.join(wrong[:1])}"]
    if (most := images.max()) < 64:  # 14 bits or fewer of 16
        notes.append(f"no pixel is above {most} of 255; of 16-bit files the highest 8 bits are read: rescale them")
    return notes


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels: by number where all are whole numbers, else by alphabet."""
    names = set(labels)
    whole = all(name.isascii() and name.isdigit() and len(name) < 100 for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else None))


def _entries(params: FolderDataParams) -> tuple[list[Entry], list[Entry], list[str]]:
    """Entries to train on, those to test on, and notes."""
    folder, table = Path(params.folder), None if params.labels is None else Path(params.labels)
    entries, notes = read_listing(folder, table, params.truth)
    if params.test is None:
        return entries, [], notes
    tests, further = read_listing(folder, Path(params.test))
    kept_apart = {entry.path for entry in tests}
    trained = [entry for entry in entries if entry.path not in kept_apart]
    if len(trained) < len(entries):
        further.append(f"{params.test}: {len(entries) - len(trained)} images are held out and not trained on")
    return trained, tests, notes + further


def check_enough(source: str, count: int, names: Sequence[str], dropped: Sequence[tuple[str, str, str]] = ()) -> None:
    """Raise NlkitError, beginning with `source`, for too few images with these classes, or too few of a class."""
    first = f", first {dropped[0][0][:200]!r}: {dropped[0][2]}; paths are relative to the folder" if dropped else ""
    lost = f" ({len(dropped)} are left out{first})" if dropped else ""
    if count < LEAST_IMAGES:
        raise NlkitError(f"{source}: {count} usable images{lost}; at least {LEAST_IMAGES} are needed")
    if len(names) < 2:
        raise NlkitError(f"{source}: all {count} images have the label {names[0]!r}; at least two classes are needed")
    if len(names) > count // 2:
        raise NlkitError(f"{source}: {len(names)} different labels for {count} images{lost}; are they class names?")


def _part(entries: Sequence[Entry], images: np.ndarray, mask: np.ndarray, number: Mapping[str, int]) -> Part:
    chosen = [entry for entry, wanted in zip(entries, mask, strict=True) if wanted]

    def index(entry: Entry, label: str | None) -> int:
        if label is None:
            return UNKNOWN
        if label not in number:
            raise NlkitError(f"{entry.source}: the label {label!r} of {entry.name!r} is not among the training labels")
        return number[label]

    given = np.array([index(entry, entry.label) for entry in chosen], dtype=np.int64)
    truth = np.array([index(entry, entry.truth) for entry in chosen], dtype=np.int64)
    return Part(images[mask], given, None if UNKNOWN in truth else truth, tuple(entry.name for entry in chosen))


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A random mask [N] of about `share` of each class; every class keeps an image to train on."""
    mask, rng = np.zeros(len(labels), dtype=bool), numpy_stream(seed, "hold_out")
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        mask[members[: min(round(share * len(members)), len(members) - 1)]] = True
    return mask


def _moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels in 0..1, from at most 10,000 images."""
    some = images[:: max(1, len(images) // 10_000)].astype(np.float32) / 255
    mean, std = some.mean(axis=(0, 1, 2), dtype=np.float64), some.std(axis=(0, 1, 2), dtype=np.float64)
    return tuple(round(float(x), 4) for x in mean), tuple(max(round(float(x), 4), 0.01) for x in std)
