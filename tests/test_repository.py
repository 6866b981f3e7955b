"""What is committed agrees with itself: records, parameters, notebooks, README."""

import ast
import functools
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from nlbook import contest
from nlkit import load_params
from nlkit.params import sources
from nlkit.training import records
from nlkit.training.runs import Run

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "results").rglob("record.json"))
load = functools.cache(load_params)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAPERS = ["cross_entropy", "mixup", "elr", "confident_learning", "dividemix", "tcl", "codim", "lra_diffusion"]
LAPTOP = "cifar10n-worst-laptop"
FEW = {"cross_entropy", "elr", "dividemix", "tcl"}
RANKED = {LAPTOP: {*PAPERS}, f"{LAPTOP}-50k": FEW - {"tcl"}}
RANKED |= {f"{cell}-laptop": {*PAPERS} - {"lra_diffusion"} for cell in ("cifar10n-aggregate", "cifar10-asym-40")}
RANKED |= {"cifar10-sym-50-laptop": {*PAPERS}}
DIGITS = [f"digits-{noise}" for noise in ("sym-20", "sym-50", "sym-80", "asym-40")]
DRAWS = [f"digits-{noise}{contest.DRAW}{draw}" for noise in ("sym-50", "sym-80") for draw in (1, 2)]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_committed_record_is_sound_small_and_of_the_committed_parameters(path: Path) -> None:
    record = records.load(path.parent)
    info = record.info
    params = load(ROOT / "params" / info["paper"] / f"{info['cell']}.yaml")
    assert params.model_copy(update={"seed": info["seed"]}).digest == info["params_sha256"]
    assert path.parent == ROOT / "results" / info["paper"] / info["cell"] / f"seed-{info['seed']}"
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 2 * 1024 * 1024
    assert len(record.epochs) == params.training.epochs
    assert record.epochs["accuracy"].iloc[-1] == info["accuracy"]["last"]


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("cell", [*DIGITS, *DRAWS])
def test_each_digits_cell_has_records_of_three_seeds(paper: str, cell: str) -> None:
    own, mark, draw = cell.partition(contest.DRAW)
    cells = [cell, f"{own}-views{mark}{draw}"] if paper == "cross_entropy" else [cell]
    seeds = [ROOT / "results" / paper / one / f"seed-{seed}" for one in cells for seed in range(3)]
    assert all((path / "record.json").exists() for path in seeds)


@functools.cache
def runs() -> list[Run]:
    return contest.runs_below(ROOT / "results")


def mean_last(paper: str, cell: str) -> float:
    found = [run for run in runs() if (run.params.paper, run.params.cell) == (paper, cell)]
    return sum(run.record["accuracy"]["last"] for run in found) / len(found)


@pytest.mark.parametrize("paper", ["dividemix", "tcl", "codim", "lra_diffusion"])
@pytest.mark.parametrize(("cell", "points"), [("digits-sym-50", 12), ("digits-sym-80", 35)])
def test_each_paper_beats_cross_entropy_with_the_same_views_and_passes(paper: str, cell: str, points: int) -> None:
    assert mean_last(paper, cell) >= mean_last("cross_entropy", f"{cell}-views") + points


@pytest.mark.parametrize("cell", [*DIGITS, *RANKED])
def test_those_that_the_book_ranks_are_equals(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ranked = contest.of_equals(contest.contestants(runs(), [cell])[cell])
    assert set(ranked) == RANKED.get(cell, {"cross_entropy-views", *PAPERS[1:], "codim-sup"})
    for params in (run.params for found in ranked.values() for run in found):
        assert params.method.own_schedule or params.optim.drop_epochs or params.optim.schedule == "cosine"


@pytest.mark.parametrize(
    ("cell", "noisy", "seeds"), [("digits-clean", "digits-sym-50-views", 3), ("cifar10n-clean-laptop", LAPTOP, 2)]
)
def test_the_reference_with_correct_labels_differs_in_them_only(cell: str, noisy: str, seeds: int) -> None:
    one, other = (
        [run for run in runs() if (run.params.paper, run.params.cell) == ("cross_entropy", name)]
        for name in (cell, noisy)
    )
    same = [run[0].params.model_dump(exclude={"cell", "noise"}) for run in (one, other)]
    assert same[0] == same[1] and len(one) == seeds
    assert all((run.samples["noisy"] == run.samples["clean"]).all() for run in one)


def test_on_photographs_two_papers_pass_both_rows_of_cross_entropy_and_one_splits_better_than_any() -> None:
    cells = (LAPTOP, f"{LAPTOP}-short")
    own = {paper: [run for run in runs() if run.params.paper == paper and run.params.cell in cells] for paper in PAPERS}
    plain, full = mean_last("cross_entropy", LAPTOP), [run for run in own["cross_entropy"] if len(run.epochs) == 200]
    best = max(run.record["accuracy"]["best"] for run in own["cross_entropy"])
    papers = {"dividemix", "tcl", "codim", "lra_diffusion"}
    assert sum(mean_last(paper, LAPTOP) >= max(plain + 6, best + 2) for paper in papers) >= 2
    assert all(run.record["accuracy"]["last"] <= run.record["accuracy"]["best"] - 6 for run in full)
    auc = {paper: max(run.record["split"]["auc"] for run in of) for paper, of in own.items()}
    rivals = max(run.epochs["auc"].max() for run in own["cross_entropy"]), auc["confident_learning"]
    assert max(auc[paper] for paper in papers) > max(rivals)


def test_what_the_book_says_of_symmetric_noise_and_of_the_other_methods_holds() -> None:
    short, few, alike = f"{LAPTOP}-short", "cifar10n-aggregate-laptop", "cifar10-asym-40-laptop"
    assert mean_last("elr", LAPTOP) >= mean_last("cross_entropy", short) + 2
    assert max(mean_last(paper, LAPTOP) for paper in ("codim", "lra_diffusion")) < mean_last("cross_entropy", short)
    by_accuracy = ["elr", "mixup", "confident_learning", "cross_entropy", "dividemix", "codim", "tcl"]
    assert sorted(by_accuracy, key=lambda paper: -mean_last(paper, few)) == by_accuracy
    best = records.load(ROOT / "results" / "cross_entropy" / alike / "seed-0").info["accuracy"]["best"]
    assert max(mean_last(paper, alike) for paper in RANKED[alike]) < best
    assert mean_last("tcl", alike) < mean_last("codim", alike) < mean_last("cross_entropy", alike)
    close = {"cross_entropy": "mixup", "dividemix": "confident_learning"}
    assert all(abs(mean_last(one, alike) - mean_last(other, alike)) < 1 for one, other in close.items())
    drawn = "cifar10-sym-50-laptop"
    plain = [run for run in runs() if (run.params.paper, run.params.cell) == ("cross_entropy", drawn)]
    best = max(run.record["accuracy"]["best"] for run in plain)
    assert max(mean_last(paper, drawn) for paper in ("mixup", "confident_learning")) < best - 5
    assert min(mean_last(paper, drawn) for paper in ("elr", "dividemix", "tcl", "codim")) > best
    assert mean_last("lra_diffusion", drawn) < mean_last("cross_entropy", drawn)
    clean = mean_last("cross_entropy", "cifar10n-clean-laptop")
    for cell, few_won in ((LAPTOP, False), ("cifar10-sym-50-laptop", False), (alike, True)):
        lost = clean - mean_last("cross_entropy", cell)
        won = 1 - (clean - max(mean_last(paper, cell) for paper in FEW)) / lost
        assert won < 0.2 if few_won else won > 0.5
    assert all(abs(mean_last(paper, few) - clean) < 2 for paper in ("elr", "mixup"))
    assert contest.tied({paper: mean_last(paper, few) for paper in ("elr", "mixup")}, 10_000)["mixup"]
    easy = ("digits-sym-20", "digits-sym-50", "digits-asym-40")
    clean = mean_last("cross_entropy", "digits-clean")
    assert all(contest.tied({"clean": clean, "tcl": mean_last("tcl", cell)}, 450)["tcl"] for cell in easy)
    assert mean_last("dividemix", "digits-sym-50") >= 98
    for paper, cell in (("tcl", "digits-sym-50"), ("codim", "digits-sym-50"), ("codim", "digits-sym-50-sup")):
        assert mean_last(paper, cell) >= mean_last("dividemix", "digits-sym-50") - 2
    assert mean_last("cross_entropy", "digits-sym-50") <= 60
    assert mean_last("dividemix", "digits-sym-80") >= 92
    for cell in ("digits-sym-20", "digits-sym-50", "digits-sym-80"):
        whole = {"cross_entropy": f"{cell}-views", "mixup": cell, "confident_learning": cell, "elr": cell}
        gain = {paper: mean_last(paper, f"{cell}-short") - mean_last(paper, own) for paper, own in whole.items()}
        assert gain.pop("elr") < 0 < min(gain.values()) and max(gain, key=lambda paper: gain[paper]) == "cross_entropy"


@pytest.mark.parametrize("cell", DIGITS)
def test_lra_diffusion_is_not_far_below_the_vote_over_the_same_features(cell: str) -> None:
    for path in sorted((ROOT / "results" / "lra_diffusion" / cell).rglob("record.json")):
        row = records.load(path.parent).epochs.iloc[-1]
        assert row["accuracy"] >= row["accuracy_3"] - 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_with_one_parameters_cell(path: Path) -> None:
    notebook: Any = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 14
    assert not any(cell.outputs or cell.execution_count for cell in code)
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].source.startswith("# Parameters")
    assert not any(line.startswith(("def ", "class ")) for cell in code for line in cell.source.splitlines())


def test_the_table_of_the_readme_is_that_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert contest.readme(text, ROOT / "results") == text


SAID_BY_THE_NAME = {"paper", "cell", "base", "name", "kind", "rate", "annotator"}


def unexplained(text: str) -> list[str]:
    """The keys of a parameter file whose values have no comment, neither beside them nor beside a group around them."""
    lines, found = text.splitlines(), []

    def visit(group: yaml.MappingNode, prefix: str) -> None:
        for key, value in group.value:
            if " # " in lines[key.start_mark.line]:
                continue
            if isinstance(value, yaml.MappingNode):
                visit(value, f"{prefix}{key.value}.")
            elif key.value not in SAID_BY_THE_NAME:
                found.append(prefix + key.value)

    visit(yaml.compose(text, Loader=yaml.SafeLoader), "")
    return found


def test_what_chapters_show_of_the_source_is_there() -> None:
    shown = re.compile(r"^```\{literalinclude\} (\S+)\n(?:(?!```).*\n)*?:pyobject: (\S+)$", re.MULTILINE)
    found = [(path, *one) for path in (ROOT / "book").glob("*.md") for one in shown.findall(path.read_text())]
    assert len(found) > 20
    for chapter, file, name in found:
        body = ast.parse((chapter.parent / file).read_text(encoding="utf-8")).body
        for part in name.split("."):
            body = next((getattr(node, "body", []) for node in body if getattr(node, "name", None) == part), None)  # type: ignore[assignment]
            assert body is not None, f"{chapter.name}: {name} is not in {file}"


def test_every_base_file_is_used_and_every_parameter_file_says_where_its_values_come_from() -> None:
    bases = set((ROOT / "params" / "bases").rglob("*.yaml"))
    assert bases == {base for path in (ROOT / "params").glob("*/*.yaml") for base in sources(path)} & bases
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in bases)
    silent = {str(path): unexplained(path.read_text(encoding="utf-8")) for path in (ROOT / "params").rglob("*.yaml")}
    assert {path: keys for path, keys in silent.items() if keys} == {}


def test_the_citation_is_the_same_wherever_it_stands() -> None:
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    shown = (ROOT / "book" / "cite.md").read_text(encoding="utf-8")
    bibtex = dict(re.findall(r"^  (\w+) += \{+(.*?)\}+,?$", shown, re.MULTILINE))
    assert bibtex == {"author": cff["authors"][0]["name"], **{key: cff[key] for key in ("title", "version", "license")}}
    assert f'version = "{cff["version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
