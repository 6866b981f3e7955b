import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml

from nlkit.cli import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", write_params(folder / "params.yaml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


def write_params(path: Path, **overrides: Any) -> str:
    params = tiny.params("cross_entropy", **{"training.epochs": 2, "data.train_size": 64, **overrides})
    path.write_text(yaml.safe_dump(params.model_dump(mode="json")))
    return str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optim.rl=0.1", "unknown key 'optim.rl'"),
        ("training.snapshots=!!set {1}", "training.snapshots"),
        ("data.train_size=999999", "999999"),
        ("seed=[1", "not valid YAML"),
        ("seed", "expected dotted.key=value"),
        ("=1", "expected dotted.key=value"),
        ("cell=2020-13-45", "not valid YAML"),
    ],
)
def test_an_impossible_parameter_is_refused(refused: Callable[..., str], tmp_path: Path, text: str, said: str) -> None:
    assert said in refused("run", write_params(tmp_path / "p.yaml"), "-s", text, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["walk"], ["data"], ["data", "get"], ["run", "p.yaml", "--nope"], ["run", "p", "--device", "tpu"]],
)
def test_a_command_that_is_none_is_refused_in_one_line(refused: Callable[..., str], arguments: list[str]) -> None:
    refused(*arguments)


def test_missing_data_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    params = write_params(tmp_path / "p.yaml", **{"data.name": "cifar10"})
    said = refused("run", params, "--data", tmp_path, "--out", tmp_path / "out")
    assert "cifar10 is missing" in said and "nlkit data get cifar10" in said
    assert "cifar10" in refused("data", "verify", "cifar10", "--data", tmp_path)
    assert "'svhn' is unknown" in refused("data", "verify", "svhn", "--data", tmp_path)


@pytest.mark.parametrize("name", ["file/out", "x" * 300, "\x00"])
def test_an_output_that_cannot_be_written_is_refused_before_training(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("nlkit.training.runs.fit", lambda *_: pytest.fail("trained"))
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


@pytest.mark.parametrize("name", ["record.json", "epochs.parquet", "samples.parquet"])
def test_a_damaged_record_is_refused(refused: Callable[..., str], tmp_path: Path, finished: Path, name: str) -> None:
    done = Path(shutil.copytree(finished, tmp_path / "run"))
    (done / name).write_bytes((done / name).read_bytes()[:-10])
    for arguments in (["show", done], ["run", write_params(tmp_path / "p.yaml"), "--out", done], ["adopt", done]):
        assert name in refused(*arguments)


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
    accuracy, noise = info["accuracy"], info["noise"]
    expected = [
        "cross_entropy tiny seed 0",
        *(f"{name} {accuracy[name]:.2f}" for name in ("last", "best", "last_single", "best_single")),
        f"nominal 0.4000, realised {noise['realised']:.4f}, {noise['sha256'][:16]}",
        f"auc {info['split']['auc']:.4f}",
        info["device"]["name"],
    ]
    output = capsys.readouterr().out
    assert [text for text in expected if text not in output] == []
