"""Images of any size and kind to squares of bytes; what cannot be read is told apart, not guessed."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from tqdm.auto import tqdm

from nlkit.data.files import read_bytes
from nlkit.errors import NlkitError
from nlkit.training import checkpoints

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 16 * 2**30


@dataclass(frozen=True)
class Decoded:
    """Squares uint8 [N, S, S, C], C = 1 where every image is grey, else 3; unreadable ones are black, with a fault."""

    images: np.ndarray
    faults: dict[int, str]


class Unreadable(Exception):
    """Why an image cannot be used, in a few words."""


def decode_all(paths: Sequence[Path], side: int, progress: bool = True, cache: Path | None = None) -> Decoded:
    """Decode images in parallel: turned as EXIF says, short side scaled to `side`, centre cut out, RGB or grey.

    `cache` is a file that keeps the result; it is used while paths, sizes and times of the files are the same.
    Raises NlkitError where the squares would not fit into memory, or the cache cannot be written.
    """
    if len(paths) * side * side * 3 > MAX_TOTAL_BYTES:
        raise NlkitError(
            f"{len(paths)} images of side {side} do not fit into {MAX_TOTAL_BYTES >> 30} GiB; lower --size"
        )
    key = _key(paths, side) if cache is not None else ""
    kept = _read_cache(cache, key)
    if kept is not None:
        return kept
    images = np.zeros((len(paths), side, side, 3), np.uint8)

    def one(index: int) -> str | None:
        return guarded(lambda: images.__setitem__(index, _square(paths[index], side)))

    faults = {i: fault for i, fault in enumerate(_in_parallel(one, len(paths), progress)) if fault is not None}
    decoded = Decoded(_without_colour(images), faults)
    if cache is not None:
        _write_cache(cache, key, decoded)
    return decoded


def probe(paths: Sequence[Path], most: int = 500) -> list[int]:
    """Short sides in pixels, from the headers of at most `most` readable images."""
    step = max(1, len(paths) // most)
    found: list[int] = []

    def one(path: Path) -> None:
        with open_image(path) as image:
            found.append(min(image.size))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths[::step][:most]:
            guarded(lambda path=path: one(path))  # type: ignore[misc]
    return found


def flaw(path: Path) -> str | None:
    """What is wrong with an image file, in a few words, or None where all of it can be decoded to RGB."""
    return guarded(lambda: _whole(path))


def _whole(path: Path) -> Image.Image:
    with open_image(path) as image:
        image.load()
        return rgb(ImageOps.exif_transpose(image))


def _in_parallel(work: Callable[[int], str | None], count: int, progress: bool) -> list[str | None]:
    # Pillow warns about odd files from whichever thread reads them; the filter belongs to the process.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")
        done = pool.map(work, range(count))
        return list(tqdm(done, total=count, desc="reading images", disable=not progress))


def guarded(work: Callable[[], object]) -> str | None:
    """What is wrong with a file, or None; a damaged image can raise almost anything."""
    try:
        work()
    except Unreadable as error:
        return str(error)
    except NlkitError as error:
        return str(error).rpartition(": ")[2]
    except Exception as error:
        return f"damaged ({' '.join(str(error).split())[:100] or type(error).__name__})"
    return None


def open_image(path: Path) -> Image.Image:
    """The header of an image file: size and kind are known, pixels are decoded by whoever asks for them.

    Raises Unreadable for what is empty, of another kind or too large, and NlkitError for a file that is not there.
    """
    return parse_image(read_bytes(path, MAX_BYTES))


def parse_image(data: bytes) -> Image.Image:
    """The same of the bytes of an image file."""
    if not data:
        raise Unreadable("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise Unreadable(f"declares more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image of a known kind") from None
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"declares {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
    if not image.width * image.height:
        raise Unreadable("has no pixels")
    return image


def _square(path: Path, side: int) -> np.ndarray:
    """One image as RGB uint8 [S, S, 3]."""
    with open_image(path) as image:
        image.draft("RGB", (2 * side, 2 * side))  # JPEG: decode at a fraction of the size where that is enough
        image.load()
        turned = ImageOps.exif_transpose(image)
        return np.asarray(ImageOps.fit(rgb(turned), (side, side), Image.Resampling.BICUBIC))


def rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: transparent pixels become white, 16 bits become 8."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode == "F":
        raise Unreadable("floating-point pixels, whose range is unknown")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image.convert("RGB")


def _without_colour(images: np.ndarray) -> np.ndarray:
    """One channel where all three agree in every image."""
    parts = np.array_split(images, max(1, len(images) // 1024)) if len(images) else []
    grey = all((part == part[..., :1]).all() for part in parts)
    return np.ascontiguousarray(images[..., :1]) if grey else images


def _key(paths: Sequence[Path], side: int) -> str:
    found = hashlib.sha256(f"1 {side}".encode())
    for path in paths:
        try:
            about = path.stat()
            found.update(f"{os.fsencode(path)!r} {about.st_size} {about.st_mtime_ns}\n".encode())
        except (OSError, ValueError):
            found.update(f"{os.fsencode(path)!r} missing\n".encode())
    return found.hexdigest()


def _read_cache(cache: Path | None, key: str) -> Decoded | None:
    if cache is None or not cache.is_file():
        return None
    try:
        tensors, info = checkpoints.read(cache)
        if info["key"] != key:
            return None
        return Decoded(tensors["images"].numpy(), {int(index): text for index, text in info["faults"].items()})
    except checkpoints.DAMAGE:
        return None


def _write_cache(cache: Path, key: str, decoded: Decoded) -> None:
    try:
        tensors = {"images": torch.from_numpy(decoded.images)}
        checkpoints.write(cache, tensors, {"key": key, "faults": {str(i): why for i, why in decoded.faults.items()}})
    except (OSError, SafetensorError) as error:
        raise NlkitError(f"{cache}: cannot write the decoded images ({error})") from None
