"""Compact figures look as before: paths, pixels, words and the sizes of letters."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from PIL import Image

from nlbook import svg
from nlkit import figures


@pytest.fixture(scope="module")
def figure() -> str:
    """Lines, marks, a histogram, rotated words, and two images, of few and of many colours."""
    figures.use_book_style()
    plt.rcParams["svg.hashsalt"] = "test"
    rng, file = np.random.default_rng(0), io.StringIO()
    drawn, (left, middle, right) = plt.subplots(1, 3)
    left.plot(rng.normal(size=500), "-o", label="a curve")
    left.fill_between(range(30), rng.random(30), alpha=0.5)
    left.set_ylabel("turned")
    left.set_xscale("symlog")  # its powers of ten have a family of their own, which begins like that of all words
    left.legend()
    middle.imshow(rng.integers(0, 2, (9, 9)), interpolation="none")
    right.imshow(rng.integers(0, 256, (32, 32, 3), np.uint8), interpolation="none")
    drawn.savefig(file, format="svg")
    plt.close(drawn)
    return file.getvalue()


def points(path: str) -> np.ndarray:
    """The absolute points [N, 2] of a path of absolute or of relative commands."""
    pen = RecordingPen()
    parse_path(path, pen)
    return np.array([point for _, points in pen.value for point in points])


def pixels(text: str) -> list[np.ndarray]:
    codes = re.findall(r'image/png;base64,([^"]*)', text)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA")) for code in codes]


def test_no_pixel_and_no_word_changes_paths_stay_within_a_hundredth_of_a_point_and_less_is_left(figure: str) -> None:
    after = svg.compact(figure)
    assert all(map(np.array_equal, pixels(figure), pixels(after))) and len(pixels(after)) == 2
    for pattern in (r">([^<>\s][^<>]*)</text>", r"font-size: [\d.]+px", r'viewBox="[^"]*"', r"stroke-width: [\d.]+"):
        found = re.findall(pattern, figure)
        assert found and {*re.findall(pattern, after)} == {*found}
    assert all(re.fullmatch(r"([\w-]+: [^;:]+(; |$))+", style) for style in re.findall(r'<text style="([^"]*)"', after))
    assert "px," not in after
    assert len(after) < 0.8 * len(figure)
    closed = "M 1 2 Q 3 4 5 6 z M 7 8 C 1 1 2 2 3 3 z L 4 5"
    before, compact = (re.findall(r' d="([^"]*)"', text) for text in (figure, after))
    assert len(before) == len(compact) > 10
    for old, new in zip([closed, *before], [svg.relative(closed), *compact], strict=True):
        np.testing.assert_allclose(points(new), points(old), atol=0.00501)
