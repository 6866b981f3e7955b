"""The commands about data sets, as they are typed."""

import csv
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from trees import animal10n_tree, webvision_tree

from nlkit.cli import main
from nlkit.data import sources
from nlkit.data.photos.layouts import LAYOUTS
from nlkit.noise import label_sources

Said = tuple[int, list[str], list[str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A function that runs `nlkit data ...` on a data root; returns status, lines of output and lines of errors."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(["data", *arguments, "--data", str(tmp_path)])
        output, errors = capsys.readouterr()
        return code, output.splitlines(), errors.splitlines()

    return run


def test_status_lists_every_data_set_and_where_it_belongs(tmp_path: Path, run: Callable[..., Said]) -> None:
    code, lines, errors = run("status")
    rows = [line.split() for line in lines]
    assert (code, errors) == (0, []) and [row[0] for row in rows] == [*sources(), *label_sources()]
    assert [row[1] for row in rows] == ["present", *["missing"] * (len(rows) - 1)]
    assert all(str(tmp_path) in line for line in lines[1:])


@pytest.mark.parametrize("name", ["clothing1m", "mnist"])
def test_get_names_the_source_of_what_it_does_not_bring(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    said = refused("data", "get", name, "--data", tmp_path)
    assert said == f"nlkit: {name} is not downloaded from here: {sources()[name].origin}\n"


def test_get_refuses_damaged_files(tmp_path: Path, run: Callable[..., Said], official: Callable[..., None]) -> None:
    animal10n_tree(tmp_path)
    assert run("get", "animal10n")[0] == 2
    official("animal10n", {"train": 200, "test": 50})
    for path in (tmp_path / "animal10n/training").iterdir():
        path.write_bytes(b"something")
    assert run("get", "animal10n") == (0, [], [])
    (tmp_path / "animal10n/training/lost.jpg").touch()
    code, _, errors = run("get", "animal10n")
    assert code == 2 and "not usable as animal10n" in errors[0]


def test_verify_ends_with_1_and_lists_bad_images(tmp_path: Path, run: Callable[..., Said]) -> None:
    expected = webvision_tree(tmp_path)
    file = tmp_path / "bad.csv"
    code, lines, errors = run("verify", "webvision", "--quiet", "--list", str(file))
    assert (code, errors) == (1, []) and lines[0] == "webvision: 400 images read, 4 cannot be used"
    assert [line.split(":")[0].strip() for line in lines[1:4]] == ["train", "test", "imagenet"]
    with file.open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["part", "path", "fault"] and {row[1] for row in rows[1:]} == set(expected.flaws)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["bad.csv"]


def test_verify_ends_with_0_where_all_can_be_used_and_shows_a_bar(tmp_path: Path, run: Callable[..., Said]) -> None:
    expected = animal10n_tree(tmp_path)
    for name in expected.flaws:
        (tmp_path / "animal10n/training" / name).unlink()
    code, lines, errors = run("verify", "animal10n")
    assert code == 0 and lines[0] == "animal10n: 247 images read, 0 cannot be used"
    assert "197/197" in "".join(errors)


@pytest.mark.parametrize("place", ["nowhere/bad.csv", "", "\0", "x" * 300])
@patch("nlkit.data.photos.catalog.load_photos", Mock(side_effect=AssertionError("read")))
def test_a_list_that_cannot_be_written_is_refused(tmp_path: Path, refused: Callable[..., str], place: str) -> None:
    """No list of a data set is read before."""
    animal10n_tree(tmp_path)
    said = refused("data", "verify", "animal10n", "--list", tmp_path / place, "--data", tmp_path)
    assert said.startswith(f"nlkit: {tmp_path}")


def test_only_photographs_are_listed(tmp_path: Path, refused: Callable[..., str]) -> None:
    said = refused("data", "verify", "digits", "--list", tmp_path / "bad.csv")
    assert said == f"nlkit: --list: digits has no photographs; they are {', '.join(LAYOUTS)}\n"
    assert main(["data", "verify", "digits"]) == 0
