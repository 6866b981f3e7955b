"""Encoders: made once, found again, made anew where damaged, and never mistaken for one another."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from fuzzing import refused

import nlkit
from nlkit.data.files import write_tensors
from nlkit.methods.simclr import SimCLR
from nlkit.params import Params
from nlkit.training import encoders, records

SMALL = {"data.train_size": 64, "training.epochs": 2}


def pretraining(**own: Any) -> Params[Any]:
    """Parameters of a tiny pre-training."""
    return tiny.params("simclr", **{**SMALL, "cell": "pre", **own})


def user(**own: Any) -> Params[Any]:
    """Parameters of a tiny run that refers to an encoder."""
    return tiny.params("codim", **{**SMALL, "method.encoder": "params/pre.yaml", **own})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the current folder, with one parameter file of pre-training."""
    (tmp_path / "notebooks").mkdir()
    tiny.write(pretraining(), tmp_path / "params/pre.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(project: Path) -> list[str]:
    return sorted(path.suffix for path in (project / "runs/encoders").iterdir())


def kept(project: Path) -> Path:
    (path,) = (project / "runs/encoders").glob("*.safetensors")
    return path


def provide(params: Params, project: Path) -> encoders.Encoder:
    return encoders.provide(params, project, torch.device("cpu"), progress=False)


def test_the_name_and_the_noise_do_not_change_an_encoder_and_everything_else_does() -> None:
    one = encoders.identity(pretraining())
    same = [{"cell": "other"}, {"noise.rate": 0.8}, {"noise.kind": "none", "noise.rate": 0}, {"noise.seed": 1}]
    assert {encoders.identity(pretraining(**own)) for own in same} == {one}
    others = [{"seed": 1}, {"method.temperature": 0.1}, {"model.width": 5}, {"training.epochs": 3}, {"optim.lr": 0.01}]
    assert len({one, *(encoders.identity(pretraining(**own)) for own in others)}) == 6
    assert encoders.path_of(pretraining(), "a") != encoders.path_of(pretraining(), "b")


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "other"])
def test_a_damaged_file_is_made_again(damage: str, project: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = provide(pretraining(), project)
    target = kept(project)
    blob = target.read_bytes()
    broken = {"cut": blob[: len(blob) // 2], "empty": b"", "flip": blob[:-1] + bytes([blob[-1] ^ 1])}
    if damage == "other":
        write_tensors(target, first.tensors, {"identity": "0" * 64, "seconds": 1.0})
    else:
        target.write_bytes(broken[damage])
    again = provide(pretraining(), project)
    assert again.summary() | {"seconds": 0} == first.summary() | {"seconds": 0}
    assert "it is made again" in capsys.readouterr().out
    monkeypatch.setattr(SimCLR, "train_epoch", None)
    assert provide(pretraining(), project).summary() == again.summary()


def test_an_interrupted_pre_training_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = pretraining(**{"training.epochs": 4})
    undisturbed = provide(params, project)
    kept(project).unlink()
    epochs, train = list[int](), SimCLR.train_epoch
    monkeypatch.setattr(SimCLR, "train_epoch", lambda one, epoch, tick: epochs.append(epoch) or train(one, epoch, tick))
    with tiny.interrupted("simclr", 2):
        provide(params, project)
    assert tiny.same(provide(params, project).tensors, undisturbed.tensors)
    assert epochs == [0, 1, 2, 2, 3] and files(project) == [".lock", ".safetensors"]


def test_a_run_of_pre_training_leaves_the_file_that_others_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = nlkit.run(nlkit.load_params("params/pre.yaml"), progress=False)
    assert files(project) == [".safetensors"]
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "train_epoch", None)
        run = nlkit.run(user(), progress=False)
    assert run.record["encoder"] == done.record["encoder"]
    kept(project).unlink()
    again = nlkit.run(user(), out="again", progress=False)
    assert again.record["encoder"]["weights_sha256"] == done.record["encoder"]["weights_sha256"]
    assert records.differences(records.load(run.folder), records.load(again.folder)) == []


def test_the_record_tells_the_encoder_and_its_cost_apart_from_the_run(project: Path) -> None:
    run = nlkit.run(user(), progress=False)
    known = run.record["encoder"]
    assert set(known) == {"params_sha256", "weights_sha256", "seconds"} and known["seconds"] > 0
    assert run.record["seconds"] == pytest.approx(run.epochs["seconds"].sum())
    path = run.folder / "record.json"
    changed = run.record | {"encoder": known | {"weights_sha256": "0" * 64}}
    other = records.write(run.folder, changed, run.epochs, run.samples)
    assert records.differences(other, run) == ["encoder"]
    path.write_text(json.dumps(run.record | {"encoder": "long"}))
    refused(lambda: records.load(run.folder), "encoder")
    without = nlkit.run(user(**{"method.encoder": None}), out="without", progress=False)
    assert "encoder" not in without.record


def test_a_record_with_another_encoder_is_never_loaded_and_a_committed_one_is_passed_over(project: Path) -> None:
    run = nlkit.run(user(), progress=False)
    assert nlkit.run(user(), progress=False).origin == "loaded"
    tiny.in_project(run.params, project)
    records.adopt(run.folder, project / "results")
    tiny.write(pretraining(**{"method.temperature": 0.1}), project / "params/pre.yaml")
    refused(lambda: nlkit.run(user(), progress=False), r"another encoder .*method\.encoder.*--fresh")
    fresh = nlkit.run(user(), fresh=True, progress=False)
    assert fresh.record["encoder"]["params_sha256"] != run.record["encoder"]["params_sha256"]
    (run.folder / "record.json").unlink()
    assert nlkit.run(user(), progress=False).origin == "trained"
    (run.folder / "record.json").unlink()
    tiny.write(pretraining(), project / "params/pre.yaml")
    assert nlkit.run(user(), progress=False).folder == project / "results" / "codim/tiny/seed-0"


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"method.encoder": "params/none.yaml"}, {}, "none.yaml: no such file"),
    ({"data.train_size": 60}, {}, "data.train_size is 64 there and 60 here"),
    ({"data.name": "cifar10", "method.strong": {"kind": "autoaugment"}}, {}, "data.name is digits there and cifar10"),
    ({"method.dim": 9}, {}, "method.dim is 8 there and 9 here"),
    ({}, {"method": {"name": "simclr", "dim": "x"}}, "dim"),
    ({}, {"paper": "cross_entropy", "method": {"name": "cross_entropy"}}, "holds parameters of paper 'cross_entropy'"),
]


@pytest.mark.parametrize(("ours", "theirs", "message"), WRONG)
def test_a_bad_reference_is_one_clear_line(ours: Any, theirs: Any, message: str, project: Path, refused: Any) -> None:
    content = pretraining().model_dump(mode="json") | theirs
    (project / "params/pre.yaml").write_text(yaml.safe_dump(content))
    said = refused("run", tiny.write(user(**ours), project / "params/run.yaml"), "--quiet")
    assert "key 'method.encoder' is" in said and message in said


def test_a_run_below_the_project_finds_its_encoder_and_a_fresh_projector_may_have_another_size(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "notebooks")
    run = nlkit.run(user(**{"method.dim": 9, "method.projector": "fresh"}), progress=False)
    assert run.origin == "trained" and files(project) == [".lock", ".safetensors"]
