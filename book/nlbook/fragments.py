"""Whatever chapters include from `book/_generated/` is made by its name: `python -m nlbook.fragments`.

The name of a table begins with its kind and goes on with what it is of: `params_tcl`, `variations_tcl_digits-sym-80`.
A figure has the name of a function of `nlkit.figures` and of a run: `loss_ridges_dividemix_digits-sym-50.svg`; or the
curves of all equals on a cell: `epoch_curves_cifar10n-worst-laptop.svg`.
"""

import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from nlbook import contents, contest, tables, votes
from nlbook.contest import NOT_RUN
from nlbook.figures.contest import epoch_curves
from nlbook.svg import compact
from nlbook.tables import Rows, Source
from nlkit import figures
from nlkit.errors import NlkitError
from nlkit.figures.numbers import figure_csv
from nlkit.files import commit, project_root
from nlkit.lazy import torch
from nlkit.params import load_params
from nlkit.training import provenance, records


def environment(source: Source, nothing: str) -> Rows:
    """`environment`: machine, commit and versions that built these pages, and how long each fresh run took."""
    device = provenance.describe_device(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    facts = {"machine": device["name"], "commit": commit() or "not in a repository"} | provenance.versions()
    for run in contest.fresh_runs(source.root):
        facts[f"training {run.params.paper} {run.params.cell}"] = f"{run.record['seconds']:.0f} s"
    return ({"what": name, "value": value} for name, value in facts.items())


def photo_rows(source: Source, nothing: str) -> Rows:
    """`photo_rows`: one row for each parameter file on photographs: what it trains on what, and its records."""
    for path in sorted((source.root / "params").glob("*/*.yaml")):
        params: Any = load_params(path)
        if not hasattr(params.data, "short"):  # only photographs are scaled to a short side
            continue
        count = len(tables.of(source.rows, params.paper, params.cell))
        start = f"weights {params.model.weights}" if params.model.weights else "random start"
        start = "pre-trained without labels" if params.method.pretraining else start
        yield {
            "method": params.paper,
            "cell": params.cell,
            "network": f"{params.model.name.replace('_', ' ')}, {start}",
            "short side, view": f"{params.data.short}, {params.views.kind.replace('_', ' ')} {params.views.size}",
            "epochs": params.training.epochs,
            "B": params.training.batch_size,
            "images of an epoch": getattr(params.method, "balanced", None) or "all",
            "record": f"{count} seed{'s' * (count > 1)}" if count else NOT_RUN,
        }


def own_photographs(source: Source, nothing: str) -> pd.DataFrame:
    """`own_photographs`: how well `nlkit clean` found the wrong labels of photographs as files, and what it took."""
    found = pd.read_csv(source.root / "benchmarks/own_photographs.csv", dtype=str).set_index("method")
    names = {"wrong": "wrong %", "auc": "AUC", "accuracy": "accuracy %", "cpu_seconds": "CPU s"}
    return found.drop(columns=["seconds", "network", "device", "commit"]).rename(columns=names).T


MAKERS: dict[str, Callable[[Source, str], Rows | pd.DataFrame]] = {
    "params": tables.settings,
    "results": tables.results,
    "sources": tables.sources,
    "claims": tables.last_and_best,
    "summary": tables.summary,
    "memorisation": lambda source, cell: tables.memorisation(contest.contestants(source.runs, [cell])[cell]),
    "variations": tables.variations,
    "vote": lambda source, paper: votes.weights_and_vote([run for run in source.runs if run.params.paper == paper]),
    "encoder": lambda source, name: votes.vote_accuracy(source.run(*name.rsplit("_", 1))),
    "ranking": lambda source, cells: contest.ranking(source.runs, contest.RANKED[cells]),
    "environment": environment,
    "photo_rows": photo_rows,
    "own_photographs": own_photographs,
}
"""What makes the tables of each kind, from the rest of their names."""


def table(name: str, source: Source) -> pd.DataFrame:
    """The table of a name; raises NlkitError for a name that nothing makes."""
    for kind, make in MAKERS.items():
        if f"{name}_".startswith(f"{kind}_"):
            found = pd.DataFrame(make(source, name.removeprefix(kind).removeprefix("_")))
            return found.reset_index(names=found.columns.name) if found.columns.name else found
    raise NlkitError(f"no table is called so; the kinds of tables are {', '.join(MAKERS)}")


NUMBER = re.compile(r"(?<=\d) (?=[±(%])|(?<=±) |(?<=\)) (?=≈)")  # spaces within a number and its marks


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table; an empty one says that nothing was run."""
    if table.empty:
        return "Not run here.\n"
    cells = table.map(lambda value: NUMBER.sub("\N{NO-BREAK SPACE}", str(value).replace("|", "\\|")))
    return f"{cells.to_markdown(index=False, disable_numparse=True)}\n"


def draw(name: str, source: Source, path: Path) -> None:
    """Write the figure of a name; raises NlkitError for a name that nothing draws."""
    rest, _, cell = name.rpartition("_")
    paper = next((paper for paper in contents.papers() if rest.endswith(f"_{paper}")), "")
    kind = rest.removesuffix(f"_{paper}")
    if rest == "epoch_curves" and (rivals := contest.of_equals(contest.contestants(source.runs, [cell])[cell])):
        figure = epoch_curves({contents.title(cell): rivals})
    elif paper and callable(getattr(figures, kind, None)):
        figure = getattr(figures, kind)(source.run(paper, cell))
    else:
        raise NlkitError("no figure is called so; expected <figure>_<paper>_<cell> or epoch_curves_<cell>")
    figure.savefig(path, metadata={"Date": None})
    path.with_suffix(".csv").write_text(figure_csv(figure) or "", encoding="utf-8")
    plt.close(figure)
    path.write_text(compact(path.read_text(encoding="utf-8")), encoding="utf-8")


def write_all(root: Path) -> None:
    """Write all that chapters include, and what pages offer for download."""
    out, source = root / "book" / "_generated", Source(root)
    out.mkdir(parents=True, exist_ok=True)
    matplotlib.use("svg")
    figures.use_book_style()
    for name, chapter in contents.fragments(root).items():
        path = out / name
        try:
            if path.suffix == ".svg":
                draw(path.stem, source, path)
            else:
                path.write_text(markdown(table(path.stem, source)), encoding="utf-8")
        except NlkitError as error:
            raise NlkitError(f"book/{chapter}: _generated/{name}: {error}") from None
    write_downloads(out / "extra" / "downloads", root)


def write_downloads(out: Path, root: Path) -> None:
    """What the pages offer for download: the clean notebooks, and the records of runs that have a page as archives."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(root / "notebooks", out / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (out / "records").mkdir()
    made = (run.params for run in contest.fresh_runs(root))
    fresh = {f"{one.paper}-{one.cell}" for one in made if one.seed == contents.SEED}
    for page in contents.run_pages(root, fresh.__contains__):
        run, path = Source(root).run(*page.split("-", 1)), out / "records" / f"{page}-seed-{contents.SEED}.tar.xz"
        with tempfile.TemporaryDirectory() as place, tarfile.open(path, "w:xz") as archive:
            records.write(Path(place), run.info, run.epochs, run.samples)  # older records are larger, with equal values
            notice = [root / "results" / "NOTICE.md"] if run.params.noise.kind == "human" else []
            for file in [*(Path(place, name) for name in records.FILES), *notice]:
                archive.add(file, file.name, filter=lambda one: one.replace(uname="", gname="", mtime=0, deep=False))


if __name__ == "__main__":
    try:
        write_all(project_root())
    except NlkitError as error:
        sys.exit(str(error))
