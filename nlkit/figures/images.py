"""Galleries of training images with what is known about their labels, and thumbnails for pages without a data set."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from nlkit.errors import NlkitError
from nlkit.figures.style import CLEAN, NOISY, WIDTH, groups, snapshots, threshold
from nlkit.files import write_atomically
from nlkit.training.records import LOSS_EDGES
from nlkit.training.runs import Run

COLUMNS = 6  # images in a row of the page's width
NAME, LIMIT = "gallery.png", 200_000  # the file, and the bytes that it may take
SIDE, COUNT = 32, 80  # pixels of the side of a thumbnail, and thumbnails of a run, at most
Images = Any
"""Images to be taken one by one: `images[i]` is uint8 [H, W, 1 or 3]."""
Thumbnails = dict[int, np.ndarray]
"""Squares uint8 [side, side, 1 or 3] of one size, by the index of their sample."""


def gallery_rows(run: Run, count: int = COLUMNS) -> dict[str, pd.DataFrame]:
    """Samples to show, by row title; the last two rows need clean labels.

    Surest errors: trusted least, and the networks are most confident of another label. Hardest clean: correct
    labels trusted least. Mistakes of the split: wrong labels trusted most.
    """
    samples = run.samples.astype({"p_clean": np.float64, "confidence": np.float64})
    doubted = samples[samples["prediction"] != samples["noisy"]]
    doubted = doubted[doubted["p_clean"] <= threshold(run)]
    rows = {"surest label errors": doubted.sort_values(["confidence", "p_clean"], ascending=[False, True])}
    if "clean" in samples:
        right = samples["noisy"] == samples["clean"]
        rows["hardest correct labels"] = samples[right].sort_values(["p_clean", "confidence"])
        trusted = samples[~right & (samples["p_clean"] > threshold(run))]
        rows["wrong labels that the split trusts"] = trusted.sort_values("p_clean", ascending=False, kind="stable")
    return {title: table.head(count) for title, table in rows.items() if len(table)}


def voters(run: Run, count: int = 4) -> dict[int, list[int]]:
    """A few neighbours of a few of the first images, wrongly labelled ones before others; empty without a vote."""
    last = run.epochs.iloc[-1]
    if last.get("votes") is None:
        return {}
    near = np.reshape(last["neighbours"], (len(last["votes"]) // len(run.record["data"]["classes"]), -1))
    shown = run.samples.head(len(near))
    wrong = (shown["noisy"] != shown.get("clean", shown["noisy"])).to_numpy()
    picks = [*np.flatnonzero(wrong)[: count - 1], *np.flatnonzero(~wrong)][:count]
    return {int(one): near[one, :count].tolist() for one in picks}


def gallery(run: Run, images: Images, count: int = COLUMNS) -> Figure:
    """Training images by row: given label (blue: correct, vermilion: wrong), P(clean) and, after it, the guess."""
    rows = gallery_rows(run, count)
    names = run.record["data"]["classes"]
    figure, axes = image_grid(len(rows), count)
    for line, (title, table) in zip(axes, rows.items(), strict=True):
        heading(line[0], title)
        for ax, (_, sample) in zip(line, table.iterrows(), strict=False):
            show(ax, images[int(sample["index"])])
            text = f"{names[int(sample['noisy'])]}\n{sample['p_clean']:.2f}\n→ {names[int(sample['prediction'])]}"
            known = "clean" in sample
            colour = (CLEAN if sample["noisy"] == sample["clean"] else NOISY) if known else "black"
            ax.text(0.5, 1.04, text, transform=ax.transAxes, ha="center", va="bottom", color=colour)
    return figure


def noise_gallery(
    images: Images, clean: np.ndarray, noisy: np.ndarray, names: Sequence[str], count: int = 10
) -> Figure:
    """The first wrongly labelled image of each class: true class above, observed label below."""
    wrong = [np.flatnonzero((clean == c) & (noisy != c)) for c in range(len(names))]
    picks = [int(index[0]) for index in wrong if len(index)][:count]
    figure, axes = image_grid(2, max(-(-len(picks) // 2), 1), extra=0.5)
    for ax, i in zip(axes.flat, picks, strict=False):
        show(ax, images[i])
        ax.set_title(f"is {names[clean[i]]}", color=CLEAN)
        below = f"label {names[noisy[i]]}"
        ax.text(0.5, -0.08, below, transform=ax.transAxes, ha="center", va="top", color=NOISY)
    return figure


def image_grid(rows: int, columns: int, extra: float = 0.95) -> tuple[Figure, np.ndarray]:
    """Axes [rows, columns] for square images, with `extra` inches a row for text."""
    side = min(WIDTH / columns, 1.0)
    height = (side + extra) * rows
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.25 / height))
    figure, axes = plt.subplots(rows, columns, figsize=(side * columns, height), squeeze=False, layout=layout)
    for ax in axes.flat:
        ax.set_axis_off()
    return figure, axes


def heading(ax: Axes, title: str, height: float = 1.62) -> None:
    """A title over the first image of a row, at a height in images; it may be wider, so the layout leaves it out."""
    ax.text(0, height, title, transform=ax.transAxes, fontweight="bold").set_in_layout(False)


def show(ax: Axes, image: Any) -> None:
    """One image uint8 [H, W, 1 or 3], an array or a tensor on the CPU."""
    image = np.asarray(image)
    grey = image.shape[-1] == 1
    pixels, colours = (image[..., 0], "gray_r") if grey else (image, None)
    ax.imshow(pixels, colours, vmin=0, vmax=255, interpolation="none")  # or it is stored enlarged


def write_gallery(run: Run, data: str | Path | None = None) -> None:
    """Write the thumbnails of a run beside its record, but for digits, which come with scikit-learn.

    Raises NlkitError where the images are not below the data root `data`, or would take more than LIMIT bytes.
    """
    if run.params.data.name != "digits":
        blob = png(run, make_thumbnails(run, run.images(data)))
        if len(blob) > LIMIT:
            raise NlkitError(f"{run.folder / NAME}: would take {len(blob)} bytes, more than {LIMIT}")
        write_atomically(run.folder / NAME, blob)


class ShownImages(dict[int, Any]):
    """The images of a run by index: its thumbnails and, for all others, the data set."""

    def __init__(self, run: Run) -> None:
        super().__init__(read_thumbnails(run))
        self._load = cache(run.images)

    def __missing__(self, index: int) -> Any:
        return self._load()[index]


def at_hand(run: Run) -> Thumbnails:
    """The thumbnails beside a record, else new ones; empty where the images are not on this machine either."""
    found = read_thumbnails(run)
    with suppress(NlkitError):
        found = found or make_thumbnails(run, run.images())
    return found


def read_thumbnails(run: Run) -> Thumbnails:
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


def make_thumbnails(run: Run, images: Images) -> Thumbnails:
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
    """The indices of up to COUNT samples: those of the gallery, of retrieved labels, then those for the viewer.

    The viewer shows images by recorded epoch, bin of the loss, and group. Each next sample is the one that brings most
    over all recorded epochs, where the first image of a bin and group counts 1, the second a half, and so on.
    """
    wanted = [row for table in gallery_rows(run).values() for row in table.index]
    wanted += [row for one, near in voters(run).items() for row in (one, *near)]
    rows = list(dict.fromkeys(map(int, wanted)))[:COUNT]
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
