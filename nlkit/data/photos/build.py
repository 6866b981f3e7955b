"""Photographs of a list to a store: decoded in parallel, once, and gone on with where it was interrupted."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn.functional import interpolate
from tqdm.auto import tqdm

from nlkit.data.files import check_relative
from nlkit.data.photos.decode import fault_of, file_state, in_parallel, read_rgb
from nlkit.data.photos.lists import PhotoList
from nlkit.data.photos.store import SHARD, Outcome, Store, image_digest, join, read_shard, write_shard
from nlkit.errors import NlkitError
from nlkit.files import file_lock

RULE = 2
"""Number of the rule by which images are decoded; another one makes other stores."""
LONGEST = 4


def build(
    photos: PhotoList, short: int, folder: Path, corrupt: Literal["drop", "fail"], progress: bool = True
) -> Store:
    """The store of a list of images with short side `short`: found in `folder`, or made there, or made to the end.

    Images that cannot be read are left out and listed in the store's faults; with `fail` they are an error, after all
    have been tried, and nothing is lost. A second process that asks for the same store waits. Memory holds at most a
    thousand decoded images. Raises NlkitError where no image can be read, a file changes meanwhile, or the disk is
    full or cannot be written.
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
    store = join(finished)
    if store.faults and (corrupt == "fail" or not len(store)):
        first = min(store.faults)
        raise NlkitError(
            f"{photos.root}: {len(store.faults)} of {len(photos)} images cannot be used, first "
            f"{photos.names[first]!r}: {store.faults[first]}"
        )
    return store


def request_name(photos: PhotoList, short: int, folder: Path) -> str:
    """SHA-256 of what is asked for: the rule of decoding, `short`, and name, size and time of change of every file.

    The root counts as it lies from `folder`, so that a data root may be moved with its stores. Raises NlkitError for
    a name that leaves the root.
    """
    root = os.path.realpath(photos.root)
    found = hashlib.sha256(os.fsencode(f"{RULE} {short}\n{os.path.relpath(root, os.path.realpath(folder))}\n"))
    for name in photos.names:
        check_relative(name, root)
        found.update(os.fsencode(name) + file_state(os.path.join(root, name)))
    return found.hexdigest()


def read_photo(path: Path, short: int) -> np.ndarray:
    """An image file as RGB uint8 [H, W, 3] with min(H, W) = `short` and max(H, W) at most 4 `short`.

    Turned as EXIF says; the middle is taken where one side is longer than 4 times the other; then scaled with
    antialiased bilinear weights, bit for bit as torchvision's Resize scales bytes. Large JPEGs are decoded at 1/2, 1/4
    or 1/8, never below twice `short`. Raises what `read_rgb` raises for a file that is no image.
    """
    image = read_rgb(path, short)
    width, height = (min(side, LONGEST * min(image.size)) for side in image.size)
    if (width, height) != image.size:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    pixels = torch.from_numpy(np.array(image))
    size = stored_size(width, height, short)
    if size == (height, width):
        return pixels.numpy()
    # A batch of one with the strides of channels-last saves a copy on either side.
    scaled = interpolate(pixels[None].permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1)[0].contiguous().numpy()


def stored_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Height and width that `read_photo` gives an image of this size."""
    long = short * min(max(width, height), LONGEST * min(width, height)) // min(width, height)
    return (long, short) if height > width else (short, long)


def _make(photos: PhotoList, short: int, files: list[Path], progress: bool) -> None:
    """Decode the shards that are not there yet, and write each as soon as all its images are decoded."""
    missing = [number for number, file in enumerate(files) if read_shard(file) is None]
    done = (len(files) - len(missing)) * SHARD
    folder = files[0].parent
    try:
        with tqdm(total=len(photos), initial=done, desc="decoding images", disable=not progress) as bar:
            for turn, number in enumerate(missing, 1):
                places = range(number * SHARD, min((number + 1) * SHARD, len(photos)))
                outcomes = in_parallel(lambda place: _decode(photos, place, short), places, bar)
                write_shard(files[number], zip(places, outcomes, strict=True))
                _check_space(files[number], len(missing) - turn)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NlkitError(f"{folder}: cannot write the decoded images ({reason}); what is there is kept") from None
    if missing and request_name(photos, short, folder.parent) != folder.name:
        shutil.rmtree(folder, ignore_errors=True)
        raise NlkitError(f"{photos.root}: images were changed while they were decoded; start again")


def _decode(photos: PhotoList, place: int, short: int) -> Outcome:
    found: list[np.ndarray] = []
    fault = fault_of(lambda: found.append(read_photo(photos.path(place), short)))
    return (found[0], image_digest(found[0])) if fault is None else fault


def _check_space(file: Path, shards: int) -> None:
    """Raise NlkitError where so many more shards will not fit on the disk, if they are as large as this one."""
    needed, free = shards * file.stat().st_size, shutil.disk_usage(file.parent).free
    if needed > free:
        raise NlkitError(
            f"{file.parent}: the images that are left need about {needed / 2**30:.1f} GiB; the disk has "
            f"{free / 2**30:.1f} GiB; what is there is kept"
        )
