from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nlkit import load_params
from nlkit.cli import main
from nlkit.data import cifar
from nlkit.methods.cross_entropy import CrossEntropy

ROOT = Path(__file__).parents[1]

Listing = dict[str, str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", write_params(folder / "params.yaml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command and returns its one line of refusal; nothing may have been written."""

    def run(*arguments: str | Path) -> str:
        before = listing(tmp_path)
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        assert (code, output, listing(tmp_path)) == (2, "", before)
        assert errors.startswith("nlkit: ") and errors.endswith("\n") and errors.count("\n") == 1
        return errors

    return run


def listing(folder: Path) -> Listing:
    """Every path below a folder with the hash of its content."""
    paths = sorted(folder.rglob("*"))
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "" for path in paths}


def write_params(path: Path, **overrides: Any) -> str:
    small: dict[str, Any] = {"training.epochs": 2, "training.snapshots": [1], "model.width": 2, "data.train_size": 64}
    small["optim.lr"] = 0.05
    params = load_params(ROOT / "params/cross_entropy/digits-sym-50.yaml", **(small | overrides))
    path.write_text(yaml.safe_dump(params.model_dump(mode="json")))
    return str(path)


def write_cifar(root: Path, first: bytes) -> Path:
    """A CIFAR-10 folder of empty files but for the first batch."""
    layout = cifar.LAYOUTS["cifar10"]
    folder = root / layout.folder
    folder.mkdir(parents=True)
    for name in layout.files:
        (folder / name).write_bytes(b"")
    (folder / next(iter(layout.files))).write_bytes(first)
    return root


MODULES = (
    "import sys, nlkit, nlkit.cli\ntry: nlkit.cli.main(sys.argv[1:])\nfinally: print(*sys.modules, file=sys.stderr)"
)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["clean", "--help"], ["data"], ["run", "-x", "y"]]
)
def test_help_and_refusals_of_the_command_line_import_nothing_heavy(arguments: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-c", MODULES, *arguments], cwd=ROOT, capture_output=True, text=True)
    modules = set(ended.stderr.split())
    assert "nlkit.cli" in modules and ("usage: " in ended.stdout or "nlkit: " in ended.stderr)
    assert not modules & {"torch", "pandas", "numpy", "matplotlib", "sklearn", "pydantic", "yaml"}


OVERRIDES = [
    ("optim.rl=0.1", "unknown key 'optim.rl'"),
    ("colour=red", "unknown key 'colour'"),
    ("noise.rate=-0.1", "key 'noise.rate' is -0.1"),
    ("noise.rate=1.5", "key 'noise.rate' is 1.5"),
    ("optim.lr=0", "key 'optim.lr' is 0"),
    ("optim.lr=.nan", "key 'optim.lr'"),
    ("training.epochs=ten", "key 'training.epochs' is 'ten'"),
    ("training.epochs=2.5", "key 'training.epochs' is 2.5"),
    ("training.epochs=2026-01-01", "key 'training.epochs'"),
    ("training=3", "key 'training' is 3"),
    ("training.snapshots=!!set {1}", "training.snapshots"),
    ("noise.kind=nois", "key 'noise.kind' is 'nois'"),
    ("data.train_size=999999", "999999"),
    ("seed=[1", "not valid YAML"),
    ("seed", "expected dotted.key=value"),
    ("=1", "expected dotted.key=value"),
]


@pytest.mark.parametrize(("text", "said"), OVERRIDES)
def test_an_impossible_parameter_is_refused(refused: Callable[..., str], tmp_path: Path, text: str, said: str) -> None:
    assert said in refused("run", write_params(tmp_path / "p.yaml"), "-s", text, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "seed: 1\nseed: 2", "a: [", "paper: x", "a: &a [*a]", "[" * 5000, "\x00", "? [1]\n: 2", "{null: 1}"],
)
def test_a_file_that_holds_no_parameters_is_refused(refused: Callable[..., str], tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    assert "bad.yaml" in refused("run", path, "--out", tmp_path / "out")


def test_a_missing_parameter_file_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "nowhere.yaml" in refused("run", tmp_path / "nowhere.yaml")
    assert "cannot read" in refused("run", tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["walk"], ["data"], ["data", "get"], ["run", "p.yaml", "--nope"], ["run", "p", "--device", "tpu"]],
)
def test_a_command_that_is_none_is_refused_in_one_line(refused: Callable[..., str], arguments: list[str]) -> None:
    refused(*arguments)


def test_missing_data_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    params = write_params(tmp_path / "p.yaml", **{"data.name": "cifar10"})
    said = refused("run", params, "--data", tmp_path / "empty", "--out", tmp_path / "out")
    assert "cifar10 is missing" in said and "nlkit data get cifar10" in said
    assert "cifar10" in refused("data", "verify", "cifar10", "--data", tmp_path / "empty")
    assert "'svhn' is unknown" in refused("data", "verify", "svhn", "--data", tmp_path / "empty")


class Hostile:
    """Pickles as a call that leaves a marker in the current folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch it-ran",)


BATCH = pickle.dumps({"labels": [1] * 100, "data": b"x" * 1000})
HOSTILE = pickle.dumps({"labels": [], "data": Hostile()})


@pytest.mark.parametrize("batch", [BATCH[:0], BATCH[:1], BATCH[:20], BATCH[:200], HOSTILE])
def test_a_batch_that_is_cut_short_or_tries_to_run_code_is_refused(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_cifar(tmp_path / "data", batch)
    params = write_params(tmp_path / "p.yaml", **{"data.name": "cifar10"})
    assert "data_batch_1" in refused("run", params, "--data", root, "--out", tmp_path / "out")


@pytest.mark.parametrize("name", ["file/out", "x" * 300, "\x00"])
def test_an_output_that_cannot_be_written_is_refused_before_training(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("nlkit.training.loop.fit", lambda *_: pytest.fail("trained"))
    for options in ([], ["--fresh"]):
        assert "cannot write" in refused("run", write_params(tmp_path / "p.yaml"), "--out", tmp_path / name, *options)


def test_a_file_in_the_place_of_the_checkpoints_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/checkpoints").write_text("in the way")
    said = refused("run", write_params(tmp_path / "p.yaml"), "--out", tmp_path / "out", "--quiet")
    assert "checkpoints/epoch-00001.safetensors: cannot write there" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    params = write_params(tmp_path / "p.yaml")
    assert "--device cuda: no GPU" in refused("run", params, "--device", "cuda", "--out", tmp_path / "out")


def test_a_folder_of_other_parameters_is_refused_with_the_first_key(
    refused: Callable[..., str], tmp_path: Path, done: Path
) -> None:
    said = refused("run", write_params(tmp_path / "p.yaml"), "-s", "optim.lr=0.125", "--out", done)
    assert "optim.lr: 0.05 there, 0.125 here" in said


@pytest.mark.parametrize("name", ["record.json", "epochs.parquet", "samples.parquet"])
def test_a_damaged_record_is_refused(refused: Callable[..., str], tmp_path: Path, done: Path, name: str) -> None:
    (done / name).write_bytes((done / name).read_bytes()[:-10])
    for arguments in (["show", done], ["run", write_params(tmp_path / "p.yaml"), "--out", done], ["adopt", done]):
        assert name in refused(*arguments)


@pytest.mark.parametrize("change", [{"accuracy": 3}, {"accuracy": {"last": None}}, {"noise": {}}, {"data": {}}])
def test_a_record_of_the_wrong_shape_is_refused(
    refused: Callable[..., str], tmp_path: Path, done: Path, change: dict[str, Any]
) -> None:
    info = json.loads((done / "record.json").read_text())
    (done / "record.json").write_text(json.dumps({**info, **change}))
    assert "record.json" in refused("show", done)
    assert "record.json" in refused("run", write_params(tmp_path / "p.yaml"), "--out", done)


def test_a_run_says_where_its_record_is_and_what_came_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    command = ["run", write_params(tmp_path / "p.yaml"), "--out", str(tmp_path / "new"), "--quiet"]
    accuracy = json.loads((finished / "record.json").read_text())["accuracy"]
    for word in ("trained", "record exists"):
        assert main(command) == 0
        output, errors = capsys.readouterr()
        assert output.startswith(f"{word}: {tmp_path / 'new' / 'record.json'}\n")
        assert f"last {accuracy['last']:.2f} %" in output and "best (selected on the test set)" in output
        assert errors == ""


def test_show_says_what_a_reader_asks_first(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = json.loads((finished / "record.json").read_text())
    assert main(["show", str(finished)]) == 0
    output = capsys.readouterr().out
    accuracy, noise = info["accuracy"], info["noise"]
    expected = [
        "cross_entropy digits-sym-50 seed 0",
        *(f"{name} {accuracy[name]:.2f}" for name in ("last", "best", "last_single", "best_single")),
        f"nominal 0.5000, realised {noise['realised']:.4f}, {noise['sha256'][:16]}",
        f"auc {info['split']['auc']:.4f}",
        info["device"]["name"],
    ]
    assert [text for text in expected if text not in output] == []


def test_ctrl_c_ends_with_130_and_one_line_and_the_same_command_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", write_params(tmp_path / "p.yaml"), "--out", str(tmp_path / "out"), "--quiet"]
    train = CrossEntropy.train_epoch

    def interrupted(self: CrossEntropy, epoch: int, tick: Any) -> dict[str, float]:
        if epoch == 1:
            raise KeyboardInterrupt
        return train(self, epoch, tick)

    with monkeypatch.context() as patch:
        patch.setattr(CrossEntropy, "train_epoch", interrupted)
        assert main(command) == 130
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and "resumes" in errors
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("resumed: ")
