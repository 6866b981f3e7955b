"""The tables of chapters that come from parameters, records and claims."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from nlbook import contents
from nlbook.contest import DRAW, LOOKS, NOT_RUN, Rivals, percent, runs_below, spread
from nlkit.errors import NlkitError
from nlkit.params import deviation, load_params
from nlkit.training.runs import Run, load_run

Rows = Iterator[dict[str, Any]]
MEASURES = {"top1": "last", "reported": "last", "imagenet_top1": "last_imagenet"}
MEASURES |= {"top5": "last_top5", "imagenet_top5": "last_top5_imagenet"}
"""What of a record answers a claim; the other kinds of claims have the names of what answers them."""
UNSHOWN = ("cell", "training.snapshots")  # parameters that tell nothing of a variation


@dataclass(frozen=True)
class Source:
    """What tables are made from: a project with its parameters, records and claims."""

    root: Path

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row a committed record."""
        return rows_of(run.record for run in self.runs)

    @cached_property
    def runs(self) -> list[Run]:
        """The committed runs."""
        return runs_below(self.root / "results")

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row a claim: paper, cell, metric, value in percent, source, evidence."""
        return pd.DataFrame(yaml.safe_load((self.root / "book" / "claims.yaml").read_text(encoding="utf-8")))

    def run(self, paper: str, cell: str) -> Run:
        """The fresh run of a cell, else the committed one; raises NlkitError where there is neither."""
        for place in ("runs", "results"):
            folder = self.root / place / paper / cell / f"seed-{contents.SEED}"
            if (folder / "record.json").exists():
                run = load_run(folder)
                if place == "results" or not deviation(run.params, self.root):
                    return run
        raise NlkitError(f"no record of {paper}, {cell}; make one: nlkit run params/{paper}/{cell}.yaml")

    def parameter_files(self, paper: str) -> list[Path]:
        """The parameter files of a paper, but for further draws of labels; raises NlkitError where there are none."""
        paths = (self.root / "params" / paper).glob("*.yaml")
        found = sorted((path for path in paths if DRAW not in path.stem), key=lambda path: path.stem)
        if not found:
            raise NlkitError(f"params/{paper}: no parameter files there")
        return found


def rows_of(infos: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row a record, from the contents of record.json: accuracies in percent, split, noise rates, seconds."""
    names = ["paper", "cell", "seed", "seconds"]
    rows = [{name: info[name] for name in names} | info["noise"] | info["accuracy"] | info["split"] for info in infos]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=names)


def of(rows: pd.DataFrame, paper: str, cell: str) -> pd.DataFrame:
    """The rows of one cell, a seed each."""
    return rows[(rows["paper"] == paper) & (rows["cell"] == cell)]


def settings(source: Source, paper: str) -> Rows:
    """`params_<paper>`: the settings that its method shows, one row a cell."""
    shown = dict.fromkeys(name for entry in contents.papers().get(paper, []) for name in entry.shown)
    for path in source.parameter_files(paper):
        params = load_params(path)
        method = params.method.model_dump()
        method |= method.get("first") or {}
        schedule = {"epochs": params.training.epochs, "B": params.training.batch_size, "lr": params.optim.lr}
        yield {"cell": path.stem, **schedule, **{f"`{name}`": _plain(method.get(name)) for name in shown}}


def _plain(value: Any) -> Any:
    """A setting as a cell of a table: nothing for None, its kind for a group of settings."""
    return "" if value is None else value.get("kind", value) if isinstance(value, dict) else value


def results(source: Source, name: str) -> Rows:
    """`results_<paper>`: claimed and measured; `results_<paper>-<paper>_digits` or `_laptop`: measured there."""
    papers, _, where = name.rpartition("_")
    if where not in ("digits", "laptop"):
        return claimed_and_measured(source.root, claims_of(source, name), source.rows)
    rows = source.rows[source.rows["paper"].isin(papers.split("-")) & source.rows["cell"].str.contains(where)]
    return _by_cell(rows.sort_values("cell", kind="stable"))


def claims_of(source: Source, name: str) -> pd.DataFrame:
    """The claims of a paper, or of all `others` that are not run here, with a letter for each source."""
    papers = source.claims["paper"]
    claims = source.claims[~papers.isin(contents.papers()) if name == "others" else papers == name]
    numbers = claims.groupby(["source", "evidence"], sort=False).ngroup()
    return claims.assign(letter=[chr(ord("a") + number) for number in numbers])


def claimed_and_measured(root: Path, claims: pd.DataFrame, rows: pd.DataFrame) -> Rows:
    """One row a cell: what is claimed, by kind, with the letter of its source; and what was measured of these kinds."""
    for (paper, cell), group in claims.groupby(["paper", "cell"], sort=False):
        row, found = {kind: "" for kind in claims["metric"].unique()}, of(rows, str(paper), str(cell))
        measured = []
        for _, claim in group.iterrows():
            kind, std = claim["metric"], claim.get("std")
            value = f"{claim['value']:.2f}".rstrip("0").rstrip(".") + ("" if pd.isna(std) else f" ± {std}")
            row[kind] = f"{value} ({claim['letter']})"
            values = found.get(MEASURES.get(kind, kind), pd.Series(dtype=float)).dropna()
            measured += [f"{kind} {spread(values)}"] if len(values) else []
        nothing = NOT_RUN if (root / "params" / f"{paper}" / f"{cell}.yaml").exists() else "no parameters here"
        method = {"method": paper} if claims["paper"].nunique() > 1 else {}
        yield {**method, "cell": cell, "measured": ", ".join(measured) or nothing, **row}


def last_and_best(source: Source, word: str) -> pd.DataFrame:
    """`claims_<word>`: last (best*) by the claims whose source has this word, in cells that all their methods have."""
    claims = source.claims[source.claims["source"].str.contains(word)]
    found = claims.pivot(index=["paper", "cell"], columns="metric", values="value")
    text = found["last"].map("{:.1f}".format) + found["best"].map(" ({:.1f})".format)
    return text.unstack().dropna(axis="columns").loc[claims["paper"].unique()].rename_axis(columns="method")


def sources(source: Source, name: str) -> Rows:
    """`sources_<paper>`: who reports the claims of a letter, and where we saw it."""
    for _, claim in claims_of(source, name).drop_duplicates("letter").iterrows():
        places = {"who reports it": claim["source"], "where we saw it": claim["evidence"]}
        yield {"source": f"({claim['letter']})"} | places


def summary(source: Source, beginning: str) -> Rows:
    """`summary_<beginning>`: what was measured of all that compete, on the cells whose names begin so."""
    papers = [paper for paper, entries in contents.papers().items() if any(entry.looks for entry in entries)]
    return _by_cell(source.rows[source.rows["paper"].isin(papers) & source.rows["cell"].str.startswith(beginning)])


def _by_cell(rows: pd.DataFrame) -> Rows:
    """One row a paper and cell, but for further draws of the labels: mean and standard deviation over seeds."""
    rows = rows[~rows["cell"].str.contains(DRAW, regex=False)]
    for (paper, cell), group in rows.groupby(["paper", "cell"], sort=False):
        yield {
            "method": paper,
            "cell": cell,
            "rate": " / ".join(percent(group[kind].iloc[0]) for kind in ("nominal", "realised")),
            "last": spread(group["last"]),
            "best*": spread(group["best"]),
            "last, one network": spread(group["last_single"]),
            "AUC": spread(group["auc"], 3),
            "seeds": len(group),
            "seconds a run": f"{group['seconds'].mean():.0f}",
        }


def memorisation(rivals: Rivals) -> pd.DataFrame:
    """One row a method: accuracies in percent, what was learnt of wrong labels; with a star: chosen with the truth."""
    found = {}
    for name, runs in rivals.items():
        last, best = (pd.Series([run.record["accuracy"][which] for run in runs]) for which in ("last", "best"))
        wrong = [run.samples[run.samples["noisy"] != run.samples["clean"]] for run in runs]
        repeated = float(np.mean([(one["prediction"] == one["noisy"]).mean() for one in wrong]))
        found[LOOKS[name].label] = {
            "last": spread(last),
            "best*": spread(best),
            "best* minus last": spread(best - last),
            "wrong labels repeated": percent(repeated),
            "AUC": spread(pd.Series([run.record["split"]["auc"] for run in runs]), 3),
            "best AUC*": spread(pd.Series([run.epochs["auc"].max() for run in runs]), 3),
            "seeds": str(len(runs)),
        }
    return pd.DataFrame(found).T.rename_axis(columns="method")


def variations(source: Source, name: str) -> Rows:
    """`variations_<paper>_<cell>`: the cell and those that continue its name; what differs, and what was measured."""
    paper, _, cell = name.rpartition("_")
    base: dict[str, Any] = {}
    for path in source.parameter_files(paper):
        if not f"{path.stem}-".startswith(f"{cell}-"):
            continue
        (row,) = pd.json_normalize(load_params(path).model_dump(mode="json")).to_dict("records")
        values = {str(key).replace(".first.", "."): value for key, value in row.items()}  # of a first stage too
        base = base or values  # the shortest name comes first
        changes = [f"`{key}` {value}" for key, value in values.items() if base.get(key) != value and key not in UNSHOWN]
        group = of(source.rows, paper, path.stem)
        yield {
            "cell": path.stem,
            "changed": ", ".join(changes) or "–",
            "last": spread(group["last"]) if len(group) else NOT_RUN,
            "AUC": spread(group["auc"], 3) if len(group) else "",
            "seeds": len(group) or "",
            "run it": "" if len(group) else f"`nlkit run params/{paper}/{path.name}`",
        }
