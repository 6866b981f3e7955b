from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlkit.data import list_files
from nlkit.data.list_files import check_inside, gather, image_names, number, read_columns, read_lines
from nlkit.errors import NlkitError


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[bytes | str], Path]:
    """A function that writes a list and returns its path."""

    def write(content: bytes | str) -> Path:
        path = tmp_path / "list.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(NlkitError) as caught:
        work()
    return str(caught.value)


def test_lines_keep_their_number_and_lose_white_space_marks_and_empty_neighbours(listed: Callable[..., Path]) -> None:
    path = listed("\ufeff a 1\r\n\n\t b\u00e9 2 \n  \nc 3")
    assert list(read_lines(path)) == [(1, "a 1"), (3, "b\u00e9 2"), (5, "c 3")]
    assert list(read_columns(path, ("IMAGE", "LABEL")))[1] == (3, ["b\u00e9", "2"])
    assert list(read_columns(listed("a b\tc d\n"), ("X", "Y"), "\t")) == [(1, ["a b", "c d"])]


@pytest.mark.parametrize("row", ["a", "a b c"])
def test_another_number_of_columns_is_refused(listed: Callable[..., Path], row: str) -> None:
    message = refused(lambda: list(read_columns(listed(f"x 1\n{row}\n"), ("IMAGE", "LABEL"))))
    assert "list.txt, line 2: " in message and "expected 2: IMAGE LABEL" in message


def test_lines_that_are_not_text_are_refused(listed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "line 2: not UTF-8" in refused(lambda: list(read_lines(listed(b"a 1\nb\xff 2\n"))))
    endless = listed(b"x" * 3 * list_files.MAX_LINE_BYTES)
    assert "line 1: longer than 4096 bytes" in refused(lambda: list(read_lines(endless)))
    monkeypatch.setattr(list_files, "MAX_LIST_BYTES", 1000)
    assert "at most 1000" in refused(lambda: list(read_lines(endless)))


def test_a_line_of_the_greatest_length_is_read(listed: Callable[..., Path]) -> None:
    longest = "x" * (list_files.MAX_LINE_BYTES - 1)
    assert list(read_lines(listed(f"{longest}\n{longest}"))) == [(1, longest), (2, longest)]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(lambda: list(read_lines(tmp_path / "nothing")))
    assert "not a regular file" in refused(lambda: list(read_lines(tmp_path)))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop" in refused(lambda: list(read_lines(tmp_path / "loop")))


@pytest.mark.parametrize(("text", "label"), [("0", 0), ("13", 13), ("007", 7)])
def test_labels_are_read_from_digits(text: str, label: int) -> None:
    assert number(text, 14, Path("list.txt"), 3) == label


@pytest.mark.parametrize("text", ["14", "-1", "1.0", "1e1", "", "x", "٣", "²", "9" * 5000])
def test_labels_outside_or_of_another_kind_are_refused(text: str) -> None:
    assert refused(lambda: number(text, 14, Path("list.txt"), 3)).startswith("list.txt, line 3: ")


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "\\\\host\\x", "..\\x", "a\\..\\x", "C:\\x", "c:x", "a\0b"],
)
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    assert "line 7" in refused(lambda: check_inside(name, Path("list.txt"), 7))


@pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "a..b", "..a/b..", "...", "a/...x", "1,2.jpg", "ü/漢.jpg"])
def test_names_within_the_folder_pass(name: str) -> None:
    check_inside(name, Path("list.txt"), 7)


def test_rows_become_names_and_labels_in_their_order(tmp_path: Path) -> None:
    photos, notes = gather(tmp_path, Path("list.txt"), [(1, "b", 2), (2, "a", 0), (3, "b", 2), (4, "c", 1)])
    assert photos.names == ["b", "a", "c"] and photos.labels.tolist() == [2, 0, 1]
    assert photos.labels.dtype == np.int64 and photos.root == tmp_path
    assert notes == ("list.txt: 1 rows repeat an earlier one and count once",)


def test_rows_that_contradict_each_other_or_are_none_are_refused(tmp_path: Path) -> None:
    path = Path("list.txt")
    message = refused(lambda: gather(tmp_path, path, [(1, "a", 1), (2, "b", 1), (3, "a", 2)]))
    assert message == "list.txt, line 3: 'a' has label 2 here and 1 before"
    assert refused(lambda: gather(tmp_path, path, [])) == "list.txt: names no images"
    assert "line" not in refused(lambda: gather(tmp_path, path, [(0, "../a", 1)])).split(":")[0]


def test_a_folder_tells_its_images_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.JPEG", "a.jpg", ".hidden.jpg", "readme.txt", "c.png"):
        (tmp_path / name).touch()
    assert image_names(tmp_path) == ["a.jpg", "b.JPEG", "c.png"]
    assert "nothing" in refused(lambda: image_names(tmp_path / "nothing"))
    (tmp_path / "\udcff.jpg").touch()
    assert "not UTF-8" in refused(lambda: image_names(tmp_path))
