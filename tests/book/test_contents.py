"""What the book is made of: its pages and their titles, the table of contents, and what a run depends on."""

import shutil
from pathlib import Path

import pytest
from fuzzing import refused

from nlbook import contents


@pytest.mark.parametrize(
    ("cell", "title"),
    [
        ("digits", "Digits"), ("digits-sym-50", "Digits, symmetric 50 %"), ("digits-pmd-35", "Digits, PMD 35 %"),
        ("digits-sym-50-sup", "Digits, symmetric 50 %, Sup"), ("digits-asym-40", "Digits, asymmetric 40 %"),
        ("cifar10n-worst-laptop", "CIFAR-10N, Worst on a laptop"), ("cifar10-laptop", "CIFAR-10 on a laptop"),
    ],
)  # fmt: skip
def test_a_cell_in_words(cell: str, title: str) -> None:
    assert contents.title(cell) == title


def test_contestants_have_pages_and_variations_have_none() -> None:
    pages = set(contents.run_pages(Path()))
    assert {"codim-digits-sym-50", "codim-digits-sym-50-sup", "tcl-cifar10n-worst-laptop", "simclr-digits"} <= pages
    assert not {"tcl-digits-sym-80-plus", "codim-digits-sym-50-weak", "cross_entropy-digits-sym-50-views"} & pages
    assert "tcl-cifar10-sym-50" not in pages
    assert "tcl-cifar10-sym-50" in contents.run_pages(Path(), lambda page: page == "tcl-cifar10-sym-50")
    others = ["compare", "detection", "laptop", "noise", "noise_models", "speed", "your_data"]
    assert contents.other_pages(Path()) == others


def test_every_parameter_file_stands_once_in_the_grid() -> None:
    grid = contents.grid(Path())
    everything = grid.pop("all")
    files = {str(path) for path in Path("params").glob("*/*.yaml") if path.parent.name != "bases"}
    assert sorted(files) == sorted(str(contents.parameter_file(page)) for page in everything)
    assert sorted(everything) == sorted(page for pages in grid.values() for page in pages)
    assert {"tcl-cifar10n-worst-laptop", "elr-cifar10n-worst-laptop-50k"} <= set(grid["laptop"])
    assert "simclr-digits" in grid["digits"] and "dividemix-cifar100n" in grid["cifar100"]
    assert set(grid) == {"digits", "laptop", "cifar10", "cifar100", "photographs"}


def test_every_page_stands_once_in_the_table_of_contents() -> None:
    pages = contents.run_pages(Path())
    toc = contents.table_of_contents(Path(), pages)
    entries = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = [one["file"] for chapter in entries for one in [chapter, *chapter.get("sections", [])]]
    assert len(files) == len(set(files))
    assert {f"book/pages/{page}" for page in [*pages, *contents.other_pages(Path())]} <= set(files)
    assert {f"book/{path.stem}" for path in Path("book").glob("*.md")} == {
        one for one in [*files, toc["root"]] if "/pages/" not in one
    }


def test_pages_stand_below_the_chapter_where_there_is_none_of_experiments(tmp_path: Path) -> None:
    shutil.copyfile("_toc.yml", tmp_path / "_toc.yml")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "tcl.md").touch()
    toc = contents.table_of_contents(tmp_path, ["tcl-digits-sym-50"])
    page = {"file": "book/pages/tcl-digits-sym-50", "title": "Digits, symmetric 50 %"}
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    assert {"file": "book/tcl", "sections": [page]} in chapters
    refused(lambda: contents.table_of_contents(tmp_path, ["elr-digits-sym-50"]), r"book/elr\.md is missing")


def test_a_run_depends_on_its_method_its_pre_training_and_the_rooms_that_decide_its_outcome() -> None:
    code = {str(path) for path in contents.code("tcl-digits-sym-50")}
    assert {"nlkit/methods/tcl.py", "nlkit/methods/base.py", "nlkit/training/loop.py", "nlkit/seeding.py"} <= code
    assert not {"nlkit/methods/dividemix.py", "nlkit/methods/tcl_plus.py", "nlkit/views/photos.py"} & code
    assert not any("figures" in path or "cleaning" in path for path in code)
    assert "nlkit/methods/dividemix.py" in map(str, contents.code("codim-digits-sym-50"))  # CoDiM inherits DivideMix
    assert "nlkit/views/photos.py" in map(str, contents.code("tcl-webvision"))
    assert contents.pretraining("codim-digits-sym-50") == ["simclr-digits-short"]
    assert contents.pretraining("tcl-digits-sym-50") == []


def test_chapters_include_what_is_made_by_name(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    text = "```{include} _generated/params_toy.md\n```\n```{figure} _generated/loss_ridges_toy_digits-sym-50.svg\n```\n"
    quoted = "````\n```{include} _generated/params_quoted.md\n```\n````\n"
    (tmp_path / "book" / "toy.md").write_text(text + quoted)
    names = {"params_toy.md": "toy.md", "loss_ridges_toy_digits-sym-50.svg": "toy.md"}
    assert contents.fragments(tmp_path) == names
