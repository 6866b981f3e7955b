"""Runs that are killed: whatever the moment, the same command ends with the record of an undisturbed run."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nlkit import load_params
from nlkit.methods import METHODS
from nlkit.training import records

ROOT = Path(__file__).parents[2]
FILES = ["epochs.parquet", "record.json", "samples.parquet"]
EPOCHS = 24
FEW = 6

methods = pytest.mark.parametrize("method", METHODS)
CELLS = {"simclr": "simclr/digits.yaml", "tcl_plus": "tcl/digits-sym-80-plus.yaml"}
CELLS["lra_diffusion"] = "lra_diffusion/digits-sym-50-identity.yaml"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

# Starts a run in a process of its own for each line that it reads. Importing torch takes longer than the
# whole run does, so it is imported once, before the fork.
STARTER = """
import json, os, signal, sys
from pathlib import Path
import nlkit.runs
from nlkit import checkpoints
from nlkit.cli import main

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def arm(when, name):
    replace, save_file = os.replace, checkpoints.save_file

    def replace_or_die(source, target):
        hit = Path(target).name == name
        if hit and when == "before":
            die()
        replace(source, target)
        if hit and when == "after":
            die()

    def save_or_die(tensors, path, metadata):
        save_file(tensors, path, metadata)
        if when == "half" and name in Path(path).name:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    os.replace, checkpoints.save_file = replace_or_die, save_or_die

print(os.getpid(), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        arm(*order["point"])
        code = main(order["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Starter:
    """Starts runs and kills them; every run writes what it prints to `log`."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER],
            cwd=folder,  # what a run leaves beside its record goes below this folder
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._number()  # its own process id, once everything is imported

    def start(self, arguments: list[str], when: str = "", name: str = "") -> int:
        """The process id of a run that kills itself `when` a file called `name` is renamed or half written."""
        self._say(json.dumps({"arguments": arguments, "log": str(self.log), "point": [when, name]}))
        return self._number()

    def wait(self) -> int:
        """The exit status of the run that was started last; -9 for one that was killed."""
        self._say("")
        return self._number()

    def run(self, arguments: list[str], when: str = "", name: str = "") -> int:
        self.start(arguments, when, name)
        return self.wait()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    one = Starter(tmp_path_factory.mktemp("starter"))
    yield one
    assert one.process.stdin is not None
    one.process.stdin.close()
    one.process.wait()


Calm = dict[tuple[str, int], tuple[Path, float]]


@pytest.fixture(scope="module")
def calm(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """For each method and number of epochs: the folder of an undisturbed run, and the seconds that it took."""
    found = {}
    for method, epochs in itertools.product(METHODS, (EPOCHS, FEW)):
        folder = tmp_path_factory.mktemp(method)
        begin = time.perf_counter()
        assert starter.run(command(method, folder, epochs)) == 0
        found[method, epochs] = folder / "out", time.perf_counter() - begin
    return found


def command(method: str, folder: Path, epochs: int = EPOCHS) -> list[str]:
    """The command line of a short run into `folder / "out"`."""
    small: dict[str, Any] = {"training.epochs": epochs, "training.snapshots": [1, epochs // 2, epochs]}
    small |= {"model.width": 4, "data.train_size": 512}
    path = ROOT / "params" / CELLS.get(method, f"{method}/digits-sym-50.yaml")
    settings = load_params(path).method
    small |= {"method.warm_up": 3} if hasattr(settings, "warm_up") else {}
    small |= {"method.encoder": None} if isinstance(getattr(settings, "encoder", None), str) else {}
    small |= {"method.first_epochs": epochs // 2, "method.label_epochs": 1} if hasattr(settings, "first_epochs") else {}
    small |= {"method.draws": 1} if hasattr(settings, "draws") else {}
    params = load_params(path, **small)
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    return ["run", str(folder / "params.yaml"), "--out", str(folder / "out"), "--quiet"]


def assert_same_record(a: Path, b: Path) -> None:
    assert records.differences(records.load(a), records.load(b)) == []


def strike_at(process: int, folder: Path, delay: float) -> None:
    """SIGKILL `delay` seconds after the run has made its folder."""
    while not folder.exists():
        time.sleep(0.002)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


@methods
def test_ten_kills_at_random_moments_do_not_show_in_the_record(
    method: str, starter: Starter, calm: Calm, tmp_path: Path
) -> None:
    undisturbed, seconds = calm[method, EPOCHS]
    moments, out = random.Random(f"moments of {method}"), tmp_path / "out"
    kills = with_progress = 0
    while kills < 10:
        strike_at(starter.start(command(method, tmp_path)), out, moments.uniform(0, seconds / 6))
        if starter.wait() == 0:  # done before the blow: the ten go on with another run
            assert_same_record(undisturbed, out)
            shutil.rmtree(out)
        else:
            kills += 1
            with_progress += any(out.glob("checkpoints/epoch-*"))
    assert with_progress > 0
    assert starter.run(command(method, tmp_path)) == 0
    assert_same_record(undisturbed, out)
    assert sorted(path.name for path in out.iterdir()) == FILES


POINTS = [
    ("before", "epoch-00001.safetensors"),
    ("half", "epoch-00004.safetensors"),
    ("before", "epoch-00004.safetensors"),
    ("after", "epoch-00004.safetensors"),
    ("after", f"epoch-{FEW:05d}.safetensors"),
    ("before", "epochs.parquet"),
    ("after", "epochs.parquet"),
    ("before", "record.json"),
    ("after", "record.json"),
]


@methods
@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_a_kill_in_the_middle_of_writing_does_not_show_in_the_record(
    method: str, point: tuple[str, str], starter: Starter, calm: Calm, tmp_path: Path
) -> None:
    assert starter.run(command(method, tmp_path, FEW), *point) == -signal.SIGKILL
    assert (tmp_path / "out/record.json").exists() == (point == ("after", "record.json"))
    assert starter.run(command(method, tmp_path, FEW)) == 0
    assert_same_record(calm[method, FEW][0], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.parametrize("name", ["epochs.parquet", "record.json"])
def test_a_kill_while_a_record_is_replaced_leaves_the_old_one_or_a_run_to_resume(
    name: str, starter: Starter, calm: Calm, tmp_path: Path
) -> None:
    shutil.copytree(calm["cross_entropy", FEW][0], tmp_path / "out")
    order = command("cross_entropy", tmp_path, FEW)
    assert starter.run([*order, "--fresh"], "before", name) == -signal.SIGKILL
    assert starter.run(order) == 0
    assert_same_record(calm["cross_entropy", FEW][0], tmp_path / "out")


def test_ctrl_c_at_a_random_moment_leaves_a_run_to_resume(starter: Starter, calm: Calm, tmp_path: Path) -> None:
    undisturbed, seconds = calm["dividemix", EPOCHS]
    process = starter.start(command("dividemix", tmp_path))
    while not list(tmp_path.glob("out/checkpoints/epoch-*")):
        time.sleep(0.002)
    time.sleep(seconds / 16)  # well before its end, even if the undisturbed run was slowed down by others
    os.kill(process, signal.SIGINT)
    assert starter.wait() == 130
    lines = starter.log.read_text().splitlines()
    assert len(lines) == 1 and "the same command resumes" in lines[0]
    assert starter.run(command("dividemix", tmp_path)) == 0
    assert starter.log.read_text().startswith("resumed: ")
    assert_same_record(undisturbed, tmp_path / "out")


def test_the_command_itself_killed_and_started_again_resumes(calm: Calm, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "nlkit", *command("dividemix", tmp_path)]
    first = subprocess.Popen(words, cwd=ROOT)
    while not list(tmp_path.glob("out/checkpoints/epoch-*")):
        assert first.poll() is None
        time.sleep(0.002)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    second = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.startswith("resumed: ")
    assert_same_record(calm["dividemix", EPOCHS][0], tmp_path / "out")
