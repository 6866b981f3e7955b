"""The methods side by side: which runs take part, and the tables of the page that compares them and of the README.

`python -m nlbook.contest` writes the table and the figure of the README, from the committed records.
"""

from collections.abc import Callable, Mapping, Sequence
from math import hypot
from pathlib import Path
from typing import Any

import pandas as pd

from nlkit import figures
from nlkit.errors import NlkitError
from nlkit.files import project_root
from nlkit.params import deviation, registry
from nlkit.training import encoders
from nlkit.training.bench import run_passes
from nlkit.training.runs import Run, load_run, run_path

LOOKS = registry.contestants()  # by paper and ending of the cell's name, in the order of the book
NOT_RUN = "not run here"
BASELINES = ("cross_entropy-views", "cross_entropy")
SHARED = ("data", "noise", "model", "views")  # what runs that can be ranked have in common, beside their passes
BUDGETS = {1_347: 1440, 10_000: 600, 50_000: 150}
"""Passes an image, pre-training included, that runs may take if they are to be ranked, by number of training images."""
TOLERANCE = 0.1
TIED = "\N{NO-BREAK SPACE}≈"
LABELS = {"last": "", "last_single": ", one network"}  # what of a record stands in which row of a method
DRAW = "-noise-"  # stands in the name of a cell before the number of a further draw of its wrong labels
Rivals = Mapping[str, Sequence[Run]]
"""Runs of several seeds by contestant, a key of LOOKS, all on one cell."""
Groups = Mapping[str, Rivals]  # of each cell


def all_runs() -> list[Run]:
    """Every committed record, and in its place or beside it the fresh runs of committed parameters."""
    figures.use_book_style()
    root = project_root()
    if not (root / "results").is_dir():
        raise NlkitError(f"{root}: holds no results; go to the project's folder, or name it: papermill --cwd DIR")
    found = [*runs_below(root / "results"), *fresh_runs(root)]
    return list({run_path(run.params): run for run in found}.values())


def fresh_runs(root: Path) -> list[Run]:
    """The runs of committed parameters that were made here."""
    return [run for run in runs_below(root / "runs") if not deviation(run.params, root)]


def runs_below(folder: Path, paper: str = "*") -> list[Run]:
    """The runs `<paper>/<cell>/seed-<k>` below a folder."""
    return [load_run(path.parent) for path in sorted(folder.glob(f"{paper}/*/seed-*/record.json"))]


def contestants(runs: Sequence[Run], cells: Sequence[str]) -> dict[str, dict[str, list[Run]]]:
    """The runs that compete on each of the cells, contestants in the order of the book, seeds in order."""
    groups: dict[str, dict[str, list[Run]]] = {cell: {name: [] for name in LOOKS} for cell in cells}
    for run in sorted(runs, key=lambda run: run.params.seed):
        if (key := entry(run.params.paper, run.params.cell, cells)) is not None:
            groups[key[1]][key[0]].append(run)
    return {cell: {name: found for name, found in rivals.items() if found} for cell, rivals in groups.items()}


def entry(paper: str, cell: str, cells: Sequence[str]) -> tuple[str, str] | None:
    """Contestant and cell of a run on one of the cells; None for a run on another one, and for a variation."""
    found = ((f"{paper}{cell.removeprefix(base)}", base) for base in cells if cell.startswith(base))
    return next((one for one in found if one[0] in LOOKS), None)


def of_equals(rivals: Rivals, plain: bool = False) -> Rivals:
    """Those that can be ranked: data, noise, network and views of the baseline, passes within a tenth of the budget.

    The baseline is cross-entropy with all views. With `plain` cross-entropy is among them even if its views are fewer.
    """
    first = next((rivals[name][0] for name in BASELINES if name in rivals), None)
    ranked = {name for name, runs in rivals.items() if first and all(_is_equal(run, first) for run in runs)}
    return {name: runs for name, runs in rivals.items() if name in ranked or (plain and name == BASELINES[-1])}


def _is_equal(run: Run, baseline: Run) -> bool:
    if any(getattr(run.params, part) != getattr(baseline.params, part) for part in SHARED):
        return False
    passes, budget = passes_of(run), BUDGETS.get(run.record["data"]["train"])
    return passes is not None and budget is not None and abs(passes / budget - 1) <= TOLERANCE


def unequal(rivals: Rivals) -> Rivals:
    """Those that cannot be ranked: other views, or fewer passes."""
    ranked = of_equals(rivals)
    return {name: runs for name, runs in rivals.items() if name not in ranked}


def accuracy_table(groups: Groups, ranked: bool = True) -> pd.DataFrame:
    """One row a method, one column a cell: last accuracy in percent over seeds; `ranked`: a mark at ties for best.

    A method that tests several networks together has a second row, of one of them.
    """
    scores = [(name, run.record["accuracy"]) for each in groups.values() for name, runs in each.items() for run in runs]
    several = {name for name, score in scores if score["last"] != score["last_single"]}
    rows = [(name, kind) for name in present(groups) for kind in LABELS if kind == "last" or name in several]
    table = pd.DataFrame(NOT_RUN, index=[LOOKS[name].label + LABELS[kind] for name, kind in rows], columns=list(groups))
    for cell, rivals in groups.items():
        values = {row: [run.record["accuracy"][row[1]] for run in rivals[row[0]]] for row in rows if row[0] in rivals}
        marks = tied({row: sum(one) / len(one) for row, one in values.items()}, _test_images(rivals)) if ranked else {}
        for row, one in values.items():
            name = LOOKS[row[0]].label + LABELS[row[1]]
            table.loc[name, cell] = f"{spread(pd.Series(one))} ({len(one)}){marks.get(row, '')}"
    return table.rename_axis(columns="method")  # stands above the names of the methods


def present(groups: Groups) -> list[str]:
    """The contestants that have runs, in the order of the book."""
    return [name for name in LOOKS if any(name in rivals for rivals in groups.values())]


def draws_table(runs: Sequence[Run], cell: str) -> pd.DataFrame:
    """One row a method: last accuracy in percent on a cell and on further draws of its labels, `<cell>-noise-<k>`.

    The deviations are standard deviations: of the means of the draws, and of the seeds within a draw.
    """
    rows = []
    for run in runs:
        own, _, draw = run.params.cell.partition(DRAW)
        if key := entry(run.params.paper, own, [cell]):
            rows.append((LOOKS[key[0]].label, draw, run.record["accuracy"]["last"]))
    found = pd.DataFrame(rows, columns=["method", "draw", "last"]).groupby(["method", "draw"])["last"]
    draws = found.agg(["mean", "var", "size"]).reset_index().groupby("method")
    table = pd.DataFrame({"last": draws["mean"].mean(), "draws": draws.size(), "runs": draws["size"].sum()})
    table["deviation of draws"], table["deviation of seeds"] = draws["mean"].std(), draws["var"].mean() ** 0.5
    table = table[table["draws"] > 1].reindex([look.label for look in LOOKS.values()]).dropna(subset="last")
    count = _test_images(contestants(runs, [cell])[cell])
    table.insert(1, "95 % interval", [" to ".join(f"{x:.1f}" for x in interval(last, count)) for last in table["last"]])
    table["last"] = [f"{table['last'][one]:.1f}{mark}" for one, mark in tied(dict(table["last"]), count).items()]
    return table.astype({"draws": int, "runs": int}).round(1)


def interval(mean: float, count: int) -> tuple[float, float]:
    """The 95 % interval in percent (Wilson) of a mean accuracy on `count` test images, the same ones for all seeds."""
    from scipy.stats import binomtest  # takes a second to import, which other tables need not spend

    found = binomtest(round(mean / 100 * count), count).proportion_ci(method="wilson")
    return 100 * found.low, 100 * found.high


def tied(means: Mapping[Any, float], count: int) -> dict[Any, str]:
    """A mark for each method that `count` test images do not tell from the best, else nothing.

    They do where the 95 % interval of the difference (Newcombe, from the intervals of both) is above zero.
    """
    best = max(means.values(), default=0.0)
    below = best - interval(best, count)[0]
    far = {name: hypot(below, interval(mean, count)[1] - mean) < best - mean for name, mean in means.items()}
    return {name: "" if told else TIED for name, told in far.items()}


def _test_images(rivals: Rivals) -> int:
    return max((sum(runs[0].record["data"]["test"].values()) for runs in rivals.values()), default=1)


def spread(values: pd.Series, digits: int = 1) -> str:
    """`mean ± standard deviation` of several numbers, or the one there is."""
    values = values.dropna().astype(float)
    known = [values.mean(), values.std(ddof=1)][: len(values)]
    return " ± ".join(f"{one:.{digits}f}" for one in known) or "–"


def percent(share: float | None) -> str:
    """A share in percent; human labels have no nominal rate, and without clean labels none is known."""
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f} %"


def cost_table(rivals: Rivals) -> pd.DataFrame:
    """One row a method with runs: passes (forward-equivalents per image), seconds, memory; means over seeds.

    The passes of a shared pre-training are part of those of each method that uses it; its seconds stand beside.
    """
    costs = {}
    for name, runs in rivals.items():
        first, epochs = runs[0].record, len(runs[0].epochs)
        passes = pd.Series([passes_of(run) for run in runs], dtype=float).mean()
        pretraining = pretraining_passes(runs[0])
        before = [run.record["encoder"]["seconds"] for run in runs if run.record.get("encoder")]
        costs[LOOKS[name].label] = {
            "epochs": str(epochs),
            "passes an epoch": "–" if pd.isna(passes) else f"{(passes - pretraining) / epochs:.1f}",
            "passes of a run": "–" if pd.isna(passes) else f"{passes:,.0f}",
            "of them pre-training": f"{pretraining:,.0f}" if pretraining else "–",
            "seconds": spread(pd.Series([run.record["seconds"] for run in runs]), 0),
            "seconds of pre-training": f"{sum(before) / len(before):.0f}" if before else "–",
            "peak memory in MB": f"{max(run.record['peak_memory_mb'] for run in runs):.0f}",
            "parameters": f"{first['network']['parameters']:,}",
            "threads": str(first["device"].get("threads", "–")),
            "device": ", ".join(dict.fromkeys(run.record["device"]["name"] for run in runs)),
            "precision": ", ".join(dict.fromkeys(run.record["precision"] for run in runs)),
        }
    return pd.DataFrame(costs).T.rename_axis(columns="method")


def passes_of(run: Run) -> float | None:
    """Forward-equivalents per training image of a run and of its pre-training; None where a method counts none."""
    count, passes = run.record["data"]["train"], registry.find(run.params.method.name).passes
    return None if passes is None else passes(run.params, count, run.epochs) / count + pretraining_passes(run)


def pretraining_passes(run: Run) -> float:
    """Forward-equivalents per training image of the pre-training of a run, 0 without."""
    params, count = encoders.referred(run.params), run.record["data"]["train"]
    return run_passes(params, count) / count if params else 0.0


MARKS = ("<!-- results -->", "<!-- /results -->")
RANKED = {
    "digits": {
        "digits-sym-20": "sym 20 %", "digits-sym-50": "sym 50 %", "digits-sym-80": "sym 80 %",
        "digits-asym-40": "asym 40 %", "digits-pmd-35": "PMD 35 %",
    },
    "laptop": {
        "cifar10n-worst-laptop": "CIFAR-10N worst", "cifar10n-aggregate-laptop": "CIFAR-10N aggregate",
        "cifar10-sym-50-laptop": "CIFAR-10 sym 50 %", "cifar10-asym-40-laptop": "CIFAR-10 asym 40 %",
    },
}  # fmt: skip
"""Cells of tables outside the page that compares, with the titles of their columns."""


def ranking(runs: Sequence[Run], cells: dict[str, str], part: Callable[[Rivals], Rivals] = of_equals) -> pd.DataFrame:
    """The table of those cells that were run, given with titles, of the contestants of each that `part` chooses."""
    groups = contestants(runs, list(cells))
    run_here = {title: part(groups[cell]) for cell, title in cells.items() if groups[cell]}
    return accuracy_table(run_here, part is of_equals)


def readme(text: str, results: Path) -> str:
    """The README's text with tables between its marks made from the records: photographs, digits, for reference."""
    kinds, found = (("laptop", of_equals), ("digits", of_equals), ("digits", unequal)), runs_below(results)
    tables = (ranking(found, RANKED[name], part).replace(NOT_RUN, "").rename_axis("method") for name, part in kinds)
    shown = "\n\n".join(table.to_markdown(disable_numparse=True) for table in tables)
    before, rest = text.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{shown}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def write_readme(root: Path) -> None:
    """Write the table into the README, and the figure at its top."""
    path = root / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8"), root / "results"), encoding="utf-8")
    figures.use_book_style()
    figure = figures.loss_ridges(load_run(root / "results" / "dividemix" / "digits-sym-50" / "seed-0"))
    figure.savefig(root / "book" / "_static" / "hero.svg", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    write_readme(project_root())
