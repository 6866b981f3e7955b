"""`nlkit bench`: every method has its times, and those of whole runs follow from passes."""

import re
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from nlkit.cli import main
from nlkit.params import registry
from nlkit.training import bench
from nlkit.training.bench import SETTINGS, Setting


def test_each_method_and_network_has_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    own = {name: tiny.params(name, **{"training.threads": 1}) for name in ("cross_entropy", "dividemix", "tcl")}
    monkeypatch.setattr(bench, "cells_of", lambda setting: own)
    monkeypatch.setitem(SETTINGS, "laptop", Setting(("", ""), (8, 8, 3), 10, 10))
    assert main(["bench", "--device", "cpu", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^allocator +\S", shown, re.M) and "for none of crop_flip, mixture" in shown
    assert re.search(r"^small_cnn 4 +\d", shown, re.M)
    rows = {line.split()[0]: re.findall(r"[\d.e+]+ (?:s|min|h|days)", line) for line in shown.splitlines() if line}
    assert {name: len(rows[name]) for name in own} == dict.fromkeys(own, 5)


def test_the_cells_of_the_book_are_found() -> None:
    with chdir(Path(__file__).parents[2]):
        found = {name: bench.cells_of(setting) for name, setting in SETTINGS.items()}
    compared = {entry.name for entry in registry.everything() if entry.looks}
    assert compared <= set(found["digits"]) & set(found["laptop"])
    assert list(found["paper"]) == [name for name in found["laptop"] if name != "confident_learning"]


def test_an_epoch_is_that_after_the_warm_up_and_a_run_is_as_many_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    params = tiny.params("dividemix", **{"method.warm_up": 3, "training.epochs": 5})
    calls = tiny.spied(monkeypatch, registry.find("dividemix").build, "train_epoch")
    setting, cpu = Setting(("", ""), (8, 8, 1), 10, 5), torch.device("cpu")
    [(_, _, passes)] = bench.epochs(setting, {"dividemix": params}, bench.random_images(setting, 64, cpu))
    assert [given[1] for given, _ in calls] == [0, 3]
    found = pd.DataFrame([{"epoch": 4, **calls[1][1]}])
    assert passes == registry.find("dividemix").passes(params, 64, found)  # type: ignore[misc]
    assert bench.run_passes(params, 160) == 160 * (5 * 2 + 3 * 6) + 2 * 2 * 80 * 18


def test_times_in_words() -> None:
    words = {0.5: "0.5 s", 119: "119 s", 180: "3 min", 1e6: "11.6 days", float("nan"): "-"}
    assert [bench.duration(seconds) for seconds in words] == list(words.values())


def test_without_parameter_files_it_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert "no digits-sym-50.yaml" in refused("bench")
