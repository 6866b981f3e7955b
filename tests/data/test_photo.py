from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2.functional import resize

from nlkit.data import jpeg, photo
from nlkit.data.decode import guarded, rgb
from nlkit.data.photo import read_photo, stored_size

SHAPES = [(40, 56), (56, 40), (33, 33), (24, 24), (7, 9), (12, 300), (300, 12), (1, 1), (1, 50), (64, 1)]


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    """Noise over a smooth ground, so that neither scaling nor compressing is trivial."""
    rng = np.random.default_rng(seed)
    ground = np.linspace(0, 150, height * width).reshape(height, width, *(1 for _ in channels))
    return (ground + rng.integers(0, 100, (height, width, *channels))).astype(np.uint8)


def save(path: Path, image: np.ndarray | Image.Image, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def oracle(path: Path, short: int) -> np.ndarray:
    """The rule in Pillow's words."""
    image = Image.open(path)
    image.draft("RGB", (2 * short, 2 * short))
    image = rgb(ImageOps.exif_transpose(image))
    width, height = (min(side, 4 * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    size = [short * side // min(width, height) for side in (width, height)]
    return np.asarray(image.resize((size[0], size[1]), Image.Resampling.BILINEAR))


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal, but for the last bit: PyTorch's weights have fewer bits than Pillow's."""
    return found.shape == expected.shape and int(np.abs(found.astype(int) - expected).max()) <= 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_images_of_any_shape_are_scaled_as_pillow_scales(tmp_path: Path, shape: tuple[int, int], ending: str) -> None:
    path = save(tmp_path / f"x.{ending}", noise(*shape, 3))
    found = read_photo(path, 24)
    assert found.dtype == np.uint8 and min(found.shape[:2]) == 24 and max(found.shape[:2]) <= 96
    assert close(found, oracle(path, 24))
    assert found.shape[:2] == stored_size(shape[1], shape[0], 24)


@pytest.mark.parametrize("short", [8, 23, 24, 40, 61])
def test_scaling_is_that_of_torchvision_bit_for_bit(tmp_path: Path, short: int) -> None:
    pixels = noise(40, 56, 3)
    found = read_photo(save(tmp_path / "x.png", pixels), short)
    expected = resize(torch.from_numpy(pixels).permute(2, 0, 1), [short], antialias=True)
    assert np.array_equal(found, expected.permute(1, 2, 0).numpy())


def test_no_scaling_leaves_the_pixels(tmp_path: Path) -> None:
    pixels = noise(24, 31, 3)
    assert np.array_equal(read_photo(save(tmp_path / "x.png", pixels), 24), pixels)


def odd(kind: str) -> tuple[Image.Image, str, dict[str, Any]]:
    """An image of an unusual kind, the ending of its file, and how to save it."""
    colour, grey = Image.fromarray(noise(40, 56, 3)), Image.fromarray(noise(40, 56))
    with_alpha = Image.fromarray(noise(40, 56, 4))
    deep = Image.fromarray((noise(40, 56).astype(np.uint16) * 256) + 77)
    palette = colour.quantize(16)
    return {
        "grey jpeg": (grey, "jpg", {}),
        "cmyk jpeg": (colour.convert("CMYK"), "jpg", {}),
        "progressive jpeg": (colour, "jpg", {"progressive": True}),
        "large jpeg": (Image.fromarray(noise(211, 303, 3)), "jpg", {}),
        "palette with transparency": (palette, "png", {"transparency": 3}),
        "alpha": (with_alpha, "png", {}),
        "grey and alpha": (with_alpha.convert("LA"), "png", {}),
        "16 bits": (deep, "png", {}),
        "bits": (grey.convert("1"), "png", {}),
        "gif": (colour.quantize(32), "gif", {}),
        "webp": (with_alpha, "webp", {"lossless": True}),
        "bmp": (colour, "bmp", {}),
        "tiff": (colour, "tiff", {}),
    }[kind]


KINDS = ["grey jpeg", "cmyk jpeg", "progressive jpeg", "large jpeg", "palette with transparency", "alpha"]
KINDS += ["grey and alpha", "16 bits", "bits", "gif", "webp", "bmp", "tiff"]


@pytest.mark.parametrize("strip", [2**20, 56 * 7])
@pytest.mark.parametrize("kind", KINDS)
def test_odd_kinds_become_rgb_in_strips_or_whole(
    tmp_path: Path, kind: str, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, ending, options = odd(kind)
    path = save(tmp_path / f"ünïcode 图.{ending}", image, **options)
    monkeypatch.setattr(photo, "_STRIP_PIXELS", strip)
    found = read_photo(path, 24)
    assert found.shape[2] == 3 and close(found, oracle(path, 24))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_images_are_turned_as_exif_says(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x.{ending}", noise(40, 56, 3), exif=exif)
    assert close(read_photo(path, 24), oracle(path, 24))


def test_a_large_jpeg_is_decoded_smaller_but_never_below_twice_the_size(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", noise(211, 303, 3), quality=95)
    for short, fraction in ((53, 1), (52, 2), (27, 2), (26, 4)):
        half = Image.open(path)
        half.draft("RGB", (303 // fraction, 211 // fraction))
        pixels = torch.from_numpy(np.asarray(half).copy()).permute(2, 0, 1)
        expected = resize(pixels, [short], antialias=True).permute(1, 2, 0).numpy()
        assert np.array_equal(read_photo(path, short), expected)


# The fast decoder is invisible.


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True])
def test_both_decoders_give_the_same_bytes(
    tmp_path: Path, subsampling: str, progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"subsampling": subsampling, "progressive": progressive}
    paths = [save(tmp_path / f"{w}.jpg", noise(w + 5, w, 3), **options) for w in (8, 29, 47)]
    for path in paths:
        size = jpeg.plain_size(path.read_bytes())
        assert size == Image.open(path).size
    fast = [read_photo(path, 24) for path in paths]
    monkeypatch.setattr(photo, "decoder", lambda: None)
    assert all(np.array_equal(read_photo(path, 24), found) for path, found in zip(paths, fast, strict=True))


def test_only_plain_jpegs_are_plain(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "exif.jpg", noise(40, 56, 3), exif=exif)
    for kind in ("grey jpeg", "cmyk jpeg", "alpha", "webp"):
        image, ending, options = odd(kind)
        save(tmp_path / f"{kind}.{ending}", image, **options)
    found = {path.stem: jpeg.plain_size(path.read_bytes()) for path in tmp_path.iterdir()}
    assert len(found) == 5 and set(found.values()) == {None}


def test_a_damaged_file_has_one_verdict_whichever_decoder(
    tmp_path: Path, damaged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x.jpg", noise(40, 56, 3))
    copies = damaged(path.read_bytes(), flips=60, cuts=40)

    def verdicts() -> list[str]:
        found = []
        for copy in copies:
            path.write_bytes(copy)
            pixels: list[np.ndarray] = []
            why = guarded(lambda kept=pixels: kept.append(read_photo(path, 24)))  # type: ignore[misc]
            found.append(why or f"{pixels[0].shape}")
        return found

    fast = verdicts()
    monkeypatch.setattr(photo, "decoder", lambda: None)
    assert fast == verdicts()
    assert all("damaged" in why or "known kind" in why or "empty" in why for why in fast[60:] if "(24" not in why)


def test_faults_are_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", noise(40, 56, 3)).read_bytes()
    contents = {"empty": b"", "page": b"<!DOCTYPE html><html><body>404</body></html>", "cut": whole[: len(whole) // 2]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    names = ["empty", "page", "cut", "missing", "."]
    found = {name: guarded(lambda name=name: read_photo(tmp_path / name, 24)) for name in names}  # type: ignore[misc]
    assert found["empty"] == "empty file" and found["page"] == "not an image of a known kind"
    assert "truncated" in (found["cut"] or "") and found["missing"] == "no such file"
    assert found["."] == "not a regular file"


def test_an_image_that_declares_too_much_is_refused_unread(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(file, "PPM")
    (tmp_path / "bomb.ppm").write_bytes(file.getvalue().replace(b"8 8", b"99999 99999"))
    assert "more than 100,000,000" in (guarded(lambda: read_photo(tmp_path / "bomb.ppm", 24)) or "")


@pytest.mark.parametrize("budget", [1, 2**20])
def test_large_images_wait_for_memory_and_come_out_the_same(
    tmp_path: Path, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x.png", noise(211, 303, 3))
    expected = read_photo(path, 24)
    monkeypatch.setattr(photo, "LIGHT_BYTES", 0)
    monkeypatch.setattr(photo, "_BUDGET", photo._Budget(budget))
    assert np.array_equal(read_photo(path, 24), expected)
