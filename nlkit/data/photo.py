"""One photograph as bytes, by one rule: decoded, turned, cut to at most 4 to 1, its short side scaled."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from nlkit.data.decode import MAX_BYTES, parse_image, rgb
from nlkit.data.files import is_file, read_bytes
from nlkit.data.jpeg import decoder, plain_size

RULE = 1
LONGEST = 4
WORK_BYTES = 2**30
LIGHT_BYTES = 16 * 2**20

_ORIENTATION = 0x0112
_STRIP_PIXELS = 2**20
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


def read_photo(path: Path, short: int) -> np.ndarray:
    """An image file as RGB uint8 [H, W, 3] with min(H, W) = `short` and max(H, W) at most 4 `short`.

    Turned as EXIF says; the middle is taken where one side is longer than 4 times the other; then scaled with
    antialiased bilinear weights, bit for bit as torchvision's Resize scales bytes. Large JPEGs are decoded at 1/2, 1/4
    or 1/8, never below twice `short`. Raises Unreadable, NlkitError or what Pillow raises for a file that is no image.
    """
    pixels = _small_jpeg(path, short)
    if pixels is None:
        pixels = _any_image(path, short)
    return _scaled(_middle(pixels), short)


def stored_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Height and width that `read_photo` gives an image of this size."""
    long = short * min(max(width, height), LONGEST * min(width, height)) // min(width, height)
    return (long, short) if height > width else (short, long)


class _Budget:
    """Bytes that the threads of a process share: the sum of what they hold stays below it, or one works alone."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def share(self, needed: int) -> Iterator[None]:
        """Wait until `needed` bytes, at most all, are free, and hold them; little is not counted."""
        held = min(needed, self._total) if needed > LIGHT_BYTES else 0
        if held:
            with self._changed:
                self._changed.wait_for(lambda: self._free >= held)
                self._free -= held
        try:
            yield
        finally:
            if held:
                with self._changed:
                    self._free += held
                    self._changed.notify_all()


_BUDGET = _Budget(WORK_BYTES)


def _work_bytes(image: Image.Image, whole: tuple[int, int]) -> int:
    """An upper estimate of what decoding takes; a progressive JPEG keeps coefficients of its whole size."""
    coefficients = 6 * whole[0] * whole[1] if image.format == "JPEG" else 0
    return 16 * image.width * image.height + coefficients


def _small_jpeg(path: Path, short: int) -> Tensor | None:
    """RGB uint8 [H, W, 3] of a plain JPEG that is decoded at its size, the usual case; None for all others."""
    data = _small_file(path)
    size = None if data is None else plain_size(data)
    if data is None or size is None or min(size) >= 4 * short or 16 * size[0] * size[1] > LIGHT_BYTES:
        return None
    return _decoded(data)


def _small_file(path: Path) -> bytearray | None:
    """Content of a file of at most LIGHT_BYTES; None or nothing where it is not that simple."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe without a writer would block
    except (OSError, ValueError):
        return None
    try:
        size = os.fstat(file).st_size
        data = bytearray(size if size <= LIGHT_BYTES else 0)
        return data if os.readv(file, [data]) == size else None
    except OSError:
        return None
    finally:
        os.close(file)


def _any_image(path: Path, short: int) -> Tensor:
    """RGB uint8 [H, W, 3] of an image of any kind, turned."""
    # A large file takes all the memory before it is read; any other one takes its share once its size is known.
    large = is_file(path) and path.stat().st_size > LIGHT_BYTES
    with _BUDGET.share(WORK_BYTES if large else 0):
        data = read_bytes(path, MAX_BYTES)
        with parse_image(data) as image:
            whole = image.size
            image.draft("RGB", (2 * short, 2 * short))
            with _BUDGET.share(0 if large else _work_bytes(image, whole)):
                found = None
                if image.format == "JPEG" and image.mode == "RGB" and image.size == whole:
                    found = _decoded(data)
                return _turned(image, found)


def _turned(image: Image.Image, found: Tensor | None) -> Tensor:
    """Pixels of an image, decoded here unless `found`, turned as EXIF says."""
    if found is None:
        image.load()
    pixels = _pixels(image) if found is None else found.numpy()
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1), np.asarray)
    return torch.from_numpy(np.ascontiguousarray(turn(pixels)))


def _decoded(data: bytes | bytearray) -> Tensor | None:
    """The fast decoder's result; None where there is none, or for a damaged file, for which Pillow has words."""
    decode = decoder()
    if decode is None:
        return None
    try:
        return decode(data)
    except RuntimeError:
        return None


def _pixels(image: Image.Image) -> np.ndarray:
    """A decoded image as RGB uint8 [H, W, 3]; in strips, since conversions hold several copies."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        return np.array(rgb(image))  # a copy, since PyTorch wants to be able to write
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        pixels[top : top + rows] = np.asarray(rgb(image.crop((0, top, width, min(top + rows, height)))))
    return pixels


def _middle(pixels: Tensor) -> Tensor:
    height, width = pixels.shape[:2]
    most = LONGEST * min(height, width)
    if max(height, width) <= most:
        return pixels
    top, left = max(0, (height - most) // 2), max(0, (width - most) // 2)
    return pixels[top : top + most, left : left + most].contiguous()


def _scaled(pixels: Tensor, short: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    size = stored_size(width, height, short)
    if size == (height, width):
        return pixels.numpy()
    # A batch of one with the strides of channels-last saves a copy on either side.
    scaled = interpolate(pixels[None].permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1)[0].contiguous().numpy()
