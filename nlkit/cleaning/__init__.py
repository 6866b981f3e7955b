"""Clean the labels of a folder of images: defaults, a run, scores, a model and a report."""

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlkit.cleaning import results
from nlkit.cleaning.classifier import load_evidence, save_classifier, save_evidence
from nlkit.cleaning.defaults import METHOD, Situation, choose, choose_side
from nlkit.cleaning.results import CleanResult
from nlkit.data import data_root
from nlkit.data.folder import CACHE, FolderData, load_folder
from nlkit.data.listing import read_listing
from nlkit.data.photos.decode import probe
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import as_path, write_atomically
from nlkit.outputs import swapped
from nlkit.params import Params, first_problem, make_params
from nlkit.params.sections import FolderDataParams
from nlkit.training import runs
from nlkit.training.loop import Fit, load_latest
from nlkit.training.problem import folder_problem
from nlkit.training.runs import Run


class Options(BaseModel):
    """What may be asked of a cleaning run; None leaves the choice to the defaults.

    method: str, as of `--method`. test: a table `path,label` of images to test on, or hold_out: float to 0.9, the share
    to test on. truth: str, a column of correct labels, for measuring only. size: int, 8 to 512 pixels. epochs: int.
    flip: bool, train on mirror images too. corrupt: "drop" or "fail". seed: int. device: "auto", "cpu" or "cuda".
    overwrite: bool, replace scores that are there. settings: dict of dotted keys, as of `-s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: str = METHOD
    test: str | Path | None = None
    hold_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    truth: str | None = None
    size: Annotated[int, Field(ge=8, le=512)] | None = None
    epochs: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    flip: bool = False
    corrupt: str = "drop"
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    settings: dict[str, Any] = {}


def clean(
    folder: str | Path,
    labels: str | Path | None = None,
    out: str | Path = "scores.csv",
    progress: bool = True,
    say: Callable[[FolderData, pd.DataFrame], None] | None = None,
    **options: Any,
) -> CleanResult:
    """Train a robust classifier on the images of `folder` and tell for each label how likely it is to be correct.

    labels: a CSV file `path,label`; without it each sub-folder is a class. out: the CSV file of the scores; record,
    model and report go to the folder of the same name. options: the fields of `nlkit.cleaning.Options`, such as
    `method="dividemix"` or `epochs=60`; the command line has the same. `say` is called with the chosen
    settings before training. An interrupted call is resumed by the same call. Raises NlkitError for bad input.
    """
    try:
        asked = Options(**options)
    except ValidationError as error:
        raise NlkitError(f"clean: {first_problem(error)}") from None
    folder = as_path(folder, "folder")
    path, target = results.output_paths(out, (folder, labels, asked.test), asked.overwrite)
    device = runs.choose_device(asked.device)
    situation = _situation(folder, labels, asked, device.type == "cuda")
    side = choose_side(situation) if asked.size is None else asked.size
    sources = {"folder": folder, "labels": labels, "test": asked.test}
    params, _ = _params(situation, asked, side, sources, None)  # refuses bad options before anything is written
    assert isinstance(params.data, FolderDataParams)
    with results.owned_output(path, target, asked.overwrite, params.digest):
        data = _load(params.data, target, progress)
        situation = replace(situation, images=len(data.train.labels), classes=len(data.class_names))
        params, choices = _params(situation, asked, side, sources, data.sha256)
        if say is not None:
            say(data, choices)
        problem = folder_problem(data, device)
        with swapped(target) as new:
            run, evidence = _train(params, problem, target, new, asked.overwrite, progress)
            train, test, held_out = data.train, data.test, None
            if test is not None:
                held_out = results.score_table("test", test.names, test.labels, data.class_names, evidence)
            scores = results.score_table("train", train.names, train.labels, data.class_names, evidence)
            result = CleanResult(
                scores=scores,
                test_scores=held_out,
                accuracy=run.record["accuracy"]["last"],
                auc=run.record["split"]["auc"],
                dropped=pd.DataFrame(data.dropped, columns=["path", "label", "reason"]),
                choices=choices,
                run=run,
                problem=problem,
                images=train.images,
                path=path,
                folder=target,
                notes=data.notes + results.never_predicted(scores),
            )
            how_to_load = Path(__file__).with_name("model.md").read_text(encoding="utf-8")
            write_atomically(new / "model.md", how_to_load.format(folder=target))
            write_atomically(new / "dropped.csv", results.table_text(result.dropped))
            write_atomically(new / "report.html", results.report(result))
            results.write_tables(result, new)
    return result


def _load(params: FolderDataParams, target: Path, progress: bool) -> FolderData:
    """The images; where they cannot be learned from, no decoded ones stay in a folder without a run."""
    try:
        return load_folder(params, target, progress)
    except NlkitError:
        if not (target / "record.json").exists() and not (target / "checkpoints").exists():
            (target / CACHE).unlink(missing_ok=True)
        raise


def _situation(folder: Path, labels: str | Path | None, asked: Options, gpu: bool) -> Situation:
    """What is known before the images are decoded."""
    entries, _ = read_listing(folder, None if labels is None else Path(labels), asked.truth)
    probed = probe([entry.path for entry in entries])
    images = max(1, round(len(entries) * (1 - asked.hold_out)))
    classes = len({entry.label for entry in entries})
    return Situation(images, classes, int(np.median(probed or [32])), gpu)


def _params(
    situation: Situation, asked: Options, side: int, sources: Mapping[str, str | Path | None], sha256: str | None
) -> tuple[Params[Any], pd.DataFrame]:
    """The parameters of the run, and a table of what was chosen and why."""
    chosen, why = choose(situation, side, asked.method, asked.flip, asked.epochs)
    data: dict[str, Any] = {"name": "folder", "hold_out": asked.hold_out, "split_seed": asked.seed}
    data |= {"truth": asked.truth, "side": side, "corrupt": asked.corrupt, "sha256": sha256}
    data |= {name: None if path is None else os.path.abspath(path) for name, path in sources.items()}
    content = {**chosen, "cell": "your-data", "seed": asked.seed, "data": data}
    params = make_params(content, asked.settings, source="nlkit clean")
    side, network = getattr(params.data, "side", side), (params.model.name, getattr(params.model, "width", "its own"))
    used = [f"{side} x {side}", "{}, width {}".format(*network), params.training.epochs, params.training.batch_size]
    values = pd.Series([*map(str, used), params.method.name, "on" if params.views.flip else "off"])
    return params, why.assign(value=values, why=why["why"].where(values == why["value"], "asked for"))


def _train(
    params: Params[Any], problem: Problem, target: Path, new: Path, overwrite: bool, progress: bool
) -> tuple[Run, results.Evidence]:
    """The run of these parameters: finished before, or resumed or trained into `new`; evidence of its scores."""
    file, old, unfinished = target / "record.json", None, load_latest(target / "checkpoints")[1]
    if file.exists():
        with suppress(NlkitError) if overwrite else nullcontext():
            old = runs.load_run(target)
    same = old is not None and old.params.digest == params.digest
    if old is not None and same and (found := load_evidence(target, problem.sha256)) is not None:
        return old, found
    ours = unfinished.get("identity", {}).get("params") == params.digest
    if not overwrite and ((file.exists() and not same) or (unfinished and not ours)):
        other = f"{target}: holds a run with other settings, labels or images"
        raise NlkitError(f"{other}; choose another --out, or --overwrite")

    def keep(state: Fit) -> Path:
        text = yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        head = "# The settings of this cleaning run; `nlkit run` takes this file."
        write_atomically(new / "params.yaml", f"{head}\n{text}")
        save_classifier(new, state.method, problem, params)
        save_evidence(new, state, problem)
        return new

    run = runs.train(problem, params, target, data_root(None), fresh=not ours, progress=progress, keep=keep)
    found = load_evidence(new, problem.sha256)
    assert found is not None
    return run, found
