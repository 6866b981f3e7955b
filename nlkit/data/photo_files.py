"""The files of a list of photographs: where each lies, whether some are there, whether all can be decoded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from nlkit.data.decode import flaw
from nlkit.data.listing import inside
from nlkit.data.photo_list import PhotoList
from nlkit.errors import NlkitError

SAMPLE = 200

_BLOCK = 64


@dataclass(frozen=True)
class Sampled:
    """How many files were looked at, and the names of those that are not there or empty."""

    count: int
    lacking: tuple[str, ...]


def photo_path(photos: PhotoList, index: int) -> Path:
    """Where image `index` of a list lies, links followed.

    Names of a list are checked by their text when it is read; this looks at the disk. To be called for each image
    that is opened. Raises NlkitError for a link that leads out of the folder of the list.
    """
    return inside(Path(os.path.realpath(photos.root)), photos.names[index], str(photos.root))


def sample_files(parts: Mapping[str, PhotoList], most: int = SAMPLE) -> Sampled:
    """Whether at most `most` files, evenly spread over the parts of a data set, are there and hold something."""
    everything = [(photos, index) for photos in parts.values() for index in _spread(photos, parts, most)]
    lacking = tuple(photos.names[index] for photos, index in everything if not _is_there(photos, index))
    return Sampled(len(everything), lacking)


def find_flaws(photos: PhotoList, title: str, progress: bool) -> dict[int, str]:
    """What is wrong with each image that cannot be decoded, by its place in the list; every image is decoded.

    In parallel, a block of images at a time, so that memory does not grow with the list.
    """
    blocks = [range(start, min(start + _BLOCK, len(photos))) for start in range(0, len(photos), _BLOCK)]
    flaws: dict[int, str] = {}
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=len(photos), desc=title, unit="image", disable=not progress) as bar,
    ):
        # Pillow warns about odd files from whichever thread reads them; the filter belongs to the process.
        warnings.simplefilter("ignore")
        try:
            for block, found in zip(blocks, pool.map(lambda block: _block_flaws(photos, block), blocks), strict=True):
                flaws.update(found)
                bar.update(len(block))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for a million images
            raise
    return flaws


def _spread(photos: PhotoList, parts: Mapping[str, PhotoList], most: int) -> list[int]:
    """Places in a list, as many as are due to its share of all images, at least one."""
    total = sum(len(part) for part in parts.values())
    count = min(len(photos), max(1, round(most * len(photos) / total)))
    return np.linspace(0, len(photos) - 1, count).astype(int).tolist()


def _is_there(photos: PhotoList, index: int) -> bool:
    try:
        path = photo_path(photos, index)
        return path.is_file() and path.stat().st_size > 0
    except (NlkitError, OSError):
        return False


def _block_flaws(photos: PhotoList, block: range) -> dict[int, str]:
    found = {index: _flaw(photos, index) for index in block}
    return {index: why for index, why in found.items() if why is not None}


def _flaw(photos: PhotoList, index: int) -> str | None:
    try:
        return flaw(photo_path(photos, index))
    except NlkitError:
        return "a link that leaves the folder"
