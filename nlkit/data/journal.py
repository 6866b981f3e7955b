"""A store that is being made: a file of pixels, and a journal that tells how far it is known to be right."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlkit.data.store import DIGEST_BYTES, byte_sizes, image_digest

PIXELS, JOURNAL = "pixels.bin", "journal.txt"
MAX_LINE_BYTES = 16 * 2**20

_CHECK = 64


@dataclass(frozen=True)
class Chunk:
    """The images at places `begin` to `end` - 1 of a list of files.

    heights, widths: int64 [n] of those that could be read, in order; digests: 32 bytes of each of them; faults: what
    was wrong with the others, by their place in the list.
    """

    begin: int
    end: int
    heights: np.ndarray
    widths: np.ndarray
    digests: bytes
    faults: dict[int, str]

    @property
    def bytes(self) -> int:
        """Bytes of the pixels."""
        return int(byte_sizes(self.heights, self.widths).sum())


class Unfinished:
    """The two files. What the journal tells is on disk: pixels are forced there before the line that tells of them.

    Every line begins with a SHA-256 over its content and the line before it, the first over the request, so that
    lines that are damaged, missing or of another list are noticed. OSError is left to the caller.
    """

    def __init__(self, folder: Path, request: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._check = request
        self._pixels = (folder / PIXELS).open("a+b")
        self._journal = (folder / JOURNAL).open("a+b")

    def close(self) -> None:
        """Close the files."""
        self._pixels.close()
        self._journal.close()

    def resume(self, progress: Callable[[int], object]) -> list[Chunk]:
        """Chunks that are sound, hashed again; both files are cut after the last of them."""
        chunks: list[Chunk] = []
        lines = pixels = 0
        self._journal.seek(0)
        while line := self._journal.readline(MAX_LINE_BYTES):
            chunk = _parsed(line, self._check)
            if chunk is None or not self._holds(chunk, pixels):
                break
            self._check = line[:_CHECK].decode()
            lines, pixels = lines + len(line), pixels + chunk.bytes
            chunks.append(chunk)
            progress(chunk.end - chunk.begin)
        self._journal.truncate(lines)
        self._pixels.truncate(pixels)
        return chunks

    def write(self, pixels: np.ndarray) -> None:
        """Put an image, uint8 [H, W, 3], after those that are there."""
        self._pixels.write(pixels.data)

    def flush(self) -> None:
        """Hand what was written to the system, so that `commit` may run in another thread."""
        self._pixels.flush()

    def commit(self, chunk: Chunk) -> None:
        """Wait until the pixels are on disk, then add the chunk to the journal."""
        os.fsync(self._pixels.fileno())
        line = _line(chunk, self._check)
        self._journal.write(line)
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._check = line[:_CHECK].decode()

    def _holds(self, chunk: Chunk, offset: int) -> bool:
        """Whether the pixels of a chunk lie at `offset`, unharmed."""
        file = self._pixels.fileno()
        if os.fstat(file).st_size < offset + chunk.bytes:
            return False
        for i, (height, width) in enumerate(zip(chunk.heights.tolist(), chunk.widths.tolist(), strict=True)):
            pixels = os.pread(file, height * width * 3, offset)
            if image_digest(height, width, pixels) != chunk.digests[i * DIGEST_BYTES :][:DIGEST_BYTES]:
                return False
            offset += len(pixels)
        return True


def _line(chunk: Chunk, before: str) -> bytes:
    content = {
        "begin": chunk.begin,
        "end": chunk.end,
        "heights": chunk.heights.tolist(),
        "widths": chunk.widths.tolist(),
        "digests": base64.b64encode(chunk.digests).decode(),
        "faults": {str(place): why for place, why in chunk.faults.items()},
    }
    text = json.dumps(content, separators=(",", ":"))
    return f"{_check(text, before)} {text}\n".encode()


def _check(text: str, before: str) -> str:
    return hashlib.sha256(f"{before} {text}".encode()).hexdigest()


def _parsed(line: bytes, before: str) -> Chunk | None:
    """The chunk of a line; None where it is cut short, altered, or does not follow on the one before."""
    try:
        check, text = line.decode("ascii").split(" ", 1)
        if not text.endswith("\n") or check != _check(text[:-1], before):
            return None
        return _chunk(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _chunk(found: dict[str, Any]) -> Chunk:
    return Chunk(
        begin=found["begin"],
        end=found["end"],
        heights=np.array(found["heights"], np.int64),
        widths=np.array(found["widths"], np.int64),
        digests=base64.b64decode(found["digests"]),
        faults={int(place): why for place, why in found["faults"].items()},
    )
