"""Images that were decoded once, to a short side, and lie one after the other in a file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from nlkit.errors import NlkitError

DIGEST_BYTES = 32
REMEDY = "remove its folder, and the images are decoded again"


@dataclass(frozen=True)
class Store:
    """A finished store of N images.

    pixels: a file of bytes, image after image, each uint8 [H, W, 3] in C order; offsets: int64 [N], the first byte of
    each; heights, widths: int64 [N]; keys: int64 [N], a hash of shape and pixels of each; kept: int64 [N], the place
    of each in the list that was asked for; faults: what was wrong with the others, by their place; sha256: over
    shapes and pixels of all, in their order.
    """

    pixels: Path
    offsets: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    keys: np.ndarray
    kept: np.ndarray
    faults: dict[int, str]
    sha256: str

    def __len__(self) -> int:
        return len(self.offsets)


def read(store: Store, indices: np.ndarray, out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of the images `indices` int64 [n], one after the other: uint8 [B], and where each begins, int64 [n].

    Image i is `bytes[begin[i]:][:h * w * 3].reshape(h, w, 3)` with its height and width in the store. Neighbours in
    the file are read in one call. The bytes lie at the start of `out`, uint8 [at least B], where it is given. Nothing
    is mapped: mapped pages would count as memory of the process. Raises NlkitError for an index that is not in the
    store, an `out` that is too small, and a file that is gone or cut short.
    """
    indices = np.asarray(indices, np.int64)
    if len(indices) and (indices.min() < 0 or indices.max() >= len(store)):
        raise NlkitError(f"{store.pixels}: index {indices.max()} or {indices.min()} is outside 0..{len(store) - 1}")
    sizes = byte_sizes(store.heights[indices], store.widths[indices])
    begins, total = np.cumsum(sizes) - sizes, int(sizes.sum())
    if out is None:
        out = np.empty(total, np.uint8)
    elif len(out) < total:
        raise NlkitError(f"{store.pixels}: a buffer of {len(out)} bytes is too small for {total}")
    try:
        _read_runs(store.pixels, memoryview(out), begins, store.offsets[indices], sizes)
    except OSError as error:
        raise NlkitError(f"{store.pixels}: cannot read the stored images ({error.strerror})") from None
    except EOFError:
        raise NlkitError(f"{store.pixels}: the stored images are cut short; {REMEDY}") from None
    return out[:total], begins


def _read_runs(path: Path, out: memoryview, begins: np.ndarray, offsets: np.ndarray, sizes: np.ndarray) -> None:
    """Fill `out` from the file, with one call for each run of images that are neighbours in it."""
    apart = offsets[1:] != offsets[:-1] + sizes[:-1]
    firsts = np.flatnonzero(np.append([True], apart)[: len(sizes)])
    lengths = np.add.reduceat(sizes, firsts) if len(firsts) else sizes
    file = os.open(path, os.O_RDONLY)
    try:
        for begin, offset, length in np.stack([begins[firsts], offsets[firsts], lengths], 1).tolist():
            _read_run(file, out[begin : begin + length], offset)
    finally:
        os.close(file)


def _read_run(file: int, part: memoryview, offset: int) -> None:
    while len(part):
        count = os.preadv(file, [part], offset)  # the kernel gives at most 2 GB at once
        if not count:
            raise EOFError
        part, offset = part[count:], offset + count


def byte_sizes(heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Bytes of each image, int64 [N]."""
    return np.asarray(heights * widths * 3, np.int64)


def image_digest(height: int, width: int, pixels: bytes | np.ndarray) -> bytes:
    """SHA-256, 32 bytes, of the shape and the bytes of one image."""
    found = hashlib.sha256(f"{height} {width} 3\n".encode())
    found.update(pixels)
    return found.digest()


def store_sha256(digests: bytes) -> str:
    """SHA-256 over the digests of all images in their order, so over all shapes and pixels."""
    return hashlib.sha256(digests).hexdigest()


def image_keys(digests: bytes) -> np.ndarray:
    """Keys int64 [N]: the first 8 bytes of each digest."""
    return np.frombuffer(digests, "<i8").reshape(-1, DIGEST_BYTES // 8)[:, 0].astype(np.int64)


def verify(store: Store, progress: bool = True) -> None:
    """Hash every pixel again.

    Raises NlkitError where the file is not what was written, and names the first image that differs.
    """
    digests = bytearray()
    for index in tqdm(range(len(store)), desc="verifying images", disable=not progress):
        pixels, _ = read(store, np.array([index]))
        digest = image_digest(int(store.heights[index]), int(store.widths[index]), pixels)
        if image_keys(digest)[0] != store.keys[index]:
            raise NlkitError(f"{store.pixels}: image {index} is not what was written; {REMEDY}")
        digests += digest
    if store_sha256(bytes(digests)) != store.sha256:
        raise NlkitError(f"{store.pixels}: its sha256 is not {store.sha256[:16]}; {REMEDY}")
