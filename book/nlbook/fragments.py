"""Tables of the book that are made from parameter files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from nlbook import contest, tables, votes
from nlkit import figures
from nlkit.figures.style import LOOKS
from nlkit.params import Params, load_params
from nlkit.params.data import PhotoDataParams
from nlkit.params.training import PhotoModelParams
from nlkit.params.views import PhotoViewParams
from nlkit.training import provenance, records
from nlkit.training.runs import Run, load_run, project_root


def photo_rows(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each parameter file on photographs: what it trains on what, and whether `rows` has a record of it."""
    table = []
    for path in sorted(folder.glob("*/*.yaml")):
        params = load_params(path)
        if isinstance(params.data, PhotoDataParams):
            table.append(_row(params) | {"record": _recorded(params, rows)})
    return pd.DataFrame(table)


def _row(params: Params) -> dict[str, str | int]:
    data, views, model = params.data, params.views, params.model
    assert isinstance(data, PhotoDataParams) and isinstance(views, PhotoViewParams)
    assert isinstance(model, PhotoModelParams)
    return {
        "method": params.paper,
        "cell": params.cell,
        "network": f"{model.name.replace('_', ' ')}, {_start(params, model)}",
        "short side, view": f"{data.short}, {views.kind.replace('_', ' ')} {views.size}",
        "epochs": params.training.epochs,
        "B": params.training.batch_size,
        "images of an epoch": getattr(params.method, "balanced", None) or "all",
    }


def _recorded(params: Params, rows: pd.DataFrame) -> str:
    if not len(rows):
        return "not run here"
    count = int(((rows["paper"] == params.paper) & (rows["cell"] == params.cell)).sum())
    return f"{count} seed{'s' * (count > 1)}" if count else "not run here"


def _start(params: Params, model: PhotoModelParams) -> str:
    """What the weights are before the first step."""
    if params.method.pretraining is not None:
        return "pre-trained without labels"
    return "random start" if model.weights is None else f"weights {model.weights}"


MARKS = ("<!-- results -->", "<!-- /results -->")
LAPTOP = "cifar10n-worst-laptop"
README_CELLS = {
    "digits-sym-20": "sym 20 %",
    "digits-sym-50": "sym 50 %",
    "digits-sym-80": "sym 80 %",
    "digits-asym-40": "asym 40 %",
    "digits-pmd-35": "PMD 35 %",
    LAPTOP: "CIFAR-10N worst, small network",
}
UNSHOWN = ("cell", "training.snapshots")
SETTINGS = {
    "dividemix": ("warm_up", "penalty", "lambda_u", "threshold", "loss_epochs", "alpha", "temperature", "ramp_epochs"),
    "mixup": ("alpha",),
    "elr": ("weight", "beta", "cosine_epochs"),
    "confident_learning": ("folds", "score"),
    "tcl": ("warm_up", "lr_warm_up", "mixture_per", "scale1", "scale2", "ctr_weight", "dim", "hidden"),
    "codim": (
        "variant",
        "warm_up",
        "penalty",
        "lambda_u",
        "threshold",
        "loss_epochs",
        "tau_c",
        "lambda_c",
        "ssl_views",
    ),
    "simclr": ("temperature", "lr_warm_up", "dim", "hidden", "neighbours"),
    "lra_diffusion": ("encoder", "query", "bank", "k", "weighted", "draws", "train_encoder", "width", "evaluate"),
}


def write_all(out: Path) -> None:
    """Write every generated fragment and figure of the book to a folder."""
    root = project_root()
    out.mkdir(parents=True, exist_ok=True)
    rows = tables.measured(root / "results")
    claimed = tables.claims(root / "book" / "claims.yaml")
    params, found = root / "params", records.find(root / "results")
    fragments = {
        "results_mixup_digits": digits_of(rows, "mixup"),
        "results_elr_digits": digits_of(rows, "elr"),
        "results_confident_learning_digits": digits_of(rows, "confident_learning"),
        "baselines_digits": digits_of(rows, "cross_entropy", "mixup", "elr"),
        "variations_tcl": variations(params / "tcl", "digits-sym-80", rows),
        "variations_codim_50": variations(params / "codim", "digits-sym-50", rows),
        "variations_codim_80": variations(params / "codim", "digits-sym-80", rows),
        "variations_lra_diffusion": variations(params / "lra_diffusion", "digits-sym-80", rows),
        "variations_lra_diffusion_50": variations(params / "lra_diffusion", "digits-sym-50", rows),
        "vote_lra_diffusion": vote_table(root / "results"),
        "results_digits": tables.summary(rows[rows["cell"].str.startswith("digits-")]),
        "results_laptop": tables.summary(rows[rows["cell"] == LAPTOP]),
        "laptop_memorisation": tables.memorisation(one for one in found if one.info["cell"] == LAPTOP),
        "digits_memorisation": tables.memorisation(one for one in found if one.info["cell"] == "digits-sym-50"),
        "encoder_digits": encoder_table(root),
        "photo_rows": photo_rows(params, rows),
        "environment": pd.concat([machine_table(), run_table(root / "runs")], ignore_index=True),
    }
    for paper in SETTINGS:
        fragments[f"params_{paper}"] = settings_table(params / paper)
    for paper in SETTINGS.keys() & set(claimed["paper"]):
        fragments[f"results_{paper}"] = tables.claimed_and_measured(paper, claimed, rows)
    for name, table in fragments.items():
        (out / f"{name}.md").write_text(tables.markdown(table), encoding="utf-8")
    write_figures(out, root / "runs")
    write_downloads(out / "extra" / "downloads", root)


def write_downloads(out: Path, root: Path) -> None:
    """What the pages offer for download: the clean notebooks, and the record of each run as a zip file."""
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        shutil.copyfile(notebook, out / "notebooks" / notebook.name)
    for place in ("results", "runs"):
        for record in records.find(root / place):
            info = record.info
            target = out / "records" / f"{info['paper']}-{info['cell']}-seed-{info['seed']}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.make_archive(str(target), "zip", record.folder)


def digits_of(rows: pd.DataFrame, *papers: str) -> pd.DataFrame:
    """What was measured of some methods on the digits cells, cell by cell."""
    chosen = rows[rows["cell"].str.startswith("digits-") & rows["paper"].isin(papers)] if len(rows) else rows
    return tables.summary(chosen.sort_values("cell", kind="stable")) if len(chosen) else chosen


def variations(folder: Path, cell: str, rows: pd.DataFrame) -> pd.DataFrame:
    """A cell and the cells whose names continue its name: which settings differ, and what was measured."""
    base, table = _leaves(load_params(folder / f"{cell}.yaml").model_dump(mode="json")), []
    for path in [folder / f"{cell}.yaml", *sorted(folder.glob(f"{cell}-*.yaml"))]:
        settings = _leaves(load_params(path).model_dump(mode="json"))
        changes = [
            f"`{key}` {value}" for key, value in settings.items() if base.get(key) != value and key not in UNSHOWN
        ]
        group = rows[(rows["paper"] == folder.name) & (rows["cell"] == path.stem)] if len(rows) else rows
        row = {"cell": path.stem, "changed": ", ".join(changes) or "–", "last": "not run here", "AUC": "", "seeds": ""}
        if len(group):
            row |= {
                "last": tables.spread(group["last"]),
                "AUC": tables.spread(group["auc"], 3),
                "seeds": str(len(group)),
            }
        table.append(row | {"run it": "" if len(group) else f"`nlkit run params/{folder.name}/{path.name}`"})
    return pd.DataFrame(table)


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of a nested dictionary by dotted key; those of a first stage stand where they stand without a second."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        inner = prefix if key == "first" else f"{prefix}{key}."
        found |= _leaves(value, inner) if isinstance(value, dict) else {prefix + key: value}
    return found


def settings_table(folder: Path) -> pd.DataFrame:
    """The settings of a method that differ between its cells, one row a cell."""
    table = []
    for path in sorted(folder.glob("*.yaml")):
        params = load_params(path)
        method = params.method.model_dump()
        method = {name: _plain(value) for name, value in (method | method.get("first", {})).items()}
        schedule = {"epochs": params.training.epochs, "B": params.training.batch_size, "lr": params.optim.lr}
        table.append({"cell": path.stem, **schedule, **{f"`{name}`": method[name] for name in SETTINGS[params.paper]}})
    return pd.DataFrame(table)


def _plain(value: Any) -> Any:
    """A setting as a cell of a table: nothing for None, its kind for a group of settings."""
    return "" if value is None else value.get("kind", value) if isinstance(value, dict) else value


def vote_table(results: Path) -> pd.DataFrame:
    """Last accuracy of LRA-diffusion's averaged and raw weights, beside the vote on the same features, by cell."""
    found: dict[str, list[pd.Series]] = {}
    for record in records.find(results):
        if record.info["paper"] == "lra_diffusion":
            last = record.epochs.iloc[-1][["accuracy_1", "accuracy_2", "accuracy_3"]]
            raw = record.info["params"]["method"]["evaluate"] == "raw"
            found.setdefault(record.info["cell"], []).append(last.iloc[[1, 0, 2]] if raw else last)
    names = ("averaged weights", "weights of the last step", "vote of the neighbours")
    table = []
    for cell, rows in found.items():
        columns = pd.DataFrame([row.to_numpy() for row in rows], columns=list(names))
        table.append({"cell": cell, **{name: tables.spread(columns[name]) for name in names}, "seeds": len(rows)})
    return pd.DataFrame(table)


def machine_table() -> pd.DataFrame:
    """What built these pages: machine, commit and versions."""
    import torch

    device = provenance.describe_device(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    facts: dict[str, Any] = {"machine": device["name"], "commit": provenance.commit() or "not in a repository"}
    facts |= provenance.versions()
    return pd.DataFrame([{"what": name, "value": value} for name, value in facts.items()])


def encoder_table(root: Path) -> pd.DataFrame:
    """How a vote of neighbours does on raw pixels and on the features of pre-training."""
    return votes.vote_accuracy(load_run(root / "runs" / "simclr" / "digits" / "seed-0"))


def run_table(folder: Path) -> pd.DataFrame:
    """How long each fresh run took."""
    rows = tables.measured(folder)
    if not len(rows):
        return pd.DataFrame({"what": [], "value": []})
    names = "training " + rows["paper"] + " " + rows["cell"]
    return pd.DataFrame({"what": names, "value": rows["seconds"].map("{:.0f} s".format)})


def write_figures(out: Path, runs: Path) -> None:
    """The figures of the chapters, from the fresh runs of the digits cells with 50 % noise."""
    matplotlib.use("svg")
    figures.use_book_style()
    dividemix = load_run(runs / "dividemix" / "digits-sym-50" / "seed-0")
    baseline = load_run(runs / "cross_entropy" / "digits-sym-50" / "seed-0")
    drawings: dict[str, tuple[Callable[[Run], Figure], Run]] = {
        "hero": (figures.loss_ridges, dividemix),
        "memorisation": (figures.memorisation, baseline),
        "split_sym": (figures.loss_histograms, dividemix),
    }
    for name, (draw, run) in drawings.items():
        figure = draw(run)
        figure.savefig(out / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def write_readme(root: Path) -> None:
    """Put the results table and the hero figure of the committed records into the README."""
    readme = root / "README.md"
    readme.write_text(with_results(readme.read_text(encoding="utf-8"), root / "results"), encoding="utf-8")
    matplotlib.use("svg")
    figures.use_book_style()
    figure = figures.loss_ridges(load_run(root / "results" / "dividemix" / "digits-sym-50" / "seed-0"))
    figure.savefig(root / "book" / "_static" / "hero.svg", metadata={"Date": None})


def with_results(text: str, results: Path) -> str:
    """The README's text with the table between its two marks made from the records."""
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return f"{before}{MARKS[0]}\n{tables.markdown(last_accuracies(tables.measured(results)))}{MARKS[1]}{after}"


def last_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Last accuracy by contestant and cell: mean and standard deviation, number of seeds; empty where not run."""
    entries = [contest.entry(paper, cell) for paper, cell in zip(rows["paper"], rows["cell"], strict=True)]
    table = []
    for name, look in LOOKS.items():
        row = {"method": look.label}
        for cell, heading in README_CELLS.items():
            values = rows.loc[[one == (name, cell) for one in entries], "last"]
            row[heading] = f"{tables.spread(values)} ({len(values)})" if len(values) else ""
        table.append(row)
    return pd.DataFrame(table)


if __name__ == "__main__":
    if sys.argv[1] == "--readme":
        write_readme(project_root())
    else:
        write_all(Path(sys.argv[1]))
