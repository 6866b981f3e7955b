"""Small data sets in the official layouts: images of many sizes and kinds, some of them unusable.

Each function makes one data set below `folder`, which is then the data root, and returns what a loader should find.
The class of an image shows in its colour.
"""

import colorsys
import gzip
import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nlkit.data import cifar
from nlkit.noise import human

Labels = dict[str, int]

FLAWS = {"truncated": "damaged", "zero": "empty file", "missing": "no such file", "html": "not an image of a known"}
"""The ways in which an image can be unusable, and how the reason begins."""
KINDS = ("grey", "cmyk", "rotated", "png")


@dataclass(frozen=True)
class Expected:
    """What a loader should find: labels by name and in order, of the training images and of each test set.

    flaws: how each unusable training image is damaged, by name.
    """

    train: Labels
    tests: Mapping[str, Labels]
    class_names: tuple[str, ...]
    flaws: dict[str, str]


def webvision_tree(folder: Path, imagenet: str = "numbers", each: int = 4) -> Expected:
    """Mini-WebVision with `each` training images for each of its 50 classes, and lists that name ten classes more."""
    rng, root = random.Random(0), folder / "webvision"
    synsets = [f"n{1440764 + 37 * label:08d}" for label in range(1000)]
    names = [f"creature {label}" for label in range(1000)]
    train = {f"google/q{label + 1:04d}/photo-{i}_{label}.jpg": label for i in range(each) for label in range(50)}
    test = {f"val{i * 50 + label + 1:06d}.jpg": label for i in range(each // 2) for label in range(50)}
    others = {f"google/q{label + 1:04d}/other-{label}.jpg": label for label in range(50, 60)}
    other_tests = {f"val{label + 900:06d}.jpg": label for label in range(50, 60)}
    _lines(root / "info/synsets.txt", [f"{synsets[c]} {names[c]}, Bestia {c}" for c in range(1000)])
    _lines(root / "info/train_filelist_google.txt", _shuffled(train | others, rng))
    _lines(root / "info/val_filelist.txt", _shuffled(test | other_tests, rng))
    flaws = _photos(root, train, 50, rng, tuple(FLAWS))
    _photos(root / "val_images_256", test, 50, rng)
    tests = {"test": _in_order(root / "info/val_filelist.txt", test)}
    if imagenet != "none":
        folders = [str(label) for label in range(50)] if imagenet == "numbers" else synsets[:50]
        photos = {f"{folders[c]}/ILSVRC2012_val_{50 * i + c:08d}.JPEG": c for c in range(50) for i in range(each // 2)}
        _photos(root / "imagenet/val", photos, 50, rng)
        tests["imagenet"] = photos
    train = _in_order(root / "info/train_filelist_google.txt", train)
    return Expected(train, tests, tuple(names[:50]), flaws)


def food101n_tree(folder: Path) -> Expected:
    """Food-101N with two training images for each of the 101 classes, and one of Food-101's test images."""
    rng, root, test_root = random.Random(0), folder / "food-101n", folder / "food-101"
    names = tuple(f"dish_{label:03d}" for label in range(101))
    train = {f"{names[c]}/{rng.getrandbits(128):032x}.jpg": c for c in range(101) for _ in range(2)}
    test = {f"{names[c]}/{1000 + c}.jpg": c for c in rng.sample(range(101), 101)}
    _lines(root / "meta/classes.txt", ["class_name", *names])
    _lines(root / "meta/imagelist.tsv", ["class_name/key", *train])
    for part, some in (("train", list(train)[::4]), ("val", list(train)[1::16])):
        rows = [f"{name}\t{int(i % 5 > 0)}" for i, name in enumerate(some)]
        if part == "train":
            rows.append(f"{names[0]}/in_no_list.jpg\t1")
        _lines(root / f"meta/verified_{part}.tsv", ["class_name/key\tverification_label", *rows])
    _lines(test_root / "meta/classes.txt", list(names))
    _lines(test_root / "meta/test.txt", [name.removesuffix(".jpg") for name in test])
    flaws = _photos(root / "images", train, 101, rng, tuple(FLAWS))
    _photos(test_root / "images", test, 101, rng)
    return Expected(train, {"test": test}, names, flaws)


def clothing1m_tree(folder: Path, inner: str = "images/") -> Expected:
    """Clothing1M with 14 training, 3 validation and 3 test images a class; `inner` '' leaves the folder images out."""
    rng, root = random.Random(0), folder / "clothing1m"
    names = tuple(f"Garment {label}" for label in range(14))
    keys = [f"{i % 10}/{i % 100:02d}/{rng.randrange(10**9)},{i}.jpg" for i in range(14 * 21)]
    rng.shuffle(keys)
    labels = {f"images/{key}": i % 14 for i, key in enumerate(keys)}
    order = list(labels)
    parts = {"noisy_train": order[: 14 * 14], "clean_train": order[14 * 14 : 14 * 15]}
    parts |= {"clean_val": order[14 * 15 : 14 * 18], "clean_test": order[14 * 18 :]}
    _lines(root / "category_names_eng.txt", list(names))
    for part, some in parts.items():
        _lines(root / f"{part}_key_list.txt", some)
    # Some images have labels of both kinds, which differ; the loader must take the one of its list.
    clean = {key: labels[key] for part in ("clean_train", "clean_val", "clean_test") for key in parts[part]}
    both = {key: (clean[key] + 1) % 14 for key in parts["clean_test"][:9]}
    noisy = {key: labels[key] for key in parts["noisy_train"]}
    _lines(root / "noisy_label_kv.txt", _shuffled(noisy | both, rng))
    _lines(root / "clean_label_kv.txt", _shuffled(clean, rng))

    def found(part: str) -> Labels:
        return {key.replace("images/", inner): labels[key] for key in parts[part]}

    flaws = _photos(root, found("noisy_train"), 14, rng, tuple(FLAWS))
    tests = {"test": found("clean_test"), "val": found("clean_val")}
    for photos in tests.values():
        _photos(root, photos, 14, rng)
    return Expected(found("noisy_train"), tests, names, flaws)


def animal10n_tree(folder: Path) -> Expected:
    """Animal-10N with 20 training and 5 test images a class; no image is missing, since there is no list."""
    rng, root = random.Random(0), folder / "animal10n"
    train = {f"{c}_{i * 10 + c}.jpg": c for c in range(10) for i in range(20)}
    test = {f"{c}_{i * 10 + c}.jpg": c for c in range(10) for i in range(20, 25)}
    train, test = dict(sorted(train.items())), dict(sorted(test.items()))
    flaws = _photos(root / "training", train, 10, rng, ("truncated", "zero", "html"))
    _photos(root / "testing", test, 10, rng)
    (root / "training/readme.txt").write_text("not an image")
    names = ("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster", "guinea pig")
    return Expected(train, {"test": test}, names, flaws)


def cifar_folder(root: Path, name: str = "cifar10", protocol: int = 2) -> Path:
    """A folder of CIFAR with as many images as `nlkit.data.cifar` asks for, to which tests give small numbers."""
    rng = np.random.default_rng(0)
    layout = cifar.LAYOUTS[name]
    folder = root / layout.folder
    folder.mkdir(parents=True)
    *train_files, test_file, names_file = layout.files
    counts = dict.fromkeys(train_files, cifar.TRAIN_COUNT // len(train_files))
    for file, count in {**counts, test_file: cifar.TEST_COUNT}.items():
        rows = rng.integers(0, 256, (count, cifar.ROW_BYTES), dtype=np.uint8)
        labels = rng.integers(0, layout.classes, count).tolist()
        batch = {"batch_label": file, layout.label_key: labels, "data": rows}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=protocol))
    names = {layout.names_key: [f"class {index}" for index in range(layout.classes)]}
    (folder / names_file).write_bytes(pickle.dumps(names, protocol=protocol))
    return folder


def human_file(folder: Path, name: str, clean: np.ndarray, ending: str, **changes: Any) -> Path:
    """Human labels for given clean labels, as `.npz` or `.pt`; returns the file."""
    rng = np.random.default_rng(1)
    kept = human.HUMAN_FILES[name]
    classes = cifar.LAYOUTS[kept.dataset].classes
    arrays: dict[str, Any] = {"clean_label": clean}
    for key in kept.keys.values():
        arrays[key] = np.where(rng.random(len(clean)) < 0.3, rng.integers(0, classes, len(clean)), clean)
    arrays.update(changes)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / next(file for file in kept.files if file.endswith(ending))
    if ending == ".npz":
        np.savez(path, **arrays)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(arrays, protocol=2))
            archive.writestr("archive/version", "3\n")
    return path


def label_file(path: Path, values: Any, **more: Any) -> Path:
    """Labels as `.json`, `.npy`, or `.npz` with more arrays; returns the file."""
    if path.suffix == ".json":
        path.write_text(json.dumps(values))
    else:
        np.save(path, values) if path.suffix == ".npy" else np.savez(path, labels=values, **more)
    return path


def mnist_files(folder: Path, place: str = "MNIST/raw", packed: bool = False) -> dict[str, np.ndarray]:
    """The four idx files of MNIST, or, in `FashionMNIST/raw`, of Fashion-MNIST; returns what they hold by name."""
    rng, root = np.random.default_rng(0), folder / place
    root.mkdir(parents=True)
    arrays = {}
    for part, count in (("train", 200), ("t10k", 50)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count, dtype=np.uint8)
    for name, array in arrays.items():
        content = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
        (root / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return arrays


TREES: dict[str, Callable[..., Expected]] = {"webvision": webvision_tree, "food101n": food101n_tree}
TREES |= {"clothing1m": clothing1m_tree, "animal10n": animal10n_tree}


def _photos(root: Path, labels: Labels, hues: int, rng: random.Random, flaws: tuple[str, ...] = ()) -> dict[str, str]:
    """Write images of 20 to 60 pixels, three of each odd kind and one for each flaw; returns the flaws by name."""
    odd = rng.sample(list(labels), 3 * len(KINDS) + len(flaws))
    kinds = {name: KINDS[i % len(KINDS)] for i, name in enumerate(odd[len(flaws) :])}
    broken = dict(zip(odd, flaws, strict=False))
    for name, label in labels.items():
        height, width = rng.randint(20, 60), rng.randint(20, 60)
        colour = np.array(colorsys.hsv_to_rgb(label / hues, 0.8, 0.9)) * 229
        grain = np.frombuffer(rng.randbytes(height * width), np.uint8).reshape(height, width, 1) % 24
        data = _encoded(Image.fromarray((colour + grain).astype(np.uint8)), kinds.get(name, "plain"))
        spoilt = {"truncated": data[: len(data) // 2], "zero": b"", "html": b"<!DOCTYPE html><title>404</title>"}
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if broken.get(name) != "missing":
            (root / name).write_bytes(spoilt.get(broken.get(name, ""), data))
    return broken


def _encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if kind == "rotated":
        exif[0x0112] = 6  # to be turned clockwise by 90 degrees
        image = image.transpose(Image.Transpose.ROTATE_90)
    mode = {"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB")
    image.convert(mode).save(stream, "PNG" if kind == "png" else "JPEG", quality=90, exif=exif)
    return stream.getvalue()


def _lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _shuffled(labels: Labels, rng: random.Random) -> list[str]:
    return [f"{name} {labels[name]}" for name in rng.sample(list(labels), len(labels))]


def _in_order(path: Path, labels: Labels) -> Labels:
    """The labels in the order of the lines of a list."""
    names = (line.split()[0] for line in path.read_text().splitlines())
    return {name: labels[name] for name in names if name in labels}
