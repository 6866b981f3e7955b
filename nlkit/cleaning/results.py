"""What a cleaning run gives back: tables, the paths that they are written to, what is printed, and the HTML report."""

import base64
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Template
from PIL import Image
from torch import Tensor

from nlkit.data.folder import FolderData
from nlkit.data.listing import guarded
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import as_path, check_place, write_atomically
from nlkit.outputs import BESIDE, NEW, owned_folder
from nlkit.training.runs import Run

Evidence = Mapping[str, np.ndarray]  # arrays as `judged` names them, with `train.p_clean` and `threshold`
COLUMNS = ["path", "label", "p_clean", "suggested_label", "confidence"]
COLUMNS += ["is_label_issue", "label_quality", "given_label", "predicted_label"]
GALLERY, ROWS = 48, 60  # images, and rows of tables, that the report shows
LISTED = 20  # images that were left out and are printed, and classes that are never predicted


@dataclass(frozen=True, kw_only=True)
class FeatureResult:
    """Scores, one row an image; held-out predictions; accuracy in percent and AUC where they are known; what is odd."""

    scores: pd.DataFrame = field(repr=False)
    test_scores: pd.DataFrame | None = field(repr=False)
    accuracy: float | None
    auc: float | None
    path: Path
    folder: Path
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CleanResult(FeatureResult):
    """Also what was left out, the run, why its settings are so, and the scored images uint8 [N, S, S, C] in order."""

    dropped: pd.DataFrame = field(repr=False)
    choices: pd.DataFrame = field(repr=False)
    run: Run
    problem: Problem = field(repr=False)
    images: np.ndarray = field(repr=False)


def output_paths(out: str | Path, inputs: Sequence[object], overwrite: bool) -> tuple[Path, Path]:
    """A table to write and the folder beside it; raises NlkitError where they would replace `inputs` or others."""
    path = as_path(out, "out")
    if path.suffix != ".csv":
        raise NlkitError(f"--out {path}: expected the name of a table that ends in .csv")
    target = path.with_suffix("")
    try:
        if path.is_dir() or (path.exists() and not overwrite and not any(target.glob(f"{NEW}*"))):
            raise NlkitError(f"--out {path}: exists; choose another name, or --overwrite to replace it")
        for given in (as_path(one, "clean") for one in inputs if one is not None):
            if given.resolve() == path.resolve() or given.resolve().is_relative_to(target.resolve()):
                raise NlkitError(f"--out {path}: writes it and a folder {target}, but {given} is read; choose another")
    except (OSError, ValueError) as error:
        raise NlkitError(f"--out {str(path)[:200]}: cannot write there ({error})") from None
    return path, target


@contextmanager
def owned_output(path: Path, target: Path, overwrite: bool, identity: str) -> Iterator[None]:
    """Inside, this process alone writes a table of scores and the folder beside it; raises as `owned_folder` does."""
    with owned_folder(target, identity):
        if path.exists() and not overwrite:  # another process has made it meanwhile
            raise NlkitError(f"--out {path}: exists; choose another name, or --overwrite to replace it")
        check_place(path, ",".join(COLUMNS[:3]))
        yield


def judged(part: str, probability: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What tables are made of, by name: `<part>.prediction` [N], its probability, and that of the given label.

    probability: [N, C]; labels: int64 [N], the given ones.
    """
    confidence, prediction = probability.max(dim=1)
    quality = probability.gather(1, labels[:, None])[:, 0]
    return {f"{part}.prediction": prediction, f"{part}.confidence": confidence, f"{part}.quality": quality}


def score_table(
    part: str, paths: Sequence[str], labels: np.ndarray, names: Sequence[str], evidence: Evidence
) -> pd.DataFrame:
    """One row an image of the part `test`: `path, label, predicted_label, confidence, label_quality`.

    Of `train` it has COLUMNS, the later ones as cleanlab users know them. `label_quality` is the probability of the
    given label, which is an issue where P(clean) is not above the threshold and another class is predicted.
    """
    table = pd.DataFrame({"path": list(paths), "label": [names[int(label)] for label in labels]})
    table["predicted_label"] = [names[int(label)] for label in evidence[f"{part}.prediction"]]
    table["confidence"] = _rounded(evidence[f"{part}.confidence"])
    table["label_quality"] = _rounded(evidence[f"{part}.quality"])
    if part == "test":
        return table
    p_clean = evidence["train.p_clean"]
    table["p_clean"] = _rounded(p_clean)
    table["suggested_label"], table["given_label"] = table["predicted_label"], table["label"]
    table["is_label_issue"] = (p_clean <= evidence["threshold"]) & (evidence["train.prediction"] != labels)
    return table[COLUMNS]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Ten significant digits: enough to rank, and the same text on every machine that agrees that far."""
    return np.array([float(f"{value:.10g}") for value in values])


def class_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a given label: images, label issues, their share, and what is most often suggested instead."""
    issue = scores.groupby("given_label", sort=False)["is_label_issue"]
    wrong = scores[scores["is_label_issue"]].groupby("given_label")["predicted_label"]
    table = issue.agg(images="size", issues="sum", share="mean").rename_axis("label")
    instead = wrong.agg(lambda suggested: suggested.mode().iloc[0])
    table["most often suggested"] = instead.reindex(table.index, fill_value="")
    return table.reset_index().sort_values(["share", "images"], ascending=False, ignore_index=True)


def never_predicted(scores: pd.DataFrame) -> tuple[str, ...]:
    """A note that counts the classes with labels that no image is predicted to be in, and names the first ones."""
    lost = scores["label"].value_counts().drop(scores["predicted_label"].unique(), errors="ignore")
    names = ", ".join(f"{name!r} ({count} images)" for name, count in lost[:LISTED].items())
    return (f"{len(lost)} classes are never predicted, and their scores tell nothing: {names}",) if names else ()


def write_tables(result: FeatureResult, new: Path) -> None:
    """Write what came out to the folder `new`, where it waits for its places."""
    if result.test_scores is not None:
        write_atomically(new / "test_scores.csv", table_text(result.test_scores))
    write_atomically(new / BESIDE, table_text(result.scores))


def table_text(table: pd.DataFrame) -> str:
    """A table as CSV in which a spreadsheet finds no formula; `read_table` takes the cells back as they were."""
    return table.map(lambda cell: guarded(cell) if isinstance(cell, str) else cell).to_csv(index=False)


def print_settings(data: FolderData, choices: pd.DataFrame) -> None:
    """What was read, what was left out, and what was chosen, with the reasons."""
    tested = "" if data.test is None else f", {len(data.test.labels)} held out"
    print(f"{len(data.train.labels)} images of {len(data.class_names)} classes{tested}")
    for _, row in choices.iterrows():
        print(f"  {row['what']:<8} {row['value']:<28} {row['why']}")
    sys.stdout.flush()


def print_findings(result: FeatureResult) -> None:
    """What was found and where the results are, and on stderr what was left out."""
    for note in result.notes:
        print(f"nlkit: note: {note}", file=sys.stderr)
    if isinstance(result, CleanResult):
        for _, row in result.dropped.head(LISTED).iterrows():
            print(f"nlkit: left out {row['path']!r}: {row['reason']}", file=sys.stderr)
        if len(result.dropped) > LISTED:
            table = result.folder / "dropped.csv"
            print(f"nlkit: left out {len(result.dropped)} images in all: {table}", file=sys.stderr)
    issues = int(result.scores["is_label_issue"].sum())
    print(f"label issues: {issues} of {len(result.scores)} ({100 * issues / len(result.scores):.1f} %)")
    if result.accuracy is not None:
        doubt = ", against the given labels, which may be wrong too" if result.auc is None else ""
        print(f"accuracy on the held-out images: {result.accuracy:.2f} %{doubt}")
    if result.auc is not None:
        print(f"AUC of P(clean): {result.auc:.4f}")
    print(f"scores: {result.path}")
    if isinstance(result, CleanResult):
        print(f"report: {result.folder / 'report.html'}")
        print(f"model:  {result.folder / 'model.safetensors'} (how to load it: model.md)")


def report(result: CleanResult) -> str:
    """The whole page as text; every name that comes from outside is escaped."""
    wrong = result.scores[result.scores["is_label_issue"]]
    surest = wrong.sort_values(["label_quality", "p_clean", "confidence"], ascending=[True, True, False])
    text = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return Template(text, autoescape=True, trim_blocks=True).render(
        result=result,
        scores=result.scores,
        record=result.run.record,
        data=result.run.params.data,
        issues=len(wrong),
        surest=surest.head(GALLERY),
        classes=class_table(result.scores),
        most=ROWS,
        drawings=_figures(result),
        picture=_picture,
    )


def _picture(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return _address("png", stream)


def _figures(result: CleanResult) -> dict[str, str]:
    """Drawings by name; none where matplotlib cannot be used, and the rest of the report does without them."""
    try:
        import matplotlib.pyplot as plt

        from nlkit import figures
        from nlkit.figures.style import SETTINGS
    except (ImportError, ValueError):  # not installed, or its backend or its settings are none
        return {}
    run = result.run
    names = [name if len(name) <= 14 else name[:13] + "…" for name in result.problem.class_names]
    names = [name.replace("$", r"\$") for name in names]  # a dollar sign begins a formula
    drawings: dict[str, Callable[[], Any]] = {
        "losses": lambda: figures.loss_histograms(run),
        "p_clean": lambda: figures.p_clean_histograms(run),
        "matrix": lambda: figures.transition_matrices(figures.run_matrices(run), names),
    }
    found, backend = {}, plt.get_backend()
    plt.switch_backend("agg")
    try:
        with plt.style.context("default"), plt.rc_context(SETTINGS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters that the font lacks
            for name, draw in drawings.items():
                stream, figure = io.BytesIO(), draw()
                figure.savefig(stream, format="svg", metadata={"Date": None})
                plt.close(figure)
                found[name] = _address("svg+xml", stream)
    finally:
        plt.switch_backend(backend)
    return found


def _address(kind: str, stream: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
