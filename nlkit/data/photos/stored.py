"""Images of varying sizes that lie in a store: kept on the device where they fit, else read batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from nlkit.data.photos.store import Store, read

SHARE = 0.6  # of a GPU's free memory; a store that needs no more is kept there
BLOCK = 64 * 2**20  # bytes that go to the device in one piece, roughly


@dataclass(frozen=True)
class ImageBatch:
    """B images of sizes of their own, on the device; views of them are squares.

    pixels: uint8 [bytes], in which each image [H, W, 3] lies in C order from its offset on, perhaps among others;
    offsets, heights, widths, keys: int64 [B]; side: of the views, in pixels; largest: no image has more pixels H W,
    which is known without asking the device.
    """

    pixels: Tensor
    offsets: Tensor
    heights: Tensor
    widths: Tensor
    keys: Tensor
    side: int
    largest: int

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def device(self) -> torch.device:
        """The device that holds the pixels."""
        return self.pixels.device

    def split(self, size: int) -> Iterator["ImageBatch"]:
        """Consecutive parts of `size` images; the last one may be short."""
        tables = self.offsets, self.heights, self.widths, self.keys
        for offsets, heights, widths, keys in zip(*(table.split(size) for table in tables), strict=True):
            yield ImageBatch(self.pixels, offsets, heights, widths, keys, self.side, self.largest)


class StoredImages:
    """N images of a store, indexed as a tensor [N, side, side, 3] would be; batches come out on the device."""

    def __init__(self, store: Store, side: int, device: torch.device, most: float | None = None) -> None:
        """Keep the pixels on a GPU where `most` bytes hold them; no image may be smaller than `side`."""
        self.store, self.side, self.device = store, side, device
        self.largest = int((store.heights * store.widths).max(initial=0))
        self.staged = self._everything() if _fits(store, device, most) else None
        tables = np.cumsum(store.sizes) - store.sizes, store.heights, store.widths, store.keys
        self.tables = [torch.from_numpy(table.astype(np.int64)).to(device) for table in tables]
        self.keys = self.tables[-1]

    def __len__(self) -> int:
        return len(self.store)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the plain views of all images: (N, side, side, 3)."""
        return len(self), self.side, self.side, 3

    def __getitem__(self, index: int | slice | Tensor) -> Any:
        """One whole image uint8 [H, W, 3], or a batch of those that a slice or a tensor int64 [B] names."""
        if isinstance(index, int):
            shape = int(self.store.heights[index]), int(self.store.widths[index]), 3
            return self._read(np.array([index])).view(shape)
        offsets, heights, widths, keys = (table[index] for table in self.tables)
        pixels = self.staged
        if pixels is None:
            if isinstance(index, slice):
                index = torch.arange(*index.indices(len(self)))
            pixels = self._read(index.cpu().numpy())
            sizes = 3 * heights * widths
            offsets = sizes.cumsum(0) - sizes
        return ImageBatch(pixels, offsets, heights, widths, keys, self.side, self.largest)

    def split(self, size: int) -> Iterator[ImageBatch]:
        """Consecutive batches of `size` images, each made when it is asked for; the last one may be short."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def _read(self, rows: np.ndarray) -> Tensor:
        """The images with these places in the store, one after the other: uint8 [bytes] on the device."""
        size = int(self.store.sizes[rows].sum())
        # Page-locked memory comes from PyTorch, which does not give it out again while it is on its way to a GPU.
        buffer = torch.empty(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        read(self.store, rows, buffer.numpy())
        return buffer.to(self.device, non_blocking=True)

    def _everything(self) -> Tensor:
        """All images of the store, in their order, brought to the device in blocks."""
        ends = np.cumsum(self.store.sizes)
        whole = torch.empty(int(ends[-1]), dtype=torch.uint8, device=self.device)
        blocks = np.split(np.arange(len(ends)), np.flatnonzero(np.diff(ends // BLOCK)) + 1)
        for rows in tqdm(blocks, desc="images to the device", disable=None, leave=False):
            whole[int(ends[rows[0]] - self.store.sizes[rows[0]]) : int(ends[rows[-1]])] = self._read(rows)
        return whole


Images = Tensor | StoredImages  # a set of images: uint8 [N, H, W, C], or those of a store
Batch = Tensor | ImageBatch  # some images of a set: uint8 [B, H, W, C], or with sizes of their own


def _fits(store: Store, device: torch.device, most: float | None) -> bool:
    """Whether a store should be kept on the device; on a CPU the system's file cache serves as well."""
    if device.type != "cuda" or not len(store):
        return False
    return int(store.sizes.sum()) <= (SHARE * torch.cuda.mem_get_info(device)[0] if most is None else most)
