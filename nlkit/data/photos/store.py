"""Photographs that were decoded once, to a short side, and lie one after the other in files of a thousand.

<folder>/00000.pixels        the bytes of the first thousand images, each uint8 [H, W, 3] in C order
<folder>/00000.safetensors   their sizes, hashes and faults; written last, so that a shard that has it is finished
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm.auto import tqdm

from nlkit.data.files import DAMAGE, read_tensors, write_tensors
from nlkit.data.photos import PhotoList
from nlkit.data.photos.decode import attempt, in_parallel, read_photo, state_of_files
from nlkit.errors import NlkitError
from nlkit.files import file_lock, replaced_file
from nlkit.lazy import torch

SHARD = 1000
RULE = 2  # number of the rule by which images are decoded; another one makes other stores

Outcome = tuple[np.ndarray, bytes] | str  # a decoded image uint8 [H, W, 3] and its digest, or what is wrong with it


@dataclass(frozen=True)
class Store:
    """A finished store of N images, or one shard of it.

    files: of pixels; shards, offsets: int64 [N], the number of its file and the first byte there of each image;
    heights, widths: int64 [N]; digests: uint8 [N, 32], SHA-256 of shape and pixels; kept: int64 [N], the place of each
    in the list that was asked for; faults: what was wrong with the others, by their place.
    """

    files: tuple[Path, ...]
    shards: np.ndarray
    offsets: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    digests: np.ndarray
    kept: np.ndarray
    faults: dict[int, str]

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each image, int64 [N]."""
        return self.heights * self.widths * 3

    @cached_property
    def keys(self) -> np.ndarray:
        """The first eight bytes of each digest, int64 [N]."""
        return np.ascontiguousarray(self.digests).view("<i8")[:, 0].astype(np.int64)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the digests, so over shapes and pixels of all images in their order."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()


def build(
    photos: PhotoList, short: int, folder: Path, corrupt: Literal["drop", "fail"], progress: bool = True
) -> Store:
    """The store of a list of images with short side `short`: found in `folder`, or made there, or made to the end.

    Images that cannot be read are left out and listed in the store's faults; with `fail` they are an error, after all
    have been tried, and nothing is lost. Memory holds at most a thousand decoded images. Raises NlkitError where no
    image can be read, a file changes meanwhile, or the disk is full or cannot be written.
    """
    target = folder / request_name(photos, short, folder)
    files = [target / f"{number:05d}.pixels" for number in range(-(-len(photos) // SHARD))]
    shards = [read_shard(file) for file in files]
    if None in shards:
        with file_lock(target):
            _make(photos, short, files, progress)
        shards = [read_shard(file) for file in files]
    finished = [shard for shard in shards if shard is not None]
    if len(finished) < len(files):
        raise NlkitError(f"{target}: the store was removed while it was made; start again")
    store = _join(finished)
    if store.faults and (corrupt == "fail" or not len(store)):
        first = min(store.faults)
        found = f"{len(store.faults)} of {len(photos)} images cannot be used"
        raise NlkitError(f"{photos.root}: {found}, first {photos.names[first]!r}: {store.faults[first]}")
    return store


def request_name(photos: PhotoList, short: int, folder: Path) -> str:
    """SHA-256 of rule, `short`, the root as it lies from `folder`, and name, size and time of change of every file."""
    root = os.path.realpath(photos.root)
    head = f"{RULE} {short}\n{os.path.relpath(root, os.path.realpath(folder))}\n"
    return state_of_files(head, root, photos.names)


def _make(photos: PhotoList, short: int, files: list[Path], progress: bool) -> None:
    """Decode the shards that are not there yet, and write each as soon as all its images are decoded."""
    missing = [number for number, file in enumerate(files) if read_shard(file) is None]
    due = {number: range(number * SHARD, min((number + 1) * SHARD, len(photos))) for number in missing}
    done, folder = len(photos) - sum(map(len, due.values())), files[0].parent

    def one(place: int) -> Outcome:
        return attempt(lambda: digested(read_photo(photos.path(place), short)))

    try:
        with tqdm(total=len(photos), initial=done, desc="decoding images", disable=not progress) as bar:
            for turn, (number, places) in enumerate(due.items(), 1):
                outcomes = in_parallel(one, places, bar)
                _write_shard(files[number], zip(places, outcomes, strict=True))
                _check_space(files[number], len(missing) - turn)
    except OSError as error:
        raise NlkitError(f"{folder}: cannot write the images ({error.strerror}); what is there is kept") from None
    if missing and request_name(photos, short, folder.parent) != folder.name:
        shutil.rmtree(folder, ignore_errors=True)
        raise NlkitError(f"{photos.root}: images were changed while they were decoded; start again")


def digested(pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
    """An image uint8 [H, W, 3], and the SHA-256, 32 bytes, of its shape and bytes."""
    found = hashlib.sha256(f"{pixels.shape[0]} {pixels.shape[1]} 3\n".encode())
    found.update(pixels.data)
    return pixels, found.digest()


def _check_space(file: Path, shards: int) -> None:
    """Raise NlkitError where so many more shards will not fit on the disk, if they are as large as this one."""
    needed, free = shards * file.stat().st_size, shutil.disk_usage(file.parent).free
    if needed > free:
        lack = f"the images that are left need about {needed / 2**30:.1f} GiB; the disk has {free / 2**30:.1f} GiB"
        raise NlkitError(f"{file.parent}: {lack}; what is there is kept")


def _write_shard(pixels: Path, outcomes: Iterable[tuple[int, Outcome]]) -> None:
    """Write the images at some places of a list to a file; raises OSError."""
    kept: list[int] = []
    shapes: list[tuple[int, ...]] = []
    digests, faults = bytearray(), dict[int, str]()
    with replaced_file(pixels) as temporary, temporary.open("wb") as file:
        for place, outcome in outcomes:
            if isinstance(outcome, str):
                faults[place] = outcome
                continue
            file.write(outcome[0].data)
            kept.append(place)
            shapes.append(outcome[0].shape[:2])
            digests += outcome[1]
    columns = {
        "kept": np.array(kept, np.int64),
        "shapes": np.array(shapes, np.int64).reshape(-1, 2),
        "digests": np.frombuffer(digests, np.uint8).reshape(-1, 32),
    }
    tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
    write_tensors(pixels.with_suffix(".safetensors"), tensors, {"faults": faults})


def read_shard(pixels: Path) -> Store | None:
    """A shard that was finished; None where it was not, or its files differ in size; pixels are not hashed."""
    try:
        tensors, info = read_tensors(pixels.with_suffix(".safetensors"))
        length = pixels.stat().st_size
    except DAMAGE:
        return None
    columns = {name: tensor.numpy() for name, tensor in tensors.items()}
    heights, widths = columns["shapes"].T.copy()
    sizes = heights * widths * 3
    if length != sizes.sum():
        return None
    faults = {int(place): why for place, why in info["faults"].items()}
    offsets = np.cumsum(sizes) - sizes
    return Store((pixels,), 0 * offsets, offsets, heights, widths, columns["digests"], columns["kept"], faults)


def _join(parts: Sequence[Store]) -> Store:
    """The store of all the shards of a list."""
    columns = ("offsets", "heights", "widths", "digests", "kept")
    return Store(
        files=tuple(file for part in parts for file in part.files),
        shards=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns},
        faults={place: why for part in parts for place, why in part.faults.items()},
    )


def read(store: Store, indices: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, uint8 [B], with the bytes of the images `indices` int64 [n], one after the other.

    Neighbours in a file are read in one call. Nothing is mapped: mapped pages would count as memory of the process.
    Raises NlkitError for a file that is gone or cut short, IndexError for an index that is not in the store.
    """
    shards, offsets, sizes = store.shards[indices], store.offsets[indices], store.sizes[indices]
    apart = (shards[1:] != shards[:-1]) | (offsets[1:] != offsets[:-1] + sizes[:-1])
    firsts = np.flatnonzero(np.append([True], apart)[: len(sizes)])
    begins = np.append((np.cumsum(sizes) - sizes)[firsts], sizes.sum()).tolist()
    for run, first in enumerate(firsts.tolist()):
        path = store.files[shards[first]]
        try:
            with path.open("rb") as file:
                file.seek(int(offsets[first]))
                count = file.readinto(memoryview(out)[begins[run] : begins[run + 1]])
        except OSError as error:
            raise NlkitError(f"{path}: cannot read the stored images ({error.strerror})") from None
        if count < begins[run + 1] - begins[run]:
            raise NlkitError(f"{path}: the stored images are cut short; remove it, and they are decoded again")
