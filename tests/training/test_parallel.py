"""One run on two processes: it is the run of one, and if one of them is killed the same command resumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from nlkit.params import registry
from nlkit.training import records

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SHORT = ["-s", "training.epochs=6", "-s", "training.snapshots=[6]", "-s", "method.warm_up=2", "--device", "cpu"]

# Trains the named methods first alone and then together with the other process; both must report the same.
SAME = """
import sys, torch
if sys.argv[1] == "double":  # rounding is doubled by every few steps; in double precision it stays small
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float, torch.float32 = torch.Tensor.double, torch.float64
import tiny
from nlkit import parallel
from nlkit.training.measure import epoch_row

def trained(name):
    overrides = {"optim.lr": 0.05 if sys.argv[1] == "double" else 1e-4, "model.width": 8}
    problem, rows = tiny.problem(count=97), []
    method = tiny.method(name, problem.train, **overrides)
    for epoch in range(3):
        values = method.train_epoch(epoch, lambda share: None)
        split = method.split()
        parallel.agree([split.losses, split.p_clean, *(getattr(method, kept) for kept in method.kept)])
        row = epoch_row(problem, method, split) | values
        counted = () if sys.argv[1] == "double" else ("share_clean", "precision", "recall", "clean_ratio")  # jump
        kept = [value for name, value in sorted(row.items()) if isinstance(value, float) and name not in counted]
        rows.append(torch.tensor(kept))
        if sys.argv[1] == "double":
            rows += [split.losses, split.p_clean, method.logits(problem.train.images)[0]]
    return rows

alone = {name: trained(name) for name in sys.argv[2:]}
with parallel.joined("cpu"):
    assert parallel.count() == 2
    for name, rows in alone.items():
        for one, other in zip(rows, trained(name), strict=True):
            bound = 1e-7 if sys.argv[1] == "double" else 1e-3
            torch.testing.assert_close(one, other, rtol=bound, atol=bound, equal_nan=True, msg=lambda s: f"{name}: {s}")
    print(f"{parallel.is_first()} compared")
"""


def compare(folder: Path, *words: str) -> str:
    (folder / "same.py").write_text(SAME)
    path = f"{tiny.ROOT}{os.pathsep}{tiny.ROOT / 'tests'}"
    command = [sys.executable, *TORCHRUN, str(folder / "same.py"), *words]
    ended = subprocess.run(
        command, env=tiny.environment(tiny.ROOT) | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.slow
def test_two_processes_make_the_same_epochs_as_one(tmp_path: Path) -> None:
    """All methods in double precision, and three in single precision with steps that do not blow up its rounding."""
    done = compare(tmp_path, "double", *registry.names())
    done += compare(tmp_path, "single", "cross_entropy", "dividemix", "tcl")
    assert done.count("True compared") == done.count("False compared") == 2


def ranks(starter: int) -> dict[str, int]:
    """The processes below torchrun by their number."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables = (place / "environ").read_bytes().split(b"\0")
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == starter:
            found |= {value[5:].decode(): int(place.name) for value in variables if value.startswith(b"RANK=")}
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found below /proc")
@pytest.mark.parametrize("killed", ["0", "1"])
def test_a_run_of_two_processes_resumes_where_one_was_killed(killed: str, tmp_path: Path) -> None:
    environment = tiny.environment(tiny.ROOT)

    def command(name: str, *words: str) -> list[str]:
        started = [sys.executable, *TORCHRUN, *words, "-m", "nlkit", "run"]
        return [*started, str(tiny.ROOT / "params/dividemix/digits-sym-50.yaml"), "--out", name, "--quiet", *SHORT]

    undisturbed = subprocess.run(command("whole"), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert undisturbed.returncode == 0 and undisturbed.stdout.count("trained: whole") == 1, undisturbed.stderr[-3000:]

    cut = subprocess.Popen(command("cut"), cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("cut/checkpoints/epoch-00002*")):
        assert cut.poll() is None
        time.sleep(0.02)
    os.kill(ranks(cut.pid)[killed], signal.SIGKILL)
    assert cut.wait() != 0 and not (tmp_path / "cut/record.json").exists()

    again = subprocess.run(command("cut"), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.count("resumed: cut") == 1, again.stderr[-3000:]
    found, expected = records.load(tmp_path / "cut"), records.load(tmp_path / "whole")
    assert records.differences(found, expected) == []
    assert found.info["device"]["processes"] == 2
