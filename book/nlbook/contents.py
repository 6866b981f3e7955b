"""What the book is made of: pages, the files behind each, the fragments of its chapters, and the table of contents.

`python -m nlbook.contents OUT PAGE...` writes `_toc.yml` with the chapters of all methods and these pages put in.
"""

import ast
import re
import sys
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nlkit.errors import NlkitError
from nlkit.files import project_root, write_atomically
from nlkit.params import Params, load_params, registry
from nlkit.params.registry import Entry

ROOMS = ("params", "data", "noise", "kernels", "views", "models", "parts", "training")
"""What decides the outcome of a run, beside its method; all else only shows it."""
SEED = 0
QUOTED = re.compile(r"^````.*?^````$", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r"^```\{(?:include|figure)\} _generated/([\w.+-]+)$", re.MULTILINE)


def papers() -> dict[str, list[Entry]]:
    """The methods of each paper, in the order of the book."""
    found: dict[str, list[Entry]] = {}
    for entry in registry.everything():
        found.setdefault(entry.paper, []).append(entry)
    return found


def run_pages(root: Path, is_fresh: Callable[[str], bool] = lambda page: False) -> list[str]:
    """The pages of runs, `<paper>-<cell>`, in order: of committed and of fresh ones, but for those without noise."""
    found = []
    for paper, entries in papers().items():
        endings = {ending for entry in entries for ending, look in entry.looks.items() if look.page}
        cells = {path.stem: path for path in (root / "params" / paper).glob("*.yaml") if "-clean" not in path.stem}
        for cell in sorted(cells, key=_order) if (root / "notebooks" / f"{paper}.ipynb").exists() else []:
            page = f"{paper}-{cell}"
            if (is_fresh(page) or (root / committed(page)).exists()) and not _is_variation(cell, cells, endings):
                found.append(page)
    return found


def other_pages(root: Path) -> list[str]:
    """The notebooks that are of no paper: those that look at labels, at all records, or at one's own images."""
    return sorted({path.stem for path in (root / "notebooks").glob("*.ipynb")} - set(papers()))


def shows_all_runs(page: str) -> bool:
    """Whether a page shows whatever was run, fresh runs too."""
    return "all_runs" in notebook(page).read_text(encoding="utf-8")


def is_run(page: str) -> bool:
    """Whether a page shows one run; names of notebooks are those of modules, without a hyphen."""
    return "-" in page


def notebook(page: str) -> Path:
    """The notebook of a page."""
    return Path("notebooks", f"{page.split('-', 1)[0]}.ipynb")


def committed(page: str) -> Path:
    """The committed record of the run that a page shows."""
    return Path("results", *page.split("-", 1), f"seed-{SEED}", "record.json")


def _is_variation(cell: str, cells: dict[str, Path], endings: Collection[str]) -> bool:
    """Whether a cell continues the name of another one on the same images, with an ending that is no contestant's."""
    shorter = [one for one in cells if cell.startswith(f"{one}-") and cell.removeprefix(one) not in endings]
    return any(load_params(cells[one]).data == load_params(cells[cell]).data for one in shorter)


KINDS = {"sym": "symmetric", "asym": "asymmetric", "pmd": "PMD", "clean": "correct labels"}
"""Of noise in the names of cells, in the order of pages."""


def title(cell: str) -> str:
    """A cell in words: `Digits, symmetric 50 %`, `CIFAR-10 on a laptop`."""
    first, *rest = cell.split("-")
    data = first.upper().replace("CIFAR", "CIFAR-") if first.startswith("cifar") else first.capitalize()
    if rest[-1:] == ["laptop"]:
        return f"{title('-'.join([first, *rest[:-1]]))} on a laptop"
    words = re.sub(r" (\d+)\b", r" \1 %", " ".join(KINDS.get(word, word.capitalize()) for word in rest))
    return ", ".join([data, *re.split(r"(?<=%) ", words)]) if words else data


def _order(cell: str) -> tuple[bool, int, str]:
    """Digits before the rest, then by kind of noise and rate."""
    kind = next((place for place, kind in enumerate(KINDS) if f"-{kind}-" in cell), len(KINDS))
    return not cell.startswith("digits"), kind, cell


def fragments(root: Path) -> dict[str, str]:
    """The names of the generated tables and figures, each with a chapter that includes it."""
    chapters = {path.name: path.read_text(encoding="utf-8") for path in sorted((root / "book").glob("*.md"))}
    return {name: chapter for chapter, text in chapters.items() for name in INCLUDED.findall(QUOTED.sub("", text))}


def pretraining(page: str) -> list[str]:
    """The page of the pre-training that a run refers to; its encoder is shared by all such runs."""
    needed = _parameters(page).method.pretraining
    return [f"{Path(needed[1]).parent.name}-{Path(needed[1]).stem}"] if needed else []


def grid(root: Path) -> dict[str, list[str]]:
    """The pages that all parameter files would have, those of pre-training too, by kind of cell and together."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for paper in papers() for path in (root / "params" / paper).glob("*.yaml")):
        for name in (kind(path.stem), "all"):
            found.setdefault(name, []).append(f"{path.parent.name}-{path.stem}")
    return found


def kind(cell: str) -> str:
    """Of which part of the grid a cell is: `digits`, `laptop`, at full size `cifar10` or `cifar100`, `photographs`."""
    small = next((name for name in ("digits", "laptop") if name in cell.split("-")), None)
    return small or next((name for name in ("cifar100", "cifar10") if cell.startswith(name)), "photographs")


@cache
def _parameters(page: str) -> Params[Any]:
    return load_params(parameter_file(page))


def parameter_file(page: str) -> Path:
    """The parameter file of a run."""
    paper, cell = page.split("-", 1)
    return Path("params", paper, f"{cell}.yaml")


@cache
def code(page: str) -> list[Path]:
    """The files that decide the outcome of a run; photographs and public data sets do not concern runs on digits."""
    files_of = (sorted(Path("nlkit", room).rglob("*")) for room in ROOMS)
    found = [path for paths in files_of for path in paths if path.suffix in (".py", ".yaml")]
    if "-digits" in page:
        found = [path for path in found if not any(part.startswith(("photo", "sources.yaml")) for part in path.parts)]
    return [*found, Path("nlkit/seeding.py"), *sorted(_method_files(_parameters(page).method.name))]


@cache
def _method_files(name: str) -> set[Path]:
    """The file of a method, and those beside it that it stands on."""
    found = {Path("nlkit", "methods", f"{name}.py")}
    for node in ast.walk(ast.parse(min(found).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(registry.PACKAGE):
            inner = str(node.module).removeprefix(registry.PACKAGE).removeprefix(".")
            found = found.union(*(_method_files(inner or one.name) for one in node.names))
    return found


def table_of_contents(root: Path, pages: Sequence[str]) -> dict[str, Any]:
    """The skeleton in `_toc.yml`, with the chapters of all methods in place of `methods`, in the order of the book.

    In place of `experiments`: each `experiments_<chapter>`, above the pages of runs; else they stand below `<chapter>`.
    """
    toc: dict[str, Any] = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    runs: dict[str, list[dict[str, Any]]] = {}
    for paper, entries in papers().items():
        cells, chapter = [page.split("-", 1)[1] for page in pages if page.startswith(f"{paper}-")], entries[0].chapter
        if (root / "book" / f"{chapter}.md").exists():
            found = [{"file": f"book/pages/{paper}-{cell}", "title": title(cell)} for cell in cells]
            runs.setdefault(chapter, []).extend(found)
        elif cells:
            raise NlkitError(f"book/{chapter}.md is missing: the chapter of '{paper}', below which its runs stand")
    made: dict[str, list[dict[str, Any]]] = {"methods": [], "experiments": []}
    for chapter, sections in runs.items():
        below: dict[str, Any] = {"file": f"book/{chapter}"}
        made["methods"].append(below)
        if (root / "book" / f"experiments_{chapter}.md").exists():
            below = {"file": f"book/experiments_{chapter}"}
            made["experiments"].append(below)
        below |= {"sections": sections} if sections else {}
    for part in toc["parts"]:
        part["chapters"] = [one for entry in part["chapters"] for one in made.get(str(entry), [entry])]
    return toc


if __name__ == "__main__":
    found = table_of_contents(project_root(), sys.argv[2:])
    write_atomically(Path(sys.argv[1]), yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
