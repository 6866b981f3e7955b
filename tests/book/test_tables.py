"""What the book is made of: pages, the table of contents, what a run depends on, and the tables of its chapters."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import yaml
from fuzzing import refused

from nlbook import contents, fragments, tables
from nlbook.tables import Source
from nlkit.params import load_params, registry

ROOT = Path(__file__).parents[2]
SOURCE = Source(ROOT)


def info(cell: str, seed: int, paper: str = "dividemix", **accuracy: float) -> dict[str, Any]:
    base = {"last": 70.0, "best": 80.0, "last_single": 60.0, "best_single": 65.0}
    return {
        "paper": paper, "cell": cell, "seed": seed, "seconds": 1.0, "accuracy": base | accuracy,
        "split": {"auc": 0.9}, "noise": {"nominal": None, "realised": None},
    }  # fmt: skip


def measured(metric: str, cell: str = "webvision") -> str:
    photographs = [info("webvision", seed, last_imagenet=50.0 + seed, selected=71.0) for seed in (0, 2)]
    rows = tables.rows_of([*photographs, info("cifar10-sym-50", 0)])
    claim = {"paper": "dividemix", "cell": cell, "metric": metric, "value": 75.0, "letter": "a"}
    (row,) = tables.claimed_and_measured(tiny.ROOT, pd.DataFrame([claim]), rows)
    assert row[metric] == "75 (a)"
    return str(row["measured"]).removeprefix(f"{metric} ")


def test_each_kind_of_claim_is_answered_by_its_own_measurement() -> None:
    assert measured("top1") == measured("last") == "70.0 ± 0.0"
    assert measured("best") == "80.0 ± 0.0"
    assert measured("imagenet_top1") == "51.0 ± 1.4"
    assert measured("selected") == "71.0 ± 0.0"
    assert measured("best_single", "cifar10-sym-50") == "65.0"
    assert measured("top1", "clothing1m") == measured("imagenet_top1", "cifar10-sym-50") == "not run here"


def test_every_claim_stands_once_in_the_tables_of_the_results_with_its_source() -> None:
    shown = re.findall(r"_generated/results_(\w+)\.md", (ROOT / "book" / "results.md").read_text(encoding="utf-8"))
    values = []
    for name in shown:
        letters = fragments.table(f"sources_{name}", SOURCE)["source"].tolist()
        cells = fragments.table(f"results_{name}", SOURCE).drop(columns="measured").to_numpy().ravel()
        found = [re.fullmatch(r"([\d.]+)( ± [\d.]+)? (\(\w\))", str(cell)) for cell in cells]
        assert {one[3] for one in found if one} == {*letters}
        values += [float(one[1]) for one in found if one]
    assert sorted(values) == sorted(SOURCE.claims["value"])


@pytest.mark.parametrize("asked", sorted(name for name in contents.fragments(ROOT) if name.endswith(".md")))
def test_all_that_chapters_include_has_rows(asked: str) -> None:
    found = fragments.table(asked.removesuffix(".md"), SOURCE)
    text = fragments.markdown(found)
    assert len(text.splitlines()) > 2 and "nan" not in text.split()
    assert list(found.iloc[:, 0]) != list(range(len(found)))  # row numbers tell nothing


NOTHING = ["result_tcl", "params_nobody", "variations_nobody_digits-sym-50", "loss_ridges_tcl", "epoch_curves_digits"]
NOTHING += ["gallery_tcl_digits-sym-50x", "figure_tcl_digits-sym-50"]


@pytest.mark.parametrize("asked", NOTHING)
def test_a_name_that_nothing_makes_or_draws_ends_with_one_line(asked: str, tmp_path: Path) -> None:
    refused(lambda: fragments.table(asked, SOURCE))
    refused(lambda: fragments.draw(asked, SOURCE, tmp_path / "drawn.svg"))


def test_settings_are_of_the_method_variations_tell_differences_and_summaries_lack_pre_training() -> None:
    table = fragments.table("params_dividemix", SOURCE).set_index("cell")
    assert [name.strip("`") for name in table.columns[3:]] == list(registry.find("dividemix").shown)
    assert table.loc["digits-sym-50", "epochs"] > 0
    table = fragments.table("variations_codim_digits-sym-50", SOURCE).set_index("cell")
    assert list(table.index) == [f"digits-sym-50{ending}" for ending in ("", "-no-ctr", "-sup", "-weak")]
    assert table.loc["digits-sym-50", "changed"] == "–"
    assert "`method.variant` sup" in table.loc["digits-sym-50-sup", "changed"]
    assert "simclr" not in set(fragments.table("summary_digits", SOURCE)["method"])
    both = fragments.table("results_mixup-elr_digits", SOURCE)
    assert set(both["method"]) == {"mixup", "elr"} and all(both["cell"].str.startswith("digits-"))


def test_every_row_on_photographs_is_listed_with_its_records() -> None:
    source = Source(ROOT)
    source.__dict__["rows"] = tables.rows_of([info("webvision", 0, "tcl"), info("webvision", 1, "tcl")])
    table = fragments.table("photo_rows", source).set_index(["method", "cell"])
    assert {"webvision", "webvision-resnet18", "clothing1m"} == set(table.loc["dividemix"].index)
    assert table.loc[("tcl", "webvision"), "record"] == "2 seeds"
    assert table.loc[("tcl", "clothing1m"), "record"] == "not run here"
    assert not any(cell.startswith(("digits", "cifar")) for _, cell in table.index)


def test_a_project_without_records_has_tables_that_say_so(tmp_path: Path) -> None:
    tiny.write(load_params(ROOT / "params/mixup/digits-sym-50.yaml"), tmp_path / "params/mixup/toy.yaml")
    (tmp_path / "book").mkdir()
    claim = dict.fromkeys(("paper", "cell", "metric", "source", "evidence"), "tcl")
    (tmp_path / "book" / "claims.yaml").write_text(yaml.safe_dump([claim]))
    source = Source(tmp_path)
    assert len(fragments.table("params_mixup", source)) == 1
    assert fragments.table("variations_mixup_toy", source)["last"].tolist() == ["not run here"]
    for name in ("results_mixup", "results_mixup_digits", "summary_digits", "memorisation_toy", "vote_lra_diffusion"):
        assert fragments.markdown(fragments.table(name, source)) == "Not run here.\n"
    refused(lambda: source.run("mixup", "toy"), r"nlkit run params/mixup/toy\.yaml")


def test_the_fresh_run_comes_before_the_committed_one(tmp_path: Path) -> None:
    (tmp_path / "params").symlink_to(ROOT / "params")
    for place, seed in (("results", 1), ("runs", 0)):
        (tmp_path / place / "tcl/digits-sym-50").mkdir(parents=True)
        target = tmp_path / place / "tcl/digits-sym-50/seed-0"
        target.symlink_to(ROOT / f"results/tcl/digits-sym-50/seed-{seed}")
        assert Source(tmp_path).run("tcl", "digits-sym-50").params.seed == seed


@pytest.mark.parametrize(
    ("cell", "title"),
    [
        ("digits", "Digits"), ("digits-sym-50", "Digits, symmetric 50 %"), ("digits-pmd-35", "Digits, PMD 35 %"),
        ("digits-sym-50-sup", "Digits, symmetric 50 %, Sup"), ("digits-asym-40", "Digits, asymmetric 40 %"),
        ("digits-clean", "Digits, correct labels"),
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
    assert list(filter(contents.shows_all_runs, others)) == ["compare", "detection", "laptop"]


def test_every_parameter_file_stands_once_in_the_grid() -> None:
    grid = contents.grid(Path())
    everything = grid.pop("all")
    files = {str(path) for path in Path("params").glob("*/*.yaml") if path.parent.name != "bases"}
    assert sorted(files) == sorted(str(contents.parameter_file(page)) for page in everything)
    assert sorted(everything) == sorted(page for pages in grid.values() for page in pages)
    assert {"tcl-cifar10n-worst-laptop", "elr-cifar10n-worst-laptop-50k"} <= set(grid["laptop"])
    assert "simclr-digits" in grid["digits"] and "dividemix-cifar100n" in grid["cifar100"]
    assert set(grid) == {"digits", "laptop", "cifar10", "cifar100", "photographs"}


def test_every_page_stands_once_in_the_table_of_contents(tmp_path: Path) -> None:
    pages = contents.run_pages(Path())
    toc = contents.table_of_contents(Path(), pages)
    entries = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = [one["file"] for chapter in entries for one in [chapter, *chapter.get("sections", [])]]
    assert len(files) == len(set(files))
    assert {f"book/pages/{page}" for page in [*pages, *contents.other_pages(Path())]} <= set(files)
    chapters = {one for one in [*files, toc["root"]] if "/pages/" not in one}
    assert chapters == {f"book/{path.stem}" for path in Path("book").glob("*.md")}
    shutil.copyfile("_toc.yml", tmp_path / "_toc.yml")
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


def test_the_chapter_on_own_images_says_what_its_table_says() -> None:
    found = pd.read_csv(ROOT / "benchmarks/own_photographs.csv").set_index("method")
    plain, elr, dividemix = (found.loc[name] for name in ("cross_entropy", "elr", "dividemix"))
    assert plain["auc"] > elr["auc"] and plain["accuracy"] > elr["accuracy"] and elr["kills"] > 0
    assert abs(plain["accuracy"] - dividemix["accuracy"]) < 3 and dividemix["cpu_seconds"] > 3 * plain["cpu_seconds"]
