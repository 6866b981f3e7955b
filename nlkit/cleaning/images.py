"""Clean the labels of a folder of images: defaults, a run, scores, a model and a report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from nlkit.cleaning import scores
from nlkit.cleaning.classifier import save_classifier
from nlkit.cleaning.defaults import Choice, Situation, choose, choose_side
from nlkit.data import data_root
from nlkit.data.folder import load_folder
from nlkit.data.listing import read_listing
from nlkit.data.photos.decode import probe
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.files import output_paths, write_atomically
from nlkit.params import Params, load_params, make_params
from nlkit.params.data import FolderDataParams
from nlkit.training import runs
from nlkit.training.loop import Fit
from nlkit.training.problem import folder_problem
from nlkit.training.runs import Run


@dataclass(frozen=True)
class Options:
    """What may be asked of a cleaning run; None leaves the choice to the defaults. `settings` has dotted keys."""

    method: str = "elr"
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


@dataclass(frozen=True)
class CleanResult:
    """Scores, one row an image; held-out predictions; what was left out; the run, and why its settings are so."""

    scores: pd.DataFrame
    test_scores: pd.DataFrame | None
    dropped: pd.DataFrame
    choices: pd.DataFrame
    run: Run
    problem: Problem
    path: Path
    folder: Path
    notes: tuple[str, ...]

    @property
    def cpu_problem(self) -> Problem:
        """The problem with its images on the CPU, for galleries."""
        train = self.problem.train
        assert isinstance(train.images, Tensor)
        return replace(self.problem, train=replace(train, images=train.images.cpu()))

    @property
    def accuracy(self) -> float | None:
        """Percent of the held-out images whose label is predicted; None where none were held out."""
        return self.run.record["accuracy"]["last"]

    @property
    def auc(self) -> float | None:
        """AUC of P(clean) where the correct labels are known."""
        return self.run.record["split"]["auc"]


def clean(
    folder: str | Path,
    labels: str | Path | None = None,
    out: str | Path = "scores.csv",
    progress: bool = True,
    say: Any = None,
    **options: Any,
) -> CleanResult:
    """Train a robust classifier on the images of `folder` and tell for each label how likely it is to be correct.

    labels: a CSV file `path,label`; without it each sub-folder is a class. out: the CSV file of the scores; record,
    model and report go to the folder of the same name. options: see `Options`. `say` is called with the chosen
    settings before training. An interrupted call is resumed by the same call. Raises NlkitError for bad input.
    """
    asked = _options(options)
    path, target = output_paths(Path(out), Path(folder), asked.overwrite)
    device = runs.choose_device(asked.device)
    listing = read_listing(Path(folder), None if labels is None else Path(labels), asked.truth)
    probed = probe([entry.path for entry in listing.entries])
    situation = Situation(
        images=max(1, round(len(listing.entries) * (1 - asked.hold_out))),
        classes=len({entry.label for entry in listing.entries}),
        side=int(pd.Series(probed or [32]).median()),
        device=device,
    )
    side = choose_side(situation) if asked.size is None else asked.size
    choice = choose(situation, side, asked.method, asked.flip, asked.epochs)
    params = _params(choice, asked, Path(folder), labels, side)
    runs.prepare_folder(target)
    assert isinstance(params.data, FolderDataParams)
    try:
        data = load_folder(params.data, target, progress)
    except NlkitError:
        with suppress(OSError):
            target.rmdir()  # where nothing was decoded, nothing stays behind
        raise
    exact = replace(situation, images=len(data.train.labels), classes=len(data.class_names))
    choice = choose(exact, side, asked.method, asked.flip, asked.epochs)
    params = _params(choice, asked, Path(folder), labels, side, data.sha256)
    choices = pd.DataFrame(choice.reasons, columns=["what", "value", "why"])
    if say is not None:
        say(data, choices)
    problem = folder_problem(data, device)
    run, evidence, threshold = _train(params, problem, target, asked.overwrite, progress)
    names = data.class_names
    table = scores.train_table(data.train.names, data.train.labels, names, evidence, threshold)
    held_out = None
    if data.test is not None:
        held_out = scores.test_table(data.test.names, data.test.labels, names, evidence)
    dropped = pd.DataFrame(data.dropped, columns=["path", "label", "reason"])
    result = CleanResult(table, held_out, dropped, choices, run, problem, path, target, data.notes)
    _write(result)
    return result


def _options(options: Mapping[str, Any]) -> Options:
    unknown = [name for name in options if name not in Options.__dataclass_fields__]
    if unknown:
        known = ", ".join(Options.__dataclass_fields__)
        raise NlkitError(f"clean: unknown option '{unknown[0]}'; expected one of {known}")
    return Options(**options)


def _params(
    choice: Choice, asked: Options, folder: Path, labels: str | Path | None, side: int, sha256: str | None = None
) -> Params:
    data = {
        "name": "folder",
        "folder": _absolute(folder),
        "labels": _absolute(labels),
        "test": _absolute(asked.test),
        "hold_out": asked.hold_out,
        "split_seed": asked.seed,
        "truth": asked.truth,
        "side": side,
        "corrupt": asked.corrupt,
        "sha256": sha256,
    }
    content = {**choice.content, "cell": "your-data", "seed": asked.seed, "data": data}
    return make_params(content, asked.settings, source="nlkit clean")


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _train(params: Params, problem: Problem, target: Path, overwrite: bool, progress: bool) -> tuple[Run, Any, float]:
    """The run of these parameters: finished before, resumed, or trained; with the evidence behind its scores."""
    file = target / "params.yaml"
    ours = _digest(file) == params.digest
    begun = file.exists() or (target / "record.json").exists() or (target / "checkpoints").exists()
    if begun and not ours and not overwrite:
        raise NlkitError(
            f"{target}: holds a run with other settings, labels or images; choose another --out, or --overwrite"
        )
    if ours and (target / "record.json").exists():
        found = scores.load_evidence(target, problem.sha256)
        if found is not None:
            return runs.load_run(target), *found
    _write_params(file, params)

    def keep(state: Fit) -> None:
        save_classifier(target, state.method, problem, params)
        scores.save_evidence(target, state, problem)

    run = runs.train(problem, params, target, data_root(None), fresh=not ours, progress=progress, keep=keep)
    found = scores.load_evidence(target, problem.sha256)
    assert found is not None
    return run, *found


def _digest(file: Path) -> str | None:
    try:
        return load_params(file).digest
    except NlkitError:
        return None


def _write_params(file: Path, params: Params) -> None:
    head = "# The settings of this cleaning run; `nlkit run` takes this file.\n"
    write_atomically(file, head + yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _write(result: CleanResult) -> None:
    """Everything beside the record; the table of scores last, since it marks the whole as finished."""
    write_atomically(result.folder / "model.md", MODEL.format(folder=result.folder))
    write_atomically(result.folder / "dropped.csv", result.dropped.to_csv(index=False))
    if result.test_scores is not None:
        write_atomically(result.folder / "test_scores.csv", result.test_scores.to_csv(index=False))
    from nlkit.cleaning.report import report

    write_atomically(result.folder / "report.html", report(result))
    write_atomically(result.path, result.scores.to_csv(index=False))
    shutil.rmtree(result.folder / "checkpoints", ignore_errors=True)


MODEL = """# The trained classifier

`model.safetensors` holds the tensors of the trained method under `method.`, the training labels under `labels`, and in
its header the parameters, the class names, the shape of the training images and the mean and standard deviation of
their pixels. It holds no code. To label further images:

```python
import nlkit

classifier = nlkit.load_classifier("{folder}")
classifier.predict(["one.jpg", "another.png"])  # a data frame: path, predicted_label, confidence
```

Images are read as they were for training: turned as EXIF says, short side scaled, centre cut out.
"""
