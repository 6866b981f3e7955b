import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import tiny
from fuzzing import watched

from nlkit.cli import main
from nlkit.outputs import owned_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", write_params(folder / "params.yaml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


def write_params(path: Path, **overrides: Any) -> str:
    return tiny.write(tiny.params("cross_entropy", **{"training.epochs": 2, "data.train_size": 64, **overrides}), path)


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
        ("a=" + "[" * 5000, "not valid YAML"),
        (".".join("a" * 5000) + "=1", "too deep"),
        ("model.width=2000000000", "model.width 2000000000"),
        ("model.width=30000", "GiB of memory, and this machine has"),
    ],
)
def test_an_impossible_parameter_is_refused(refused: Callable[..., str], tmp_path: Path, text: str, said: str) -> None:
    assert said in refused("run", write_params(tmp_path / "p.yaml"), "-s", text, "--out", tmp_path / "out")


@pytest.mark.parametrize("words", ["", "run", "walk", "data", "data get", "run p.yaml --nope", "run p --device tpu"])
def test_a_command_that_is_none_is_refused_in_one_line(refused: Callable[..., str], words: str) -> None:
    refused(*words.split())


def test_missing_data_and_a_missing_gpu_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    params = write_params(tmp_path / "p.yaml", **{"data.name": "cifar10"})
    said = refused("run", params, "--data", tmp_path, "--out", tmp_path / "out")
    assert "cifar10 is missing" in said and "nlkit data get cifar10" in said
    assert "cifar10" in refused("data", "verify", "cifar10", "--data", tmp_path)
    assert "no such user" in refused("run", params, "--data", "~no such user", "--out", tmp_path / "out")
    for name in ("photo.csv", "photo.jpg"):
        (tmp_path / name).write_bytes(b"JFIF")
        said = refused("data", "verify", "food101n", "--data", tmp_path, "--list", tmp_path / name)
        assert "is not a table that begins with" in said
    assert "'svhn' is unknown" in refused("data", "verify", "svhn", "--data", tmp_path)
    with patch("torch.cuda.is_available", return_value=False):
        assert "--device cuda: no GPU" in refused("run", params, "--device", "cuda", "--out", tmp_path / "out")


@pytest.mark.parametrize("name", ["file/out", "x" * 300, "\x00"])
def test_an_output_that_cannot_be_written_is_refused_before_training(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("nlkit.training.runs.fit", lambda *_: pytest.fail("trained"))
    for options in ([], ["--fresh"]):
        assert "cannot write" in refused("run", write_params(tmp_path / "p.yaml"), "--out", tmp_path / name, *options)


@pytest.mark.parametrize("name", ["notes.txt", "samples.parquet", "record.json", "checkpoints/best.pt"])
def test_a_folder_with_files_of_others_is_refused(refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("{}")
    for options in ([], ["--fresh"]):
        said = refused("run", write_params(tmp_path / "p.yaml"), "--out", tmp_path / "out", "--quiet", *options)
        assert Path(name).name in said


def test_a_folder_in_which_another_process_works_is_refused_to_other_parameters_and_own_files_stay(
    refused: Callable[..., str], tmp_path: Path, finished: Path
) -> None:
    done, path = Path(shutil.copytree(finished, tmp_path / "run")), write_params(tmp_path / "p.yaml")
    with owned_folder(done, "other parameters"):
        assert "another process" in refused("run", path, "--out", done, "--fresh")
        assert main(["run", path, "--out", str(done)]) == 0  # what is finished is shown meanwhile
    (done / "checkpoints").mkdir()
    (done / "checkpoints/best.pt").write_text("mine")
    assert main(["run", path, "--out", str(done), "--quiet", "--fresh"]) == 0
    assert (done / "checkpoints/best.pt").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 2, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "out of memory"),
        (OSError(28, "No space left on device", "/memory/Overflow"), 2, "the system refuses: "),
        (BrokenPipeError(32, "Broken pipe"), 2, "Broken pipe"),
        (OverflowError("int too large"), 2, "too large"),
        (ZeroDivisionError("one\nby \x1b[31mzero"), 1, "one by \\x1b[31mzero"),
    ],
)
def test_what_nobody_foresaw_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    with patch("nlkit.training.runs.run_of_cell", side_effect=error), patch("tempfile.tempdir", str(tmp_path)):
        assert main(["run", write_params(tmp_path / "p.yaml")]) == code
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and said in errors
    logs = list(tmp_path.glob("nlkit-*.txt"))
    assert len(logs) == (code == 1) and all("Traceback" in log.read_text() for log in logs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_what_cannot_be_printed_is_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "nlkit", "data", "status", "--data", str(tmp_path)]
    here = tiny.environment(tiny.ROOT)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=here)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr
    plain = here | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.run([*words[:-1], str(tmp_path / "größe")], capture_output=True, env=plain, check=True).stdout
    assert rb"gr\xf6\xdfe" in said


def test_pipes_in_the_place_of_files_are_not_waited_for(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("out/record.json", "p.yaml"):
        os.mkfifo(tmp_path / name)
    listed = [["show", tmp_path / "out"], ["adopt", tmp_path / "out"], ["run", tmp_path / "p.yaml"]]
    monkey = write_params(tmp_path / "good.yaml")
    for arguments in [*listed, ["run", monkey, "--out", tmp_path / "out"]]:
        with watched():
            assert "not a regular file" in refused(*arguments)


def test_what_belongs_to_no_project_or_proves_nothing_is_not_adopted(
    refused: Callable[..., str], tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Path(shutil.copytree(finished, tmp_path / "run"))
    assert "no project" in refused("adopt", done)
    for name in ("params", "notebooks", "runs"):
        (tmp_path / name).mkdir()
    info = json.loads((done / "record.json").read_text())
    info["accuracy"]["last"], info["format"] = 99.9, 1
    del info["sha256"]
    (done / "record.json").write_text(json.dumps(info))
    with chdir(tmp_path):
        assert "carries no sha256" in refused("adopt", done)
    info["accuracy"]["last"], info["noise"]["nominal"] = 9.9, "\x1b]0;title\x07"
    (done / "record.json").write_text(json.dumps(info))
    assert "values of another kind" in refused("show", done)
    info["noise"]["nominal"], info["commit"] = 0.4, "\x1b]0;title\x07"
    (done / "record.json").write_text(json.dumps(info))
    assert main(["show", str(done)]) == 0 and r"\x1b]0;title\x07" in capsys.readouterr().out


def test_a_run_says_what_came_out_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: Path) -> None:
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
    assert main(["show", str(finished / "record.json")]) == 0  # as `run` prints it
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
