"""Images of any size and kind to RGB bytes, by many threads; what cannot be read is told apart, not guessed."""

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, cpu_count, delayed
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from nlkit.data.files import DAMAGE, read_tensors, write_tensors
from nlkit.errors import NlkitError
from nlkit.files import open_file
from nlkit.lazy import functional, torch

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 16 * 2**30
MAX_THREADS = 16
LONGEST = 4  # how many times as long as the short side the long one of a stored image may be
LIGHT_BYTES = 128 * 2**20  # an image that takes more while it is decoded waits until no other such image is

_large = threading.RLock()
_Result = TypeVar("_Result")


def decode_all(
    paths: Sequence[Path], side: int, progress: bool, cache: Path | None = None
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode images in parallel: turned as EXIF says, short side scaled to `side`, centre cut out, RGB or grey.

    Returns squares uint8 [N, S, S, C], C = 1 where every image is grey, else 3, and what is wrong with unreadable ones,
    which are black, by index. `cache` is a file that keeps both, and is used while paths, sizes and times of the files
    are the same. Raises NlkitError where the squares would not fit into memory, or the cache cannot be written.
    """
    if len(paths) * side * side * 3 > MAX_TOTAL_BYTES:
        most = f"{MAX_TOTAL_BYTES >> 30} GiB"
        raise NlkitError(f"{len(paths)} images of side {side} do not fit into {most}; lower --size")
    state = state_of_files(f"{side}\n", "", paths)
    with suppress(*DAMAGE):
        tensors, info = read_tensors(cache) if cache is not None else ({}, {})
        if info.get("state") == state:
            return tensors["images"].numpy(), {int(index): why for index, why in info["faults"].items()}
    images = np.zeros((len(paths), side, side, 3), np.uint8)

    def one(index: int) -> None:
        square = ImageOps.fit(read_rgb(paths[index], side), (side, side), Image.Resampling.BICUBIC)
        images[index] = np.asarray(square)

    faults = find_faults(one, len(paths), "reading images", progress)
    parts = np.array_split(images, max(1, len(images) // 1024)) if len(images) else []
    grey = all((part == part[..., :1]).all() for part in parts)  # all three channels agree in every image
    images = np.ascontiguousarray(images[..., :1]) if grey else images
    if cache is not None:
        write_tensors(cache, {"images": torch.from_numpy(images)}, {"state": state, "faults": faults})
    return images, faults


def find_faults(work: Callable[[int], object], count: int, title: str, progress: bool) -> dict[int, str]:
    """Where `work(index)` fails for one of `count` images, by its index: what is wrong; every image is tried."""
    with tqdm(total=count, desc=title, unit="image", disable=not progress) as bar:
        found = in_parallel(lambda index: attempt(lambda: work(index)), range(count), bar)
        return {index: why for index, why in enumerate(found) if isinstance(why, str)}


def probe(paths: Sequence[Path], most: int = 500) -> list[int]:
    """Short sides in pixels, from the headers of at most `most` readable images."""
    some = paths[:: max(1, len(paths) // most)][:most]
    sides = np.zeros(len(some), np.int64)

    def one(index: int) -> None:
        with _open_image(some[index]) as image:
            sides[index] = min(image.size)

    find_faults(one, len(some), "reading sizes", progress=False)
    return sides[sides > 0].tolist()


def read_photo(path: Path, short: int) -> np.ndarray:
    """An image file as RGB uint8 [H, W, 3] with min(H, W) = `short` and max(H, W) at most 4 `short`.

    Read as `read_rgb` reads; the middle is taken where one side is longer than 4 times the other; then scaled with
    antialiased bilinear weights, bit for bit as torchvision's Resize scales bytes.
    """
    image = read_rgb(path, short)
    width, height = (min(side, LONGEST * min(image.size)) for side in image.size)
    if (width, height) != image.size:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    pixels = torch.from_numpy(np.array(image))
    long = short * max(width, height) // min(width, height)
    size = (long, short) if height > width else (short, long)
    if size == (height, width):
        return pixels.numpy()
    # A batch of one with the strides of channels-last saves a copy on either side.
    scaled = functional.interpolate(pixels[None].permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1)[0].contiguous().numpy()


def read_rgb(path: Path, short: int | None = None) -> Image.Image:
    """A whole image in RGB, turned as EXIF says; transparent pixels are white, and 16 bits become 8.

    With `short`, a large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice that many pixels a side. Raises
    NlkitError, or what Pillow raises for a damaged image; `attempt` tells both in a few words.
    """
    with _open_image(path, short) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)


@contextmanager
def _open_image(path: Path, short: int | None = None) -> Iterator[Image.Image]:
    """The header of an image file: size and kind are known, pixels are decoded by whoever asks for them inside."""
    with open_file(path, MAX_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise NlkitError("empty file")
        with _turn(size):
            try:
                image: Image.Image = Image.open(file, formats=FORMATS)
            except Image.DecompressionBombError:
                raise NlkitError(f"declares more than {MAX_PIXELS:,} pixels") from None
            except Image.UnidentifiedImageError:
                raise NlkitError("not an image of a known kind") from None
            pixels = image.width * image.height
            if not 0 < pixels <= MAX_PIXELS:
                raise NlkitError(f"declares {image.width} x {image.height} pixels; expected 1 to {MAX_PIXELS:,}")
            if short is not None:
                image.draft("RGB", (2 * short, 2 * short))
            # Copies for turning, transparency and NumPy; a progressive JPEG keeps coefficients of its whole size.
            with _turn(24 * image.width * image.height + (6 * pixels if image.format == "JPEG" else 0)):
                yield image


def attempt(work: Callable[[], _Result]) -> _Result | str:
    """What `work` returns, or in a few words what is wrong with its file; a damaged one can raise almost anything."""
    try:
        return work()
    except NlkitError as error:
        return str(error).rpartition(": ")[2]
    except Exception as error:
        return f"damaged ({' '.join(str(error).split())[:100] or type(error).__name__})"


def in_parallel(work: Callable[[Any], _Result], items: Sequence[Any], bar: tqdm) -> Generator[_Result]:
    """`work(item)` for each item, in their order, by one thread a core; the bar counts them."""
    threads = Parallel(min(MAX_THREADS, cpu_count()), prefer="threads", return_as="generator")
    # Pillow warns about odd files from whichever thread reads them, and the filter belongs to the process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with closing(threads(delayed(work)(item) for item in items)) as results:
            for result in results:
                bar.update()
                yield result


def state_of_files(head: str, root: str, names: Iterable[str | Path]) -> str:
    """SHA-256 of `head`, and of name, size and time of change of each file below `root`, and whether it can be read."""
    found = hashlib.sha256(os.fsencode(head))
    for name in names:
        path = os.path.join(root, name)
        try:
            about = os.stat(path)
            state = f" {about.st_size} {about.st_mtime_ns} {os.access(path, os.R_OK)}\n"
        except (OSError, ValueError):
            state = " missing\n"
        found.update(os.fsencode(name) + state.encode())
    return found.hexdigest()


def _turn(needed: int) -> AbstractContextManager[object]:
    """A lock for what takes much memory, so that large images are decoded one at a time."""
    return _large if needed > LIGHT_BYTES else nullcontext()


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise NlkitError("floating-point pixels, whose range is unknown")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, "white")
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
