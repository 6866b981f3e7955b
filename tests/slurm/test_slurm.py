"""A real SLURM on this machine runs a grid; a job that is cancelled is finished by the same command."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny
from test_grid import begun, write_cells

from nlkit.training import records

CONTROL = Path(__file__).with_name("cluster.sh")
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "scancel")
RUNS = 6
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A SLURM of one machine; where none can be started there is nothing to test."""
    if lacking := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"SLURM is not installed here: {', '.join(lacking)}")
    if os.geteuid() or os.path.lexists("/etc/slurm/slurm.conf") or find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("a SLURM of one's own needs root, no other SLURM, and Snakemake's plugin")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        started = subprocess.run(["bash", str(CONTROL), "start", str(folder)], capture_output=True, text=True)
        if started.returncode:
            pytest.skip(f"SLURM does not start here: {started.stdout[-500:]}{started.stderr[-500:]}")
        yield
    finally:
        subprocess.run(["bash", str(CONTROL), "stop", str(folder)], capture_output=True)


@pytest.mark.usefixtures("cluster")
def test_a_cancelled_job_is_finished_by_the_same_command(tmp_path: Path) -> None:
    tree = tiny.copy_of_project(tmp_path / "tree")
    folders = write_cells(tree, RUNS, short=2)
    wanted = [str((folder / "record.json").relative_to(tree)) for folder in folders]
    profile = ["--profile", "profiles/slurm", "--retries", "0", "--latency-wait", "10", "--cores", "2"]
    quick = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
    memory = ["--default-resources", "runtime=60", "mem_mb=1000"]
    command = [sys.executable, "-m", "snakemake", *profile, *quick, *memory, "--", *wanted]

    def engine() -> subprocess.Popen[bytes]:
        log = (tmp_path / "engine.log").open("ab")
        return subprocess.Popen(command, cwd=tree, env=tiny.environment(tree), stdout=log, stderr=log)

    first = engine()
    while not (halves := begun(folders)):
        assert first.poll() is None, (tmp_path / "engine.log").read_text(encoding="utf-8")
        time.sleep(0.05)
    logs = tree / f".snakemake/slurm_logs/rule_train/cross_entropy_digits-grid-{halves[0]}_0"
    subprocess.run(["scancel", "--full", *(re.sub(r"\D", "", log.name) for log in logs.iterdir())], check=True)
    assert first.wait() == 1
    there = [(tree / name).exists() for name in wanted]
    assert there == [number != halves[0] for number in range(RUNS)]
    assert engine().wait() == 0, (tmp_path / "engine.log").read_text(encoding="utf-8")
    said = tree / f"runs/logs/cross_entropy-digits-grid-{halves[0]}-seed-0.txt"
    assert said.read_text(encoding="utf-8").startswith("resumed: ")
    for number in (0, halves[0]):
        params = f"params/cross_entropy/digits-grid-{number}.yaml"
        tiny.python(tree, "-m", "nlkit", "run", params, "--out", str(tmp_path / f"local-{number}"), "--quiet")
        local, distant = records.load(tmp_path / f"local-{number}"), records.load(folders[number])
        assert records.differences(local, distant) == []
