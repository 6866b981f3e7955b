"""Photographs of a list to a store: decoded in parallel, once, and gone on with where it was interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from tqdm.auto import tqdm

from nlkit.data.decode import guarded, open_image
from nlkit.data.journal import Chunk, Unfinished
from nlkit.data.photo import read_photo, stored_size
from nlkit.data.photo_files import photo_path
from nlkit.data.photo_list import PhotoList
from nlkit.data.store import Store, image_digest
from nlkit.data.store_files import keep, open_store, request_name
from nlkit.data.threads import in_order
from nlkit.errors import NlkitError
from nlkit.files import file_lock

CHUNK = 512
GROUP = 4
MAX_SHORT = 512

_SAMPLE = 64


def build(
    photos: PhotoList, short: int, folder: Path, corrupt: Literal["drop", "fail"], progress: bool = True
) -> Store:
    """The store of a list of images with short side `short`: found in `folder`, or made there, or made to the end.

    Images that cannot be read are left out and listed in the store's faults; with `fail` they are an error, after all
    have been tried, and nothing is lost. A second process that asks for the same store waits. Memory does not grow
    with the number of images, but for their names and some 100 bytes each. Raises NlkitError where the list is empty,
    no image can be read, a file changes meanwhile, or the disk is full or cannot be written.
    """
    if not len(photos):
        raise NlkitError(f"{photos.root}: the list of images is empty")
    if not 1 <= short <= MAX_SHORT:
        raise NlkitError(f"a short side of {short} pixels is asked for; use 1 to {MAX_SHORT}")
    request = request_name(photos, short, folder)
    store = _found(folder, request, tell=False)
    if store is None:
        with file_lock(folder / request):
            store = _found(folder, request, tell=True) or _make(photos, short, folder, request, progress)
    if store.faults and corrupt == "fail":
        raise NlkitError(_about_faults(photos, store.faults))
    return store


def _found(folder: Path, request: str, tell: bool) -> Store | None:
    try:
        return open_store(folder, request)
    except NlkitError as error:
        if tell:
            tqdm.write(f"nlkit: {error}; the images are decoded again")
        return None


def _about_faults(photos: PhotoList, faults: dict[int, str]) -> str:
    first = min(faults)
    name, why = photos.names[first], faults[first]
    return f"{photos.root}: {len(faults)} of {len(photos)} images cannot be used, first {name!r}: {why}"


def _make(photos: PhotoList, short: int, folder: Path, request: str, progress: bool) -> Store:
    work = folder / f"{request}.building"
    try:
        chunks = _decode(photos, short, work, request, progress)
        if not any(len(chunk.heights) for chunk in chunks):
            raise NlkitError(_about_faults(photos, {k: why for chunk in chunks for k, why in chunk.faults.items()}))
        if request_name(photos, short, folder) != request:
            shutil.rmtree(work, ignore_errors=True)
            raise NlkitError(f"{photos.root}: images were changed while they were decoded; start again")
        keep(folder, request, work, chunks)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NlkitError(f"{work}: cannot write the decoded images ({reason}); what is there is kept") from None
    store = open_store(folder, request)
    if store is None:
        raise NlkitError(f"{folder}: the store was removed while it was made; start again")
    return store


def _decode(photos: PhotoList, short: int, work: Path, request: str, progress: bool) -> list[Chunk]:
    """All chunks of the list: those that the journal has, and new ones, written as they come."""
    bar = tqdm(total=len(photos), desc="decoding images", disable=not progress)
    with bar, closing(Unfinished(work, request)) as unfinished, ThreadPoolExecutor(1) as committer:
        chunks = unfinished.resume(bar.update)
        begin = chunks[-1].end if chunks else 0
        _check_space(photos, short, begin, work)
        committed: Future[None] | None = None
        groups = (range(first, min(first + GROUP, len(photos))) for first in range(begin, len(photos), GROUP))
        found = in_order(lambda group: [_one(photos, place, short) for place in group], groups)
        outcomes = chain.from_iterable(found)
        with closing(found):
            for first in range(begin, len(photos), CHUNK):
                chunk = _write(unfinished, islice(outcomes, CHUNK), first, bar.update)
                if committed is not None:
                    committed.result()
                committed = committer.submit(unfinished.commit, chunk)  # decoding goes on while the disk is busy
                chunks.append(chunk)
        if committed is not None:
            committed.result()
    return chunks


@dataclass(frozen=True)
class _Outcome:
    """An image uint8 [H, W, 3] and its digest, or what is wrong."""

    pixels: np.ndarray | None
    digest: bytes
    fault: str


def _one(photos: PhotoList, place: int, short: int) -> _Outcome:
    found: list[np.ndarray] = []
    fault = guarded(lambda: found.append(read_photo(photo_path(photos, place), short)))
    if fault is not None:
        return _Outcome(None, b"", fault)
    pixels = found[0]
    return _Outcome(pixels, image_digest(pixels.shape[0], pixels.shape[1], pixels), "")


def _write(unfinished: Unfinished, outcomes: Iterable[_Outcome], first: int, done: Callable[[int], object]) -> Chunk:
    """Append the pixels of a chunk to the file."""
    sizes: list[tuple[int, ...]] = []
    digests: list[bytes] = []
    faults: dict[int, str] = {}
    place = first
    for outcome in outcomes:
        if outcome.pixels is None:
            faults[place] = outcome.fault
        else:
            unfinished.write(outcome.pixels)
            sizes.append(outcome.pixels.shape[:2])
            digests.append(outcome.digest)
        place += 1
        done(1)
    unfinished.flush()
    shapes = np.array(sizes, np.int64).reshape(-1, 2)
    return Chunk(first, place, shapes[:, 0].copy(), shapes[:, 1].copy(), b"".join(digests), faults)


def _check_space(photos: PhotoList, short: int, begin: int, work: Path) -> None:
    """Raise NlkitError where the images from place `begin` on will not fit on the disk, judged by some of them."""
    places = range(begin, len(photos), max(1, (len(photos) - begin) // _SAMPLE))
    sizes = in_order(lambda place: _stored_bytes(photos, place, short), places)
    found = [size for size in sizes if size]
    if not found:
        return
    needed, free = int(np.mean(found) * (len(photos) - begin)), shutil.disk_usage(work).free
    if needed > free:
        raise NlkitError(
            f"{work}: {len(photos) - begin} images of short side {short} need about {needed / 2**30:.1f} GiB; "
            f"the disk has {free / 2**30:.1f} GiB"
        )


def _stored_bytes(photos: PhotoList, place: int, short: int) -> int:
    """Bytes of an image in the store, from its header; 0 where it cannot be read."""
    found = [0]

    def header() -> None:
        with open_image(photo_path(photos, place)) as image:
            height, width = stored_size(*image.size, short)
            found[0] = 3 * height * width

    guarded(header)
    return found[0]
