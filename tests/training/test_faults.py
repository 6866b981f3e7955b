"""Runs that are killed: whatever the moment, the same command ends with the record of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny
import yaml

from nlkit.files import OWNER
from nlkit.params import registry
from nlkit.training import records

LONG, SHORT = (12, 256), (6, 128)
"""Epochs and images of a run."""

OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in registry.names() if name != "cross_entropy"]
every = pytest.mark.parametrize("method", ["cross_entropy", *OTHERS])
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

# Runs a command in a process of its own for each line that it reads, and answers with exit status and CPU seconds.
# Importing torch and others takes longer than the whole run does, so it is done once, before the fork.
STARTER = """
import json, os, signal, sys
from pathlib import Path
import pandas, pyarrow.parquet, sklearn.datasets, sklearn.metrics, torch._dynamo
import nlkit.training.loop, nlkit.training.problem
from nlkit.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may ignore it

def arm(when, what):
    if when == "at":  # a number of CPU seconds; the signal ends the process
        signal.setitimer(signal.ITIMER_PROF, what)
    if when == "ctrl-c at":
        signal.signal(signal.SIGPROF, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_PROF, what)
    replace = os.replace

    def replace_or_die(source, target):
        hit = Path(target).name == what
        if hit and when == "half":
            os.truncate(source, os.path.getsize(source) // 2)
        if hit and when in ("half", "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if hit and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace_or_die

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
    _, status, used = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, flush=True)
"""


class Starter:
    """Runs commands and kills them; every run writes what it prints to `log`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.undisturbed: dict[tuple[str, tuple[int, int]], tuple[Path, float]] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER],
            cwd=folder,  # what a run leaves beside its record goes below this folder
            env={**os.environ, "PYTHONPATH": str(tiny.ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: list[str], when: str = "", what: str | float = "") -> int:
        """The exit status of a run that kills itself.

        `when` is before, half or after a file called `what` is put into its place, or at so many CPU seconds. A run
        that was killed has the negative number of the signal.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"arguments": arguments, "log": str(self.log), "point": [when, what]}))
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        code, seconds = self.process.stdout.readline().split()
        self.seconds = float(seconds)
        return int(code)

    def calm(self, method: str, size: tuple[int, int]) -> tuple[Path, float]:
        """The folder of an undisturbed run of a method, and the CPU seconds that it took."""
        if (method, size) not in self.undisturbed:
            folder = self.folder / f"{method}-{size[0]}"
            assert self.run(command(method, folder, size)) == 0
            self.undisturbed[method, size] = folder / "out", self.seconds
        return self.undisturbed[method, size]


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    one = Starter(tmp_path_factory.mktemp("starter"))
    yield one
    one.process.kill()
    one.process.wait()


def command(method: str, folder: Path, size: tuple[int, int] = LONG) -> list[str]:
    """The command line of a run of this size into `folder / "out"`."""
    epochs, images = size
    small = {"training.epochs": epochs, "training.snapshots": [1, epochs // 2, epochs], "data.train_size": images}
    params = tiny.params(method, **small, **{"training.threads": 1})
    folder.mkdir(exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    return ["run", str(folder / "params.yaml"), "--out", str(folder / "out"), "--quiet"]


def assert_same_record(a: Path, b: Path) -> None:
    assert records.differences(records.load(a), records.load(b)) == []
    assert {path.name for path in b.iterdir()} == {OWNER, *records.FILES}


@every
def test_ten_kills_at_random_moments_do_not_show_in_the_record(method: str, starter: Starter, tmp_path: Path) -> None:
    undisturbed, seconds = starter.calm(method, LONG)
    moments, out = np.random.default_rng(0), tmp_path / "out"
    kills = with_progress = runs = 0
    while kills < 10 or not with_progress:  # on a machine that got slower the blows come later, until one hits
        runs += 1
        assert runs <= 60, "no blow left a checkpoint"
        moment = (kills + moments.random()) / 10 * seconds / 3
        code = starter.run(command(method, tmp_path), "at", moment)
        if code == 0:  # done before the blow: the ten go on with another run
            assert_same_record(undisturbed, out)
            shutil.rmtree(out)
        else:
            assert code == -signal.SIGPROF
            kills += 1
            with_progress += any(out.glob("checkpoints/epoch-*"))
    assert starter.run(command(method, tmp_path)) == 0
    assert_same_record(undisturbed, out)


EPOCHS = [("before", 1), ("half", 4), ("before", 4), ("after", 4), ("after", SHORT[0])]
POINTS = [(when, f"epoch-{epoch:05d}.safetensors") for when, epoch in EPOCHS]
POINTS += [(when, name) for name in ("epochs.parquet", "record.json") for when in ("before", "after")]


@every
@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_a_kill_while_writing_is_unseen(method: str, point: tuple[str, str], starter: Starter, tmp_path: Path) -> None:
    assert starter.run(command(method, tmp_path, SHORT), *point) == -signal.SIGKILL
    assert (tmp_path / "out/record.json").exists() == (point == ("after", "record.json"))
    assert starter.run(command(method, tmp_path, SHORT)) == 0
    assert_same_record(starter.calm(method, SHORT)[0], tmp_path / "out")


@pytest.mark.parametrize("name", ["epochs.parquet", "record.json"])
def test_a_kill_while_replacing_a_record_is_unseen(name: str, starter: Starter, tmp_path: Path) -> None:
    undisturbed, _ = starter.calm("cross_entropy", SHORT)
    shutil.copytree(undisturbed, tmp_path / "out")
    order = command("cross_entropy", tmp_path, SHORT)
    assert starter.run([*order, "--fresh"], "before", name) == -signal.SIGKILL
    assert starter.run(order) == 0
    assert_same_record(undisturbed, tmp_path / "out")


def test_ctrl_c_at_a_random_moment_leaves_a_run_to_resume(starter: Starter, tmp_path: Path) -> None:
    undisturbed, seconds = starter.calm("dividemix", LONG)
    assert starter.run(command("dividemix", tmp_path), "ctrl-c at", seconds / 2) == 130
    lines = starter.log.read_text().splitlines()
    assert len(lines) == 1 and "the same command resumes" in lines[0]
    assert starter.run(command("dividemix", tmp_path)) == 0
    assert starter.log.read_text().startswith("resumed: ")
    assert_same_record(undisturbed, tmp_path / "out")
