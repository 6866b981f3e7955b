"""The table of contents: `_toc.yml` with the chapters of all methods and the pages of their runs put in.

`python -m nlbook.toc OUT PAGE...` writes it for these pages of runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nlbook import contents
from nlkit.errors import NlkitError
from nlkit.files import project_root, write_atomically

Entries = list[dict[str, Any]]


def table_of_contents(root: Path, pages: Sequence[str]) -> dict[str, Any]:
    """The skeleton in `_toc.yml`, where `methods` and `experiments` stand for what the methods bring.

    `methods`: their chapters, in the order of the book. `experiments`: the chapter `experiments_<chapter>` of each,
    with the pages of its runs below it; where there is none, the pages stand below the method's own chapter.
    """
    toc: dict[str, Any] = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    made: dict[str, Entries] = {"methods": [], "experiments": []}
    for chapter, runs in _chapters(root, pages).items():
        made["methods"].append({"file": f"book/{chapter}"})
        apart = f"book/experiments_{chapter}"
        if (root / f"{apart}.md").exists():
            made["experiments"].append({"file": apart})
        if runs:
            made["experiments" if (root / f"{apart}.md").exists() else "methods"][-1]["sections"] = runs
    for part in toc["parts"]:
        part["chapters"] = [one for entry in part["chapters"] for one in made.get(str(entry), [entry])]
    return toc


def _chapters(root: Path, pages: Sequence[str]) -> dict[str, Entries]:
    """The chapters of the methods, each with the pages of its runs."""
    found: dict[str, Entries] = {}
    for paper, entries in contents.papers().items():
        runs = [page for page in pages if page.startswith(f"{paper}-")]
        chapter = entries[0].chapter
        if (root / "book" / f"{chapter}.md").exists():
            titles = [{"file": f"book/pages/{run}", "title": contents.title(run.split("-", 1)[1])} for run in runs]
            found.setdefault(chapter, []).extend(titles)
        elif runs:
            raise NlkitError(f"book/{chapter}.md is missing: the chapter of '{paper}', below which its runs stand")
    return found


if __name__ == "__main__":
    found = table_of_contents(project_root(), sys.argv[2:])
    write_atomically(Path(sys.argv[1]), yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
