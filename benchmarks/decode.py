"""Images a second from JPEG files: our image store, and a plain loop over torchvision, in turn in one process.

python -m benchmarks.decode [--images N] [--short 256 320] [--cores 1 2] [--repeats R] [--memory N] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from PIL import Image, ImageDraw
from torchvision.io import decode_image
from torchvision.transforms.v2.functional import resize
from tqdm.auto import tqdm

from benchmarks.rows import RESULTS, Row, append, make_row
from nlkit.data.photos import PhotoList
from nlkit.data.photos import decode as decoding
from nlkit.data.photos.decode import in_parallel, read_photo
from nlkit.data.photos.store import build

WIDTH, HEIGHT, QUALITY = 500, 375, 90
DISTINCT = 500
VARIANTS = ("loop", "decode", "loop-stored", "build")

Work = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the variants in turn, on one core and on all, print them, and append a row for each."""
    options = parse(arguments)
    if options.peak:
        print(peak_of_build(options.peak, options.short[0]))
        return
    warnings.simplefilter("ignore")  # torchvision announces that its decoders will go
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        photos = generate(Path(folder) / "images", options.images)
        kilobytes = sum(path.stat().st_size for path in photos.root.iterdir()) / len(photos) / 1000
        source = f"JPEG {WIDTH} x {HEIGHT}, quality {QUALITY}, {kilobytes:.0f} kB each"
        for short in options.short:
            for cores in options.cores:
                rows += measure(photos, short, cores, options.repeats, f"{source}; {options.note}".rstrip("; "))
        if options.memory:
            report_memory(Path(folder) / "many", options.memory, options.short[0])
    if not options.dry_run:
        append(rows, options.out)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Images a second from JPEG files, ours and a plain loop.")
    parser.add_argument("--images", type=int, default=1000, help="images of a timed pass (default: 1000)")
    parser.add_argument("--short", type=int, nargs="+", default=[256, 320], help="short sides (default: 256 320)")
    parser.add_argument("--cores", type=int, nargs="+", default=sorted({1, cpu_count()}), help="default: one, and all")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes of each variant (default: 5)")
    parser.add_argument("--memory", type=int, default=20_000, help="images whose peak memory is measured; 0: none")
    parser.add_argument("--folder", type=Path, help="where the temporary files go (default: the system's place)")
    parser.add_argument("--note", default="", help="text for the last column")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that gets the rows")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def generate(folder: Path, count: int) -> PhotoList:
    """`count` JPEG files in a folder, at most DISTINCT different ones; the others are links to them."""
    folder.mkdir()
    names = [f"{index:06d}.jpg" for index in range(count)]
    for index, name in enumerate(names):
        if index < DISTINCT:
            picture(index).save(folder / name, quality=QUALITY)
        else:
            os.link(folder / names[index % DISTINCT], folder / name)
    return PhotoList(folder, names, np.zeros(count, np.int64))


def picture(seed: int) -> Image.Image:
    """Noise at several scales, as photographs have it, and some shapes."""
    rng = np.random.default_rng(seed)
    ground = np.full((HEIGHT, WIDTH, 3), 128.0)
    for side, strength in ((4, 60), (16, 35), (64, 18), (250, 8), (500, 4)):
        small = rng.normal(0, strength, (3, side, side)).astype(np.float32)
        planes = [Image.fromarray(plane).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for plane in small]
        ground += np.stack([np.asarray(plane) for plane in planes], 2)
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for shape in (draw.ellipse, draw.rectangle) * 4:
        left, top, width, height = rng.integers(0, [WIDTH, HEIGHT, 150, 150]).tolist()
        shape([left, top, left + width, top + height], fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def measure(photos: PhotoList, short: int, cores: int, repeats: int, note: str) -> list[Row]:
    """Time the variants in turn: CPU seconds on one core, which other jobs do not disturb, else seconds."""
    clock = time.process_time if cores == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with limited(cores):
        for turn in range(-1, repeats):
            for name in VARIANTS[turn % 4 :] + VARIANTS[: turn % 4]:
                with tempfile.TemporaryDirectory(dir=photos.root.parent) as folder:
                    work = variants(photos, short, cores, Path(folder))[name]
                    begin = clock()
                    work()
                    if turn >= 0:
                        seconds[name].append(clock() - begin)
        device, kind = torch.device("cpu"), "CPU seconds" if cores == 1 else "seconds"
        note = f"{kind} on {cores} of {os.cpu_count()} cores; {note}; load average {os.getloadavg()[0]:.1f}"
        rows = [
            make_row(f"decode-{short}", name, len(photos), seconds[name], device, "uint8", note) for name in VARIANTS
        ]
    for row in rows:
        ratio = np.median(np.array(seconds["loop"]) / np.array(seconds[row.variant]))
        speed = f"{row.images_per_second:8.0f} images/s  {ratio:5.2f} x loop"
        print(f"{row.benchmark}  {cores} cores  {row.variant:<12}{speed}")
    return rows


@contextmanager
def limited(cores: int) -> Iterator[None]:
    """Threads of PyTorch and of the store, for a while."""
    before = torch.get_num_threads(), decoding.MAX_THREADS
    torch.set_num_threads(cores)
    decoding.MAX_THREADS = cores
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        decoding.MAX_THREADS = before[1]


def variants(photos: PhotoList, short: int, cores: int, folder: Path) -> dict[str, Work]:
    """The plain loop and our decoding, which keep nothing; the loop with a file, and a whole store, hashed too."""
    paths = [photos.root / name for name in photos.names]

    def loop() -> None:
        for path in paths:
            resize(decode_image(str(path)), [short], antialias=True)

    def loop_stored() -> None:
        with (folder / "pixels.bin").open("wb") as file:
            for path in paths:
                image = resize(decode_image(str(path)), [short], antialias=True)
                file.write(image.permute(1, 2, 0).contiguous().numpy().data)
            os.fsync(file.fileno())

    def decode() -> None:
        for _ in in_parallel(lambda path: read_photo(path, short), paths, tqdm(disable=True)):
            pass

    def decode_plainly() -> None:
        for path in paths:
            read_photo(path, short)

    return {
        "loop": loop,
        "decode": decode_plainly if cores == 1 else decode,
        "loop-stored": loop_stored,
        "build": lambda: build(photos, short, folder, "fail", progress=False),
    }


def report_memory(folder: Path, count: int, short: int) -> None:
    """Build a store of many images in a process of its own and print the peak of its memory."""
    generate(folder, count)
    command = [sys.executable, "-m", "benchmarks.decode", "--peak", str(folder), "--short", str(short)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    print(f"memory of a build of {count} images at short side {short}: {found.stdout.strip()}")


def peak_of_build(folder: Path, short: int) -> str:
    """Build the store of the files of a folder; what this process took, before and at most."""
    names = sorted(path.name for path in folder.iterdir())
    photos = PhotoList(folder, names, np.zeros(len(names), np.int64))
    before = peak_megabytes()
    store = build(photos, short, folder.parent / "stores", "fail", progress=False)
    size = store.sizes.sum() / 1e6
    return f"peak {peak_megabytes():.0f} MB, of which {before:.0f} MB are imports; the store has {size:.0f} MB"


def peak_megabytes() -> float:
    """Peak resident memory of this process; getrusage would count that of its parent too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
