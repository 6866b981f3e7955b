"""The methods side by side: which runs take part, and the tables of the page that compares them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from nlbook import tables
from nlkit.figures.style import LOOKS
from nlkit.params.registry import find
from nlkit.training.runs import Run

Groups = Mapping[tuple[str, str], Sequence[Run]]
"""Runs of several seeds by contestant, a key of LOOKS, and cell."""

CELL = re.compile(r"(digits-(?:sym|asym|pmd)-\d+|cifar10n-worst-laptop)(-sup|-self)?")


def contestants(runs: Sequence[Run], cells: Sequence[str]) -> dict[tuple[str, str], list[Run]]:
    """The runs that compete on the cells, by contestant and cell, seeds in order.

    A variation, whose cell has a longer name, belongs to the chapter of its method; only CoDiM has two variants
    that compete, of which `-sup` names the second.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.params.seed):
        key = entry(run.params.paper, run.params.cell)
        if key is not None and key[1] in cells:
            groups.setdefault(key, []).append(run)
    order = list(LOOKS)
    return dict(sorted(groups.items(), key=lambda item: (order.index(item[0][0]), list(cells).index(item[0][1]))))


def entry(paper: str, cell: str) -> tuple[str, str] | None:
    """Contestant and cell of a run, None for one that does not compete."""
    found = CELL.fullmatch(cell)
    if found is None or (found[2] and paper != "codim"):
        return None
    name = f"codim{found[2] or '-self'}" if paper == "codim" else paper
    return (name, found[1]) if name in LOOKS else None


def methods(groups: Groups) -> list[str]:
    """The contestants that have at least one run, in the order of the book."""
    return list(dict.fromkeys(name for name, _ in groups))


def accuracy_table(groups: Groups, cells: Sequence[str], metric: str = "last") -> pd.DataFrame:
    """One row a method, one column a cell: accuracy in percent, mean and standard deviation, number of seeds."""
    table = {cell: {LOOKS[name].label: _accuracy(groups.get((name, cell)), metric) for name in LOOKS} for cell in cells}
    return pd.DataFrame(table).rename_axis(index="method")


def _accuracy(runs: Sequence[Run] | None, metric: str) -> str:
    if not runs:
        return "not run here"
    values = pd.Series([run.record["accuracy"][metric] for run in runs])
    return f"{tables.spread(values)} ({len(values)})"


def cost_table(groups: Groups, cell: str) -> pd.DataFrame:
    """One row a method with runs of a cell: passes, seconds, memory; means over seeds.

    `passes` are forward-equivalents per image and epoch. The seconds of a shared pre-training stand beside the
    methods that use it, and are not part of theirs.
    """
    rows = {LOOKS[name].label: _cost(runs) for (name, where), runs in groups.items() if where == cell}
    return pd.DataFrame(rows).T.rename_axis(index="method")


def _cost(runs: Sequence[Run]) -> dict[str, str]:
    first = runs[0]
    passes = pd.Series([passes_of(run) for run in runs], dtype=float)
    epochs = len(first.epochs)
    before = [run.record["encoder"]["seconds"] for run in runs if run.record.get("encoder")]
    return {
        "epochs": str(epochs),
        "passes": "–" if passes.isna().all() else f"{passes.mean():.1f}",
        "passes of a run": "–" if passes.isna().all() else f"{passes.mean() * epochs:,.0f}",
        "seconds": tables.spread(pd.Series([run.record["seconds"] for run in runs]), 0),
        "seconds of pre-training": f"{sum(before) / len(before):.0f}" if before else "–",
        "peak memory in MB": f"{max(run.record['peak_memory_mb'] for run in runs):.0f}",
        "parameters": f"{first.record['network']['parameters']:,}",
        "device": str(first.record["device"]["name"]),
    }


def passes_of(run: Run) -> float | None:
    """Forward-equivalents per training image and epoch of a run, None where no rule counts them."""
    rule, count = find(run.params.method.name).passes, run.record["data"]["train"]
    return None if rule is None else rule(run.params, count, run.epochs) / (count * len(run.epochs))


def passes_of_all_epochs(run: Run) -> float | None:
    """Forward-equivalents per training image of a whole run, None where no rule counts them."""
    passes = passes_of(run)
    return None if passes is None else passes * len(run.epochs)
