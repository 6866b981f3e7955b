"""Commands that are killed at any change to the disk, interrupted, or not alone: nothing is lost, nothing is mixed."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tiny
import yaml
from pictures import write_images
from processes import FORK, Work, assert_nothing_is_lost, child, inside, listing, prepare, restore

from nlkit.cli import main
from nlkit.data.photos import PhotoList, store
from nlkit.params import registry


def call(text: str) -> Work:
    return lambda: main(text.split())


def stored() -> int:
    names = sorted(path.name for path in Path("images").iterdir())
    return len(store.build(PhotoList(Path("images"), names, np.zeros(20)), 8, Path("stores"), "drop", False).faults)


CLEAN = (
    "clean images --labels labels.csv --out s.csv --method cross_entropy --epochs 2 --size 8 --quiet -s model.width=4"
)
FEATURES, RUN = "clean --features f.npz --out f.csv", "run cross_entropy.yaml --out out --quiet"
CASES: dict[str, tuple[Work | None, Work]] = {
    "run": (None, call(RUN)),
    "run over another": (call(f"{RUN} -s seed=1"), call(f"{RUN} --fresh")),
    "clean": (None, call(CLEAN)),
    "clean over another": (call(f"{CLEAN} --hold-out 0.3"), call(f"{CLEAN} --overwrite")),
    "features": (None, call(FEATURES)),
    "features over others": (call(f"{FEATURES} --hold-out 0.3"), call(f"{FEATURES} --overwrite")),
    "adopt": (call(RUN), call("adopt out")),
    "store": (None, stored),
    "encoder": (None, call("run user.yaml --quiet")),
}
"""By name what is done first, undisturbed, and what is killed."""
TOGETHER: dict[str, tuple[Work | None, list[str]]] = {
    "same run": (None, [RUN] * 3),
    "other runs": (None, [RUN, f"{RUN} -s seed=1"]),
    "fresh runs": (None, [f"{RUN} --fresh", f"{RUN} --fresh -s seed=1"]),
    "clean": (None, [f"{CLEAN} --overwrite", f"{CLEAN} --overwrite --hold-out 0.3", CLEAN]),
    "features": (None, [f"{FEATURES} --overwrite", f"{FEATURES} --overwrite --hold-out 0.3", FEATURES]),
    "adopt": (call(RUN), ["adopt out"] * 3),
}
"""By name what is done first, and commands that are started at once."""
METHODS = {name: (None, call(f"run {name}.yaml --out out --quiet")) for name in registry.names()}
SLOW = pytest.mark.slow
FEW = [pytest.param(name, 3, id=name) for name in CASES]
EVERY = [pytest.param(name, 30 if name == "encoder" else 10**6, id=f"{name}, all", marks=SLOW) for name in CASES]
EVERY += [pytest.param(name, 2, id=name, marks=SLOW) for name in METHODS]


@pytest.fixture(scope="module", autouse=True)
def kills() -> Iterator[list[int]]:
    """How many there were, printed at the end; no question to git, no figures, images in small shards."""
    found = list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nlkit.files.subprocess.run", Mock(side_effect=OSError))
        patch.setattr("nlkit.cleaning.results._figures", lambda result: {})
        patch.setattr(store, "SHARD", 5)
        patch.setattr(os, "fsync", lambda file: None)  # a kill loses nothing that was written
        yield found
    print(f"{sum(found)} kills")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    """The current folder, a project with something for every command."""
    folder = write_images(tmp_path / "world", 2, 10)
    small = {"data.train_size": 64, "training.threads": 1, "training.epochs": 2}
    user = tiny.params("codim", **small, **{"method.encoder": "params/simclr.yaml"})
    for name in ("params", "notebooks"):
        (folder / name).mkdir()
    for name in registry.names():
        params = tiny.params(name, **small | ({"training.epochs": 4} if name == "tcl_plus" else {}))
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    (folder / "user.yaml").write_text(yaml.safe_dump(user.model_dump(mode="json")))
    shutil.copy(folder / "simclr.yaml", folder / "params")
    tiny.in_project(tiny.params("cross_entropy", **small), folder)
    np.savez(folder / "f.npz", features=np.random.default_rng(0).normal(size=(20, 3)), labels=np.arange(20) % 2)
    with contextlib.chdir(folder):
        yield folder


@pytest.mark.parametrize(("name", "most"), FEW + EVERY)
def test_whenever_it_is_killed_the_same_command_ends_as_if_undisturbed(
    world: Path, kills: list[int], name: str, most: int
) -> None:
    first, work = (CASES | METHODS)[name]
    start = prepare(world, first)
    assert work() == 0
    end = listing()
    restore(world)
    code, points = child(work, 10**9)
    assert (code, listing()) == (0, end), Path("../log").read_text()
    chance, killed = random.Random(name), 0
    for at in chance.sample(range(1, points + 1), min(most, points)):
        restore(world)
        while child(work, at)[0] == -signal.SIGKILL:
            killed += 1
            assert_nothing_is_lost(start, end)
            at = chance.randint(1, 3 * points)
            if at > points:
                break
        assert work() in (0, 2)  # it may have ended before it was killed, and says so
        assert listing() == end
    kills.append(killed)
    print(f"{name}: {killed} kills at {points} points")


def test_ctrl_c_leaves_a_run_to_resume(world: Path) -> None:
    work = METHODS["dividemix"][1]
    prepare(world, None)
    assert work() == 0
    end = listing()
    for at in (5, 20, 40, 60):
        restore(world)
        assert child(work, at, signal.SIGINT)[0] == 130
        (line,) = Path("../log").read_text().splitlines()
        assert line == "nlkit: interrupted; the same command resumes after the last finished epoch"
        assert work() == 0
        assert listing() == end


@pytest.mark.parametrize("rounds", [1, pytest.param(17, marks=SLOW)])
@pytest.mark.parametrize("name", TOGETHER)
def test_commands_in_one_folder_do_not_mix(world: Path, name: str, rounds: int) -> None:
    first, lines = TOGETHER[name]
    prepare(world, first)
    ends = []
    for line in lines:
        assert main(line.split()) == 0
        ends.append(listing())
        restore(world)
    chance = random.Random(name)
    for _ in range(rounds):
        delays = [chance.choice([0, 0.1 * chance.random()]) for _ in lines]

        def late(line: str, delay: float) -> int:
            time.sleep(delay)
            return main(line.split())

        given = [
            (partial(late, *one), f"../log{i}", 0, 0, None) for i, one in enumerate(zip(lines, delays, strict=True))
        ]
        processes = [FORK.Process(target=inside, args=one) for one in given]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        said = [[line for line in Path(one[1]).read_text().splitlines() if "waiting" not in line] for one in given]
        codes = [process.exitcode for process in processes]
        assert {*codes} <= {0, 2} and 0 in codes, said
        assert [text for code, text in zip(codes, said, strict=True) if code and len(text) != 1] == []
        assert listing() in [end for end, code in zip(ends, codes, strict=True) if code == 0]
        restore(world)
