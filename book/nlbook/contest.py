"""The methods side by side: which runs take part, and the tables of the page that compares them and of the README.

`python -m nlbook.contest` writes the table and the figure of the README, from the committed records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from nlkit import figures
from nlkit.files import project_root
from nlkit.params import load_params, registry
from nlkit.training.runs import Run, load_run, run_path

LOOKS = registry.contestants()
"""The contestants by paper and ending of the cell's name, in the order of the book."""
NOT_RUN = "not run here"
Rivals = Mapping[str, Sequence[Run]]
"""Runs of several seeds by contestant, a key of LOOKS, all on one cell."""
Groups = Mapping[str, Rivals]
"""The rivals of each cell."""


def all_runs() -> list[Run]:
    """Every committed record, and in its place or beside it the fresh runs of committed parameters."""
    figures.use_book_style()
    root = project_root()
    found = {run_path(run.params): run for run in runs_below(root / "results")}
    for run in runs_below(root / "runs"):
        path = root / "params" / run.params.paper / f"{run.params.cell}.yaml"
        if path.exists() and load_params(path, seed=run.params.seed).digest == run.params.digest:
            found[run_path(run.params)] = run
    return list(found.values())


def runs_below(folder: Path, paper: str = "*") -> list[Run]:
    """The runs `<paper>/<cell>/seed-<k>` below a folder."""
    return [load_run(path.parent) for path in sorted(folder.glob(f"{paper}/*/seed-*/record.json"))]


def contestants(runs: Sequence[Run], cells: Sequence[str]) -> dict[str, dict[str, list[Run]]]:
    """The runs that compete on each of the cells, contestants in the order of the book, seeds in order."""
    groups: dict[str, dict[str, list[Run]]] = {cell: {name: [] for name in LOOKS} for cell in cells}
    for run in sorted(runs, key=lambda run: run.params.seed):
        key = entry(run.params.paper, run.params.cell, cells)
        if key is not None:
            groups[key[1]][key[0]].append(run)
    return {cell: {name: found for name, found in rivals.items() if found} for cell, rivals in groups.items()}


def entry(paper: str, cell: str, cells: Sequence[str]) -> tuple[str, str] | None:
    """Contestant and cell of a run, None for one that does not compete.

    Its own cell is one of the cells, followed by an ending under which its method competes. Other endings tell
    variations, which belong to the chapter of the method.
    """
    for base in cells:
        if cell.startswith(base) and f"{paper}{cell.removeprefix(base)}" in LOOKS:
            return f"{paper}{cell.removeprefix(base)}", base
    return None


def accuracy_table(groups: Groups) -> pd.DataFrame:
    """One row a method, one column a cell: last accuracy in percent, mean and standard deviation, number of seeds."""
    table = pd.DataFrame(NOT_RUN, index=[look.label for look in LOOKS.values()], columns=list(groups))
    for cell, rivals in groups.items():
        for name, runs in rivals.items():
            last = pd.Series([run.record["accuracy"]["last"] for run in runs])
            table.loc[LOOKS[name].label, cell] = f"{spread(last)} ({len(runs)})"
    return table.rename_axis(index="method")


def spread(values: pd.Series, digits: int = 1) -> str:
    """`mean ± standard deviation` of several numbers, or the one there is."""
    values = values.dropna().astype(float)
    known = [values.mean(), values.std(ddof=1)][: len(values)]
    return " ± ".join(f"{one:.{digits}f}" for one in known) or "–"


def percent(share: float | None) -> str:
    """A share in percent; human labels have no nominal rate, and without clean labels none is known."""
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f} %"


def cost_table(rivals: Rivals) -> pd.DataFrame:
    """One row a method with runs: passes, seconds, memory; means over seeds.

    `passes` are forward-equivalents per image and epoch. The seconds of a shared pre-training stand beside the
    methods that use it, and are not part of theirs.
    """
    rows = {LOOKS[name].label: _cost(runs) for name, runs in rivals.items()}
    return pd.DataFrame(rows).T.rename_axis(index="method")


def _cost(runs: Sequence[Run]) -> dict[str, str]:
    first, epochs = runs[0].record, len(runs[0].epochs)
    passes = pd.Series([passes_of(run) for run in runs], dtype=float).mean()
    before = [run.record["encoder"]["seconds"] for run in runs if run.record.get("encoder")]
    return {
        "epochs": str(epochs),
        "passes": "–" if pd.isna(passes) else f"{passes / epochs:.1f}",
        "passes of a run": "–" if pd.isna(passes) else f"{passes:,.0f}",
        "seconds": spread(pd.Series([run.record["seconds"] for run in runs]), 0),
        "seconds of pre-training": f"{sum(before) / len(before):.0f}" if before else "–",
        "peak memory in MB": f"{max(run.record['peak_memory_mb'] for run in runs):.0f}",
        "parameters": f"{first['network']['parameters']:,}",
        "device": str(first["device"]["name"]),
    }


def passes_of(run: Run) -> float | None:
    """Forward-equivalents per training image of a whole run, None where its method does not count them."""
    count, passes = run.record["data"]["train"], registry.find(run.params.method.name).passes
    return None if passes is None else passes(run.params, count, run.epochs) / count


MARKS = ("<!-- results -->", "<!-- /results -->")
README_CELLS = {
    "digits-sym-20": "sym 20 %",
    "digits-sym-50": "sym 50 %",
    "digits-sym-80": "sym 80 %",
    "digits-asym-40": "asym 40 %",
    "digits-pmd-35": "PMD 35 %",
    "cifar10n-worst-laptop": "CIFAR-10N worst, small network",
}


def readme(text: str, results: Path) -> str:
    """The README's text with the table between its two marks made from the records; empty where nothing was run."""
    groups = contestants(runs_below(results), list(README_CELLS))
    table = accuracy_table(groups).rename(columns=README_CELLS).replace(NOT_RUN, "")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return f"{before}{MARKS[0]}\n{table.to_markdown(disable_numparse=True)}\n{MARKS[1]}{after}"


def write_readme(root: Path) -> None:
    """Write the table into the README, and the figure at its top."""
    path = root / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8"), root / "results"), encoding="utf-8")
    figures.use_book_style()
    figure = figures.loss_ridges(load_run(root / "results" / "dividemix" / "digits-sym-50" / "seed-0"))
    figure.savefig(root / "book" / "_static" / "hero.svg", metadata={"Date": None})


if __name__ == "__main__":
    write_readme(project_root())
