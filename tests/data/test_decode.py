"""Images of any size and kind: what they become, as squares and in a store, or why they cannot be used."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import save
from PIL import Image, ImageOps
from torchvision.transforms.v2.functional import resize
from tqdm import tqdm

from nlkit.data.photos import decode
from nlkit.data.photos.decode import attempt, decode_all, in_parallel, probe, read_photo, read_rgb

SHAPES = [(40, 56), (56, 40), (33, 33), (24, 24), (7, 9), (12, 300), (300, 12), (1, 1), (1, 50), (64, 1)]


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    """Noise over a smooth ground, so that neither scaling nor compressing is trivial."""
    rng = np.random.default_rng(seed)
    ground = np.linspace(0, 150, height * width).reshape(height, width, *(1 for _ in channels))
    return (ground + rng.integers(0, 100, (height, width, *channels))).astype(np.uint8)


def one_image(path: Path, side: int = 8) -> np.ndarray:
    images, faults = decode_all([path], side, progress=False)
    assert faults == {}
    return images[0]


def resized(pixels: np.ndarray, short: int) -> np.ndarray:
    return resize(torch.from_numpy(pixels.copy()).permute(2, 0, 1), [short], antialias=True).permute(1, 2, 0).numpy()


def oracle(path: Path, short: int) -> np.ndarray:
    """The rule of stored images in the words of Pillow and torchvision."""
    image = Image.open(path)
    image.draft("RGB", (2 * short, 2 * short))
    image = decode._rgb(ImageOps.exif_transpose(image))
    width, height = (min(side, 4 * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return resized(np.asarray(image.crop((left, top, left + width, top + height))), short)


@pytest.mark.parametrize(("shape", "short"), [*((one, 24) for one in SHAPES), *(((40, 56), s) for s in (8, 40, 61))])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_any_shape_is_scaled_as_by_torchvision(tmp_path: Path, shape: tuple[int, int], short: int, ending: str) -> None:
    path = save(tmp_path / f"x.{ending}", noise(*shape, 3))
    found = read_photo(path, short)
    assert found.dtype == np.uint8 and min(found.shape[:2]) == short and max(found.shape[:2]) <= 4 * short
    assert np.array_equal(found, oracle(path, short))


def test_a_large_jpeg_is_decoded_smaller_but_never_below_twice_the_size(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", noise(211, 303, 3), quality=95)
    for short, fraction in ((53, 1), (52, 2), (27, 2), (26, 4)):
        half = Image.open(path)
        half.draft("RGB", (303 // fraction, 211 // fraction))
        assert np.array_equal(read_photo(path, short), resized(np.asarray(half), short))


COLOUR, GREY, ALPHA = (Image.fromarray(noise(40, 56, *channels)) for channels in ((3,), (), (4,)))
ODD: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "grey jpeg": (GREY, "jpg", {}),
    "cmyk jpeg": (COLOUR.convert("CMYK"), "jpg", {}),
    "progressive jpeg": (COLOUR, "jpg", {"progressive": True}),
    "large jpeg": (Image.fromarray(noise(211, 303, 3)), "jpg", {}),
    "palette with transparency": (COLOUR.quantize(16), "png", {"transparency": 3}),
    "alpha": (ALPHA, "png", {}),
    "grey and alpha": (ALPHA.convert("LA"), "png", {}),
    "16 bits": (Image.fromarray((noise(40, 56).astype(np.uint16) * 256) + 77), "png", {}),
    "bits": (GREY.convert("1"), "png", {}),
    "gif": (COLOUR.quantize(32), "gif", {}),
    "webp": (ALPHA, "webp", {"lossless": True}),
    "bmp": (COLOUR, "bmp", {}),
    "tiff": (COLOUR, "tiff", {}),
}
"""Images of unusual kinds, the endings of their files, and how to save them."""


@pytest.mark.parametrize("budget", [0, decode.LIGHT_BYTES])
@pytest.mark.parametrize("kind", ODD)
def test_odd_kinds_are_rgb_even_alone(tmp_path: Path, kind: str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, ending, options = ODD[kind]
    path = save(tmp_path / f"ünïcode 图.{ending}", image, **options)
    monkeypatch.setattr(decode, "LIGHT_BYTES", budget)
    found = read_photo(path, 24)
    assert found.shape[2] == 3 and np.array_equal(found, oracle(path, 24))


def test_only_one_large_image_is_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, inside, most = save(tmp_path / "x.png", noise(40, 56, 3)), [0], [0]

    def busy(image: Image.Image) -> Image.Image:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        inside[0] -= 1
        return image

    monkeypatch.setattr(decode, "_rgb", busy)
    monkeypatch.setattr(decode, "LIGHT_BYTES", 40 * 56 * 24 - 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_rgb, [path] * 8))
    assert most == [1]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_images_are_turned_as_exif_says(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:20] = 255  # light above, dark below
    path = save(tmp_path / f"x.{ending}", pixels, exif=exif)
    light = {3: "below", 4: "below", 5: "left", 6: "right", 7: "right", 8: "left"}.get(orientation, "above")
    for found in (one_image(path), read_photo(path, 8)):
        parts = {"above": found[:3], "below": found[5:], "left": found[:, :3], "right": found[:, 5:]}
        assert parts[light].mean() > 235
    assert np.array_equal(read_photo(path, 24), oracle(path, 24))


def test_modes_become_the_same_colours_and_of_a_long_image_the_centre_is_kept_and_not_distorted(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    cmyk = one_image(save(tmp_path / "cmyk.jpg", Image.fromarray(red).convert("CMYK"), quality=95))
    np.testing.assert_allclose(cmyk, red[:8, :8], atol=11)
    assert np.array_equal(one_image(save(tmp_path / "palette.gif", Image.fromarray(red).convert("P"))), red[:8, :8])
    assert (one_image(save(tmp_path / "clear.png", np.dstack([red, 0 * red[..., :1]]))) == 255).all()
    pixels = np.zeros((16, 64), np.uint8)
    pixels[:, 24:40] = 200
    assert (one_image(save(tmp_path / "wide.png", pixels), 16)[..., 0] == 200).all()
    assert (one_image(save(tmp_path / "thin.png", np.full((1, 3000), 77, np.uint8)), 16) == 77).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_images_keep_their_depth_and_get_one_channel(tmp_path: Path, dtype: Any) -> None:
    ramp = np.tile(np.linspace(0, np.iinfo(dtype).max, 8).astype(dtype), (8, 1))
    found = one_image(save(tmp_path / "ramp.png", ramp))
    assert found.shape == (8, 8, 1) and np.array_equal(found[0, :, 0], np.linspace(0, 255, 8).astype(np.uint8))
    save(tmp_path / "colour.png", noise(9, 9, 3))
    assert decode_all([tmp_path / "ramp.png", tmp_path / "colour.png"], 8, False)[0].shape == (2, 8, 8, 3)


def test_decoded_images_are_read_again_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{i}.png", noise(20, 30, 3, seed=i)) for i in range(3)]
    cache = tmp_path / "images.safetensors"
    first, _ = decode_all(paths, 16, False, cache)
    with monkeypatch.context() as patch:
        patch.setattr(decode, "read_rgb", lambda *_: pytest.fail("decoded again"))
        assert np.array_equal(decode_all(paths, 16, False, cache)[0], first)
    save(paths[0], noise(50, 50, 3, seed=99))
    assert not np.array_equal(decode_all(paths, 16, False, cache)[0][0], first[0])
    cache.write_bytes(cache.read_bytes()[:-9])
    assert np.array_equal(decode_all(paths, 16, False, cache)[0][1:], first[1:])


def test_sides_are_those_of_readable_images(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    sides = [save(tmp_path / f"{side}.png", noise(side, 40, 3)) for side in (20, 29)]
    assert probe([sides[0], tmp_path / "bad.png", sides[1]]) == [20, 29]


def encoded(kind: str, *shape: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(noise(*shape)).save(stream, kind)
    return stream.getvalue()


def declaring(width: int, height: int) -> bytes:
    """An image of 8 x 8 pixels whose header tells of others."""
    return encoded("PPM", 8, 8, 3).replace(b"8 8", b"%d %d" % (width, height))


JPEG = encoded("JPEG", 64, 64, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file"), (None, "no such file"), (b"<!doctype html>", "not an image of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not an image of a known kind"),
        (JPEG[:700], "damaged"), (JPEG[:10], "damaged"), (declaring(64, 64), "damaged"),
        (declaring(40_000, 40_000), "pixels"), (declaring(10_001, 10_001), "pixels"),
        (os.mkfifo, "not a regular file"), (os.mkdir, "not a regular file"),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_has_one_reason_whoever_reads(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "odd.jpg"
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    reasons = [decode_all([path], 8, progress=False)[1][0]]
    reasons += [str(attempt(lambda: read_photo(path, 8))), str(attempt(lambda: read_rgb(path)))]
    assert all(said in reason and "\n" not in reason for reason in reasons)


def test_results_keep_their_order_and_an_error_within_or_an_interruption_outside_ends_the_work() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 500:
            raise KeyError(item)

    def late(item: int) -> int:
        time.sleep(0.002 * (item % 5 == 0))
        return item

    bar = tqdm(disable=True)
    assert [*in_parallel(late, range(40), bar)] == [*range(40)] and [*in_parallel(late, [], bar)] == []
    with pytest.raises(KeyError):
        list(in_parallel(work, range(5000), bar))
    with pytest.raises(KeyboardInterrupt):
        for _ in in_parallel(work, range(501, 5000), bar):
            raise KeyboardInterrupt
    assert len(begun) < 2000
