"""Runs on two processes, which are those of one, and on a GPU: each goes on where it was killed or interrupted."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from pretended_gpu import GPU, pretended_gpu

import nlkit
from nlkit.params import registry
from nlkit.seeding import torch_stream
from nlkit.training import records

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SHORT = ["-s", "training.epochs=6", "-s", "training.snapshots=[6]", "-s", "method.warm_up=2", "--device", "cpu"]

# Trains the named methods first alone and then together with the other process; both must report the same.
SAME = """
import sys, torch
sys.path.append("tests")
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
        jumping = ("share_clean", "precision", "recall", "clean_ratio", "auc", "auc_1", "auc_2")  # counts of a few
        counted = () if sys.argv[1] == "double" else jumping
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


@pytest.mark.slow
def test_two_processes_make_the_same_epochs_as_one(tmp_path: Path) -> None:
    """All methods in double precision, and three in single precision with steps that do not blow up its rounding."""
    (tmp_path / "same.py").write_text(SAME)
    words = [*TORCHRUN, str(tmp_path / "same.py")]
    done = tiny.python(tiny.ROOT, *words, "double", *registry.names())
    done += tiny.python(tiny.ROOT, *words, "single", "cross_entropy", "dividemix", "tcl")
    assert done.count("True compared") == done.count("False compared") == 2


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["0", "1"])
def test_a_run_of_two_processes_resumes_where_one_was_killed(killed: str, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil", reason="the package psutil, which Snakemake needs, is not installed")
    words = [str(tiny.ROOT / "params/dividemix/digits-sym-50.yaml"), "--quiet", *SHORT, "--out"]
    command = [*TORCHRUN, "-m", "nlkit", "run", *words]
    assert tiny.python(tiny.ROOT, *command, "whole", folder=tmp_path).count("trained: whole") == 1

    where = {"cwd": tmp_path, "env": tiny.environment(tiny.ROOT), "stderr": subprocess.DEVNULL}
    cut = subprocess.Popen([sys.executable, *command, "cut"], **where)
    while not list(tmp_path.glob("cut/checkpoints/epoch-00002*")):
        assert cut.poll() is None
        time.sleep(0.02)
    ranks = {process.environ().get("RANK"): process for process in psutil.Process(cut.pid).children()}
    ranks[killed].kill()
    assert cut.wait() != 0 and not (tmp_path / "cut/record.json").exists()

    assert tiny.python(tiny.ROOT, *command, "cut", folder=tmp_path).count("resumed: cut") == 1
    found, expected = records.load(tmp_path / "cut"), records.load(tmp_path / "whole")
    assert records.differences(found, expected) == []
    assert found.info["device"]["processes"] == 2


def test_the_pretended_gpu_refuses_what_a_gpu_refuses() -> None:
    assert type(torch_stream(torch.device("cpu"))) is torch.Generator
    with pretended_gpu():
        assert torch_stream(GPU).device == GPU
        here, there = torch.ones(3, 4), torch.randn(3, 4, device="cuda", generator=torch.Generator("cuda"))
        layer = torch.nn.Linear(4, 2).to("cuda")
        layer(there).sum().backward()
        results = [there + 1, there[0].clone(), layer(there), there * torch.tensor(2.0), layer.weight.grad]
        assert {one.device for one in [*results, there[torch.tensor([0])], torch.zeros_like(there)]} == {GPU}
        assert {one.device.type for one in (here, there.cpu(), here + 1, there.to("cpu"))} == {"cpu"}
        refused: list[Callable[[], object]] = [
            lambda: here + there,
            lambda: torch.cat([here, there]),
            lambda: here[there[:, 0].long()],
            lambda: there.numpy(),
            lambda: layer(here),
            lambda: torch.randperm(3, generator=torch.Generator("cuda")),
            lambda: there.uniform_(generator=torch.Generator()),
        ]
        for wrong in refused:
            with pytest.raises((RuntimeError, TypeError), match="pretended GPU"):
                wrong()
    assert type(torch_stream(torch.device("cpu"))) is torch.Generator


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
def test_every_method_trains_and_resumes_on_a_gpu(name: str, tmp_path: Path) -> None:
    params = tiny.params(name, **{"training.epochs": 3, "data.train_size": 256, "training.precision": "auto"})
    with pretended_gpu():
        with tiny.interrupted(name, 2):
            nlkit.run(params, tmp_path / "run", device="cuda", progress=False)
        run = nlkit.run(params, tmp_path / "run", device="cuda", progress=False)
    assert run.origin == "resumed" and run.record["device"]["type"] == "cuda"
