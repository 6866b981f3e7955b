"""Images that were decoded once, to a short side, and lie one after the other in files of a thousand.

<folder>/00000.pixels        the bytes of the first thousand images, each uint8 [H, W, 3] in C order
<folder>/00000.safetensors   their sizes, hashes and faults; written last, so that a shard that has it is finished
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nlkit.data.files import read_arrays, write_arrays
from nlkit.errors import NlkitError
from nlkit.files import replaced_file

SHARD = 1000

Outcome = tuple[np.ndarray, bytes] | str
"""A decoded image uint8 [H, W, 3] and its digest, or what is wrong with it."""


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


def write_shard(pixels: Path, outcomes: Iterable[tuple[int, Outcome]]) -> None:
    """Write the images at some places of a list to a file; raises OSError or SafetensorError."""
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
    columns: dict[str, np.ndarray] = {
        "kept": np.array(kept, np.int64),
        "shapes": np.array(shapes, np.int64).reshape(-1, 2),
        "digests": np.frombuffer(digests, np.uint8).reshape(-1, 32),
    }
    write_arrays(pixels.with_suffix(".safetensors"), columns, {"faults": faults})


def read_shard(pixels: Path) -> Store | None:
    """A shard that was finished; None where it was not, or is damaged.

    The size of the file is compared with the index; pixels are not hashed.
    """
    found = read_arrays(pixels.with_suffix(".safetensors"))
    if found is None or not pixels.is_file():
        return None
    columns, info = found
    heights, widths = columns["shapes"].T.copy()
    ends = np.cumsum(heights * widths * 3)
    if pixels.stat().st_size != (ends[-1] if len(ends) else 0):
        return None
    faults = {int(place): why for place, why in info["faults"].items()}
    offsets = ends - heights * widths * 3
    return Store((pixels,), 0 * offsets, offsets, heights, widths, columns["digests"], columns["kept"], faults)


def join(parts: Sequence[Store]) -> Store:
    """The store of all the shards of a list."""
    return Store(
        files=tuple(file for part in parts for file in part.files),
        shards=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        heights=np.concatenate([part.heights for part in parts]),
        widths=np.concatenate([part.widths for part in parts]),
        digests=np.concatenate([part.digests for part in parts]),
        kept=np.concatenate([part.kept for part in parts]),
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
            _read_run(memoryview(out)[begins[run] : begins[run + 1]], path, int(offsets[first]))
        except OSError as error:
            raise NlkitError(f"{path}: cannot read the stored images ({error.strerror})") from None


def _read_run(part: memoryview, path: Path, offset: int) -> None:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while len(part):
            count = file.readinto(part)  # the kernel gives at most 2 GB at once
            if not count:
                raise NlkitError(f"{path}: the stored images are cut short; remove it, and they are decoded again")
            part = part[count:]


def image_digest(pixels: np.ndarray) -> bytes:
    """SHA-256, 32 bytes, of the shape and the bytes of an image uint8 [H, W, 3]."""
    found = hashlib.sha256(f"{pixels.shape[0]} {pixels.shape[1]} 3\n".encode())
    found.update(pixels.data)
    return found.digest()
