"""Plain JPEGs by torchvision's decoder, which takes two thirds of Pillow's time and gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Decoder = Callable[[bytes | bytearray], Tensor]

_SIZES = (0xC0, 0xC1, 0xC2)  # start of frame: baseline, extended, progressive
_LEADING = (*range(0xE0, 0xF0), 0xDB, 0xC4, 0xDD, 0xFE)  # application data, tables, restart interval, comment
_EXIF = 0xE1


def plain_size(data: bytes | bytearray) -> tuple[int, int] | None:
    """Width and height of a JPEG of 3 components of 8 bits that may not be turned; None for anything else or odd.

    Only the header is looked at: segments up to the first frame, none of them EXIF or XMP.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker in _SIZES:
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            plain = data[at + 4] == 8 and data[at + 9] == 3 and width > 0 and height > 0
            return (width, height) if plain else None
        if marker not in _LEADING or marker == _EXIF or length < 2:
            return None
        at += 2 + length
    return None


@cache
def decoder() -> Decoder | None:
    """A function from the bytes of a JPEG of 3 components to RGB uint8 [H, W, 3]; it raises RuntimeError.

    None where torchvision has no such decoder, as later versions may not, or one that differs from Pillow's.
    """
    try:
        from torchvision.io import ImageReadMode

        operation, mode = torch.ops.image.decode_jpeg, ImageReadMode.RGB.value

        def decode(data: bytes | bytearray) -> Tensor:
            found: Tensor = operation(torch.frombuffer(_writable(data), dtype=torch.uint8), mode, False)
            return found.permute(1, 2, 0)

        return decode if _agrees(decode) else None
    except (ImportError, AttributeError, RuntimeError, TypeError):
        return None


def _writable(data: bytes | bytearray) -> bytearray:
    return data if isinstance(data, bytearray) else bytearray(data)


def _agrees(decode: Decoder) -> bool:
    """Whether a decoder gives what Pillow gives for each way of halving colours."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "JPEG", subsampling=subsampling)
        if not np.array_equal(decode(file.getvalue()).numpy(), np.asarray(Image.open(file))):
            return False
    return True
