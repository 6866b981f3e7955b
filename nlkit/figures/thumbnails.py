"""Thumbnails of the images that the pages of a run show, in one file beside its record: pages then need no data set."""

import io
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from nlkit.errors import NlkitError
from nlkit.figures.images import Images, gallery_rows
from nlkit.figures.style import groups, snapshots
from nlkit.files import write_atomically
from nlkit.training.records import LOSS_EDGES
from nlkit.training.runs import Run

NAME, LIMIT = "gallery.png", 200_000
"""The file, and the bytes that it may take."""
SIDE, COUNT = 32, 80
"""Pixels of the side of a thumbnail, and thumbnails of a run, at most."""
Thumbnails = dict[int, np.ndarray]
"""Squares uint8 [side, side, 1 or 3] of one size, by the index of their sample."""


def write_gallery(run: Run, data: str | Path | None = None) -> None:
    """Write the thumbnails of a run beside its record, but for digits, which come with scikit-learn.

    Raises NlkitError where the images are not below the data root `data`, or would take more than LIMIT bytes.
    """
    if run.params.data.name != "digits":
        blob = png(run, make(run, run.images(data)))
        if len(blob) > LIMIT:
            raise NlkitError(f"{run.folder / NAME}: would take {len(blob)} bytes, more than {LIMIT}")
        write_atomically(run.folder / NAME, blob)


class ShownImages(dict[int, Any]):
    """The images of a run by index: its thumbnails and, for all others, the data set."""

    def __init__(self, run: Run) -> None:
        super().__init__(read(run))
        self._load = cache(run.images)

    def __missing__(self, index: int) -> Any:
        return self._load()[index]


def at_hand(run: Run) -> Thumbnails:
    """The thumbnails beside a record, else new ones; empty where the images are not on this machine either."""
    found = read(run)
    with suppress(NlkitError):
        found = found or make(run, run.images())
    return found


def read(run: Run) -> Thumbnails:
    """The thumbnails beside a record, empty where there are none; NlkitError where they are damaged or of others."""
    path = run.folder / NAME
    if not path.exists():
        return {}
    try:
        with Image.open(path, formats=["PNG"]) as image:
            told, side = json.loads(image.info[NAME]), image.width
            shape = len(told["samples"]), side, side, -1
            ours = told["data"] == run.record["data"]["sha256"] and {*told["samples"]} <= {*run.samples["index"]}
            whole = side <= SIDE and image.height == side * shape[0] and image.mode in ("L", "RGB")
            if not ours or not whole or shape[0] > COUNT or path.stat().st_size > LIMIT:
                raise ValueError
            return dict(zip(told["samples"], np.asarray(image).reshape(shape), strict=True))
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, Image.DecompressionBombError):
        raise NlkitError(f"{path}: damaged, of other images, or above {LIMIT} bytes; write it anew") from None


def make(run: Run, images: Images) -> Thumbnails:
    """Thumbnails of the samples that pages show: the middle of each image, scaled down where it is larger than SIDE."""
    pictures = {index: picture(np.asarray(images[index])) for index in chosen(run)}
    side = min(SIDE, *(min(picture.size) for picture in pictures.values()))
    return {i: np.asarray(ImageOps.fit(one, (side, side))).reshape(side, side, -1) for i, one in pictures.items()}


def png(run: Run, thumbnails: Thumbnails) -> bytes:
    """One column of thumbnails; a text in the file tells the hash of the data and the indices of the samples."""
    text, file = PngInfo(), io.BytesIO()
    text.add_text(NAME, json.dumps({"data": run.record["data"]["sha256"], "samples": [*thumbnails]}))
    picture(np.concatenate([*thumbnails.values()])).save(file, "PNG", optimize=True, pnginfo=text)
    return file.getvalue()


def picture(pixels: np.ndarray) -> Image.Image:
    """Pillow's image of pixels uint8 [H, W, 1 or 3]."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def chosen(run: Run) -> list[int]:
    """The indices of up to COUNT samples: those of the gallery, then those that serve the viewer best.

    The viewer shows images by recorded epoch, bin of the loss, and group. Each next sample is the one that brings most
    over all recorded epochs, where the first image of a bin and group counts 1, the second a half, and so on.
    """
    rows = list(dict.fromkeys(int(row) for table in gallery_rows(run).values() for row in table.index))[:COUNT]
    second = ~groups(run.samples)[0][2]
    cells = np.stack([(2 * i + second) * len(LOSS_EDGES) + bins for i, bins in enumerate(loss_bins(run).values())], 1)
    seen = np.bincount(cells[rows].ravel(), minlength=int(cells.max()) + 1)
    while len(rows) < min(COUNT, len(cells)):
        worth = (0.5**seen)[cells].sum(axis=1)
        worth[rows] = -1
        rows.append(int(worth.argmax()))
        seen[cells[rows[-1]]] += 1
    return [int(index) for index in run.samples["index"].iloc[rows]]


def loss_bins(run: Run) -> dict[int, np.ndarray]:
    """By recorded epoch the bin [N] of each sample's loss; 65, which is none, where the network did not look at it."""
    losses = {epoch: run.samples[f"loss_{epoch}"].to_numpy(np.float64) for epoch in snapshots(run)}
    return {epoch: np.searchsorted(LOSS_EDGES, one, side="right") - 1 for epoch, one in losses.items()}
