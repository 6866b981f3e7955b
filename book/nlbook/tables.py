"""Tables: what the papers claim beside what the records say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nlkit.errors import NlkitError
from nlkit.training import records

MEASURES = {
    "best": "best", "last_single": "last_single", "best_single": "best_single", "selected": "selected",
    "imagenet_top1": "last_imagenet",
}  # fmt: skip
"""What of a record answers a claim of each kind; for every other kind the accuracy of the last epoch does."""


def claims(path: Path) -> pd.DataFrame:
    """One row a claim: paper, cell, metric, value in percent, source, evidence."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise NlkitError(f"{path}: cannot read the claims ({error})") from None
    return pd.DataFrame(entries)


def measured(root: Path) -> pd.DataFrame:
    """One row a record below a folder: accuracies in percent, split quality, noise rates, cost."""
    return rows_of(record.info for record in records.find(root))


def classifiers(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of methods that classify; what pre-training reports is a vote with the labels it is given."""
    return rows[rows["paper"] != "simclr"] if len(rows) else rows


def rows_of(infos: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row a record, from the contents of record.json."""
    return pd.DataFrame([_row(info) for info in infos])


def _row(info: dict[str, Any]) -> dict[str, Any]:
    accuracy, split, noise = info["accuracy"], info["split"], info["noise"]
    return {
        "paper": info["paper"],
        "cell": info["cell"],
        "seed": info["seed"],
        "nominal": noise["nominal"],
        "realised": noise["realised"],
        **accuracy,
        **split,
        "network": ", width ".join(str(part) for part in _network(info)),
        "train": info["data"]["train"],
        "epochs": info["params"]["training"]["epochs"],
        "seconds": info["seconds"],
        "peak_memory_mb": info["peak_memory_mb"],
        "device": info["device"]["name"],
    }


def _network(info: dict[str, Any]) -> list[Any]:
    """Name and, where it has one, width."""
    model = info["params"]["model"]
    return [model[key] for key in ("name", "width") if key in model]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a paper and cell: mean over seeds, with the standard deviation where there are several."""
    table = []
    for (paper, cell), group in rows.groupby(["paper", "cell"], sort=False):
        first = group.iloc[0]
        table.append(
            {
                "method": paper,
                "cell": cell,
                "rate": rate(first["nominal"], first["realised"]),
                "last": spread(group["last"]),
                "best*": spread(group["best"]),
                "last, one network": spread(group["last_single"]),
                "AUC": spread(group["auc"], 3),
                "seeds": len(group),
                "seconds a run": f"{group['seconds'].mean():.0f}",
            }
        )
    return pd.DataFrame(table)


def memorised(record: records.Record) -> float | None:
    """Share of the wrong labels that the trained ensemble repeats on their images; None without clean labels."""
    samples = record.samples
    if "clean" not in samples:
        return None
    wrong = samples[samples["noisy"] != samples["clean"]]
    return float((wrong["prediction"] == wrong["noisy"]).mean())


def memorisation(found: Iterable[records.Record]) -> pd.DataFrame:
    """One row a record: how far the last epoch lies below the best, and how many wrong labels were learnt."""
    table = []
    for record in found:
        accuracy, share = record.info["accuracy"], memorised(record)
        table.append(
            {
                "method": record.info["paper"],
                "seed": record.info["seed"],
                "epochs": len(record.epochs),
                "last": f"{accuracy['last']:.1f}",
                "best* minus last": f"{accuracy['best'] - accuracy['last']:.1f}",
                "wrong labels repeated": "unknown" if share is None else f"{100 * share:.1f} %",
                "precision of the last split": spread(pd.Series([record.info["split"]["precision"]]), 3),
                "minutes": f"{record.info['seconds'] / 60:.0f}",
            }
        )
    return pd.DataFrame(table)


def spread(values: pd.Series, digits: int = 1) -> str:
    """`mean ± standard deviation` of several numbers, or the one there is."""
    values = values.dropna().astype(float)
    if values.empty:
        return "–"
    if len(values) == 1:
        return f"{values.iloc[0]:.{digits}f}"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def rate(nominal: float | None, realised: float | None) -> str:
    """Nominal and realised noise rate in percent; human labels have no nominal rate."""
    parts = ["–" if pd.isna(value) else f"{100 * float(value):.1f} %" for value in (nominal, realised)]  # type: ignore[arg-type]
    return " / ".join(parts)


def claimed_and_measured(paper: str, claimed: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The claims of a paper, each beside the measurement of that cell or the command that would make one."""
    table = []
    ours = claimed[claimed["paper"] == paper]
    for _, claim in ours.iterrows():
        group = rows[(rows["paper"] == paper) & (rows["cell"] == claim["cell"])] if len(rows) else rows
        metric = MEASURES.get(str(claim["metric"]), "last")
        table.append(
            {
                "cell": claim["cell"],
                "metric": claim["metric"],
                "claimed": _claimed(claim),
                "measured": spread(group[metric]) if metric in group and len(group) else "not run here",
                "seeds": len(group) or "",
                "run it": "" if len(group) else _command(paper, str(claim["cell"])),
                "source of the claim": claim["source"],
            }
        )
    return pd.DataFrame(table)


def _claimed(claim: pd.Series) -> str:
    std = claim.get("std")
    return f"{claim['value']:.2f}".rstrip("0").rstrip(".") + ("" if pd.isna(std) else f" ± {std}")


def _command(paper: str, cell: str) -> str:
    path = Path("params") / paper / f"{cell}.yaml"
    return f"`nlkit run {path}`" if path.exists() else "no parameters here yet"


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table; an empty one says that nothing was run."""
    if table.empty:
        return "Not run here.\n"
    lines = [_line(table.columns), _line("---" for _ in table.columns)]
    lines += [_line(row) for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def _line(values: Iterable[Any]) -> str:
    return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"
