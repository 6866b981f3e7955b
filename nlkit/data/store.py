"""Images that were decoded once, to a short side, and lie one after the other in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


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
