"""Tiny problems, parameters and methods that every test can afford."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from fuzzing import refused
from torch import Tensor

from nlkit import load_params, noise
from nlkit.data.problem import Problem, TrainingSet
from nlkit.methods.base import Method, Tick
from nlkit.params import Params, make_params, registry
from nlkit.training.runs import Run

ROOT = Path(__file__).parents[1]
PLAIN = {"views.pad": 0, "views.flip": False}
"""Views that do nothing, so that inputs tell the sample."""


def params(name: str = "dividemix", **overrides: Any) -> Params[Any]:
    """Parameters of a run of a second of a method; overrides are dotted keys."""
    entry = registry.find(name)
    content = {
        "paper": entry.paper,
        "cell": "tiny",
        "data": {"name": "digits"},
        "noise": {"kind": "symmetric", "rate": 0.4},
        "views": {"pad": 1, "flip": True},
        "model": {"name": "small_cnn", "width": 4},
        "optim": {"lr": 0.05},
        "training": {"epochs": 4, "batch_size": 16, "precision": "fp32"},
        "method": dict(entry.tiny),
    }
    return make_params(content, overrides, source="tiny")


def write(own: Params[Any], path: Path) -> str:
    """Write a parameter file of these parameters, in a folder that is made; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(own.model_dump(mode="json")), encoding="utf-8")
    return str(path)


def in_project(own: Params[Any], project: Path) -> None:
    """Make a folder a project that has the parameter file of these parameters."""
    (project / "notebooks").mkdir(exist_ok=True)
    write(own, project / "params" / own.paper / f"{own.cell}.yaml")


def with_tables(run: Run, **frames: pd.DataFrame) -> Run:
    """The same run with another table `epochs` or `samples` in its record."""
    tables = {f"{name}.parquet": frame.to_parquet(index=False) for name, frame in frames.items()}
    return replace(run, tables=run.tables | tables)


def refusal(path: Path, **overrides: Any) -> str:
    """What is said of a parameter file with these overrides, which must be one line that begins with the file."""
    message = refused(lambda: load_params(path, **overrides))
    assert message.startswith(f"{path}: ") and message.count(f"{path}: ") == 1
    return message


def problem(count: int = 96, classes: int = 3, rate: float = 0.4, size: int = 8, channels: int = 1) -> Problem:
    """Small images whose brightness pattern tells the class, and 30 to test on."""
    rng = np.random.default_rng(7)
    patterns = rng.integers(0, 200, (classes, size, size, channels))

    def draw(number: int) -> tuple[Tensor, np.ndarray]:
        labels = np.arange(number) % classes
        pixels = patterns[labels] + rng.integers(0, 56, (number, size, size, channels))
        return torch.from_numpy(pixels.astype(np.uint8)), labels

    images, clean = draw(count)
    test_images, test_labels = draw(30)
    observed = noise.symmetric(clean, rate, classes, seed=123)
    shade = (0.5,) * channels
    return Problem(
        train=TrainingSet(images, torch.from_numpy(observed), classes, shade, shade),
        clean=torch.from_numpy(clean),
        tests={"test": (test_images, torch.from_numpy(test_labels))},
        noise=noise.NoisyLabels.of(observed, clean, rate),
        dataset="tiny",
        class_names=tuple(str(name) for name in range(classes)),
        sha256="0" * 64,
        warnings=(),
    )


def method(name: str, data: int | TrainingSet = 96, **overrides: Any) -> Any:
    """A method before its first epoch, on a training set or on so many images of the tiny problem."""
    given = problem(count=data).train if isinstance(data, int) else data
    return registry.find(name).build(given, params(name, **overrides))


def train(method: Method, *epochs: int, split: bool = False) -> list[dict[str, float]]:
    """Train these epochs, with a split after each if asked, and return what was reported."""
    results = []
    for epoch in epochs:
        results.append(method.train_epoch(epoch, lambda share: None))
        if split:
            method.split()
    return results


@contextmanager
def interrupted(name: str, epoch: int) -> Iterator[None]:
    """Inside, Ctrl-C stops the training of a method in the middle of an epoch; it must come to that."""
    built = registry.find(name).build
    train_epoch = built.train_epoch

    def stop(self: Any, now: int, tick: Tick) -> dict[str, float]:
        return train_epoch(self, now, Mock(side_effect=KeyboardInterrupt) if now == epoch else tick)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(built, "train_epoch", stop)
        yield


def spied(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[tuple[Any, ...], Any]]:
    """Arguments and result of every call, from now on, of the function that `owner` holds under a name."""
    calls, real = list[tuple[tuple[Any, ...], Any]](), getattr(owner, name)

    def spy(*given: Any) -> Any:
        result = real(*given)
        calls.append((given, result))
        return result

    monkeypatch.setattr(owner, name, spy)
    return calls


def copy_of_project(folder: Path) -> Path:
    """The folder, with a copy of all files that belong to the project."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no working copy of git, which knows what belongs to the project")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def environment(project: Path) -> dict[str, str]:
    """The environment of a process with the packages of a project, and one thread."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    packages = f"{project}{os.pathsep}{project / 'book'}"
    return {**os.environ, "PATH": path, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}


def python(project: Path, *words: str, folder: Path | None = None) -> str:
    """What Python prints with the packages of a project, in its folder or another one."""
    command = [sys.executable, *words]
    ended = subprocess.run(command, cwd=folder or project, env=environment(project), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def stream(seed: int = 0) -> torch.Generator:
    """A stream of random numbers."""
    return torch.Generator().manual_seed(seed)


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they are now, whatever happens to them later."""
    return {name: value.clone() for name, value in state.items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two states have the same names and are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
