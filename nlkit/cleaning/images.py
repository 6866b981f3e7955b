"""Clean the labels of a folder of images: defaults, a run, scores, a model and a report."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from nlkit.cleaning.classifier import load_evidence, save_classifier, save_evidence
from nlkit.cleaning.defaults import METHOD, Situation, choose, choose_side
from nlkit.cleaning.report import report
from nlkit.cleaning.results import CleanResult, Evidence, output_paths, score_table, write_tables
from nlkit.data import data_root
from nlkit.data.folder import FolderData, load_folder
from nlkit.data.listing import read_listing
from nlkit.data.photos.decode import probe
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import check_place, check_writable, write_atomically
from nlkit.params import Params, load_params, make_params
from nlkit.params.data import FolderDataParams
from nlkit.training import runs
from nlkit.training.loop import Fit
from nlkit.training.problem import folder_problem
from nlkit.training.runs import Run


@dataclass(frozen=True)
class Options:
    """What may be asked of a cleaning run; None leaves the choice to the defaults. `settings` has dotted keys."""

    method: str = METHOD
    test: str | Path | None = None
    hold_out: float = 0.0
    truth: str | None = None
    size: int | None = None
    epochs: int | None = None
    flip: bool = False
    corrupt: str = "drop"
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


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
    model and report go to the folder of the same name. options: see `Options`. `say` is called with the chosen
    settings before training. An interrupted call is resumed by the same call. Raises NlkitError for bad input.
    """
    if unknown := options.keys() - Options.__dataclass_fields__:
        known = ", ".join(Options.__dataclass_fields__)
        raise NlkitError(f"clean: unknown option '{min(unknown)}'; expected one of {known}")
    asked = Options(**options)
    path, target = output_paths(Path(out), Path(folder), asked.overwrite)
    device = runs.choose_device(asked.device)
    situation = _situation(Path(folder), labels, asked, device.type == "cuda")
    side = choose_side(situation) if asked.size is None else asked.size
    sources = {"folder": folder, "labels": labels, "test": asked.test}
    params, _ = _params(situation, asked, side, sources, None)  # refuses bad options before anything is written
    check_writable(target, f"--out {target}")
    check_place(path)
    assert isinstance(params.data, FolderDataParams)
    try:
        data = load_folder(params.data, target, progress)
    except NlkitError:
        with suppress(OSError):
            target.rmdir()  # where nothing was decoded, nothing stays behind
        raise
    situation = replace(situation, images=len(data.train.labels), classes=len(data.class_names))
    params, choices = _params(situation, asked, side, sources, data.sha256)
    if say is not None:
        say(data, choices)
    problem = folder_problem(data, device)
    run, evidence = _train(params, problem, target, asked.overwrite, progress)
    train, test = data.train, data.test
    result = CleanResult(
        scores=score_table("train", train.names, train.labels, data.class_names, evidence),
        test_scores=None if test is None else score_table("test", test.names, test.labels, data.class_names, evidence),
        accuracy=run.record["accuracy"]["last"],
        auc=run.record["split"]["auc"],
        dropped=pd.DataFrame(data.dropped, columns=["path", "label", "reason"]),
        choices=choices,
        run=run,
        problem=problem,
        images=train.images,
        path=path,
        folder=target,
        notes=data.notes,
    )
    how_to_load = Path(__file__).with_name("model.md").read_text(encoding="utf-8")
    write_atomically(target / "model.md", how_to_load.format(folder=target))
    write_atomically(target / "dropped.csv", result.dropped.to_csv(index=False))
    write_atomically(target / "report.html", report(result))
    write_tables(result)
    shutil.rmtree(target / "checkpoints", ignore_errors=True)
    return result


def _situation(folder: Path, labels: str | Path | None, asked: Options, gpu: bool) -> Situation:
    """What is known before the images are decoded."""
    listing = read_listing(folder, None if labels is None else Path(labels), asked.truth)
    probed = probe([entry.path for entry in listing.entries])
    images = max(1, round(len(listing.entries) * (1 - asked.hold_out)))
    classes = len({entry.label for entry in listing.entries})
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
    return make_params(content, asked.settings, source="nlkit clean"), why


def _train(
    params: Params[Any], problem: Problem, target: Path, overwrite: bool, progress: bool
) -> tuple[Run, Evidence]:
    """The run of these parameters: finished before, resumed, or trained; with the evidence behind its scores."""
    file = target / "params.yaml"
    ours = False
    with suppress(NlkitError):
        ours = load_params(file).digest == params.digest
    begun = file.exists() or (target / "record.json").exists() or (target / "checkpoints").exists()
    if begun and not ours and not overwrite:
        other = f"{target}: holds a run with other settings, labels or images"
        raise NlkitError(f"{other}; choose another --out, or --overwrite")
    if ours and (target / "record.json").exists() and (found := load_evidence(target, problem.sha256)) is not None:
        return runs.load_run(target), found
    text = yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_atomically(file, f"# The settings of this cleaning run; `nlkit run` takes this file.\n{text}")

    def keep(state: Fit) -> None:
        save_classifier(target, state.method, problem, params)
        save_evidence(target, state, problem)

    run = runs.train(problem, params, target, data_root(None), fresh=not ours, progress=progress, keep=keep)
    found = load_evidence(target, problem.sha256)
    assert found is not None
    return run, found
