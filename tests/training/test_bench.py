"""What a run costs: times of `nlkit bench`, passes, and page faults, which an allocator that keeps memory avoids."""

import os
import platform
import re
from collections.abc import Callable
from contextlib import chdir

import pandas as pd
import pytest
import tiny
import torch
from tiny import ROOT, python

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


def test_the_cells_of_the_book_are_found_and_elsewhere_it_is_refused(refused: Callable[..., str]) -> None:
    with chdir(ROOT):
        found = {name: bench.cells_of(setting) for name, setting in SETTINGS.items()}
    compared = {entry.name for entry in registry.everything() if entry.looks}
    assert compared <= set(found["digits"]) & set(found["laptop"])
    assert "no digits-sym-50.yaml" in refused("bench")
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


FAULTS = """
import resource, sys
import numpy as np
from nlkit.training.provenance import keep_freed_memory
print(keep_freed_memory() if "keep" in sys.argv else "")
def work():
    for _ in range(10):
        np.ones(2**24, np.float32)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")
def test_freed_memory_is_kept_unless_the_environment_sets_the_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))]:
        monkeypatch.delenv(name)
    kept, plain = (python(ROOT, "-c", FAULTS, *words).splitlines() for words in (["keep"], []))
    assert kept[0] == "glibc, keeps freed memory"
    assert int(plain[1]) > 100 and int(kept[1]) < int(plain[1]) / 10
    for name, value in (("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.malloc.check=0")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert python(ROOT, "-c", FAULTS, "keep").startswith("glibc, as the environment sets it\n")
