from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nlkit import NlkitError, load_params, load_run, run
from nlkit.data.problem import Problem
from nlkit.methods import METHODS
from nlkit.params import Params
from nlkit.training import loop as training
from nlkit.training import records
from nlkit.training.checkpoints import checkpoints, load_latest, save
from nlkit.training.problem import load_problem

ROOT = Path(__file__).parents[2]
EPOCHS = 4
CELLS = {"tcl_plus": "tcl/digits-sym-80-plus.yaml", "simclr": "simclr/digits.yaml"}
CELLS |= {"lra_diffusion": "lra_diffusion/digits-sym-50-identity.yaml"}

methods = pytest.mark.parametrize("method", METHODS)


def tiny(method: str, **overrides: Any) -> Params:
    """A run of four short epochs; of a method that warms up, one is warm-up."""
    small: dict[str, Any] = {"training.epochs": EPOCHS, "training.snapshots": [1, 3]}
    small |= {"model.width": 4, "data.train_size": 256, "optim.lr": 0.05}
    path = ROOT / "params" / CELLS.get(method, f"{method}/digits-sym-50.yaml")
    settings = load_params(path).method
    small |= {"method.warm_up": 1} if hasattr(settings, "warm_up") else {}
    small |= {"method.encoder": None} if isinstance(getattr(settings, "encoder", None), str) else {}
    small |= {"method.first_epochs": 2, "method.label_epochs": 1} if hasattr(settings, "first_epochs") else {}
    small |= {"method.draws": 1} if hasattr(settings, "draws") else {}
    return load_params(path, **(small | overrides))


def problem_of(params: Params) -> Problem:
    return load_problem(params.data, params.noise, Path("data"), torch.device("cpu"))


def fit(params: Params, folder: Path) -> training.Fit:
    with training.cpu_threads(1):
        return training.fit(problem_of(params), params, folder, progress=False)


def interrupted_fit(params: Params, folder: Path, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until Ctrl-C in the middle of `epoch`."""
    build = training.build_method

    def build_interrupted(data: Any, params: Params) -> Any:
        method = build(data, params)
        train = method.train_epoch

        def tick_out(share: float) -> None:
            raise KeyboardInterrupt

        setattr(method, "train_epoch", lambda now, tick: train(now, tick_out if now == epoch else tick))  # noqa: B010
        return method

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "build_method", build_interrupted)
        fit(params, folder)


def rows(state: training.Fit) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in state.rows]


def assert_same(a: training.Fit, b: training.Fit) -> None:
    """Rows, weights, momenta, divisions and snapshots agree bit for bit."""
    assert rows(a) == rows(b)
    ours, theirs = training._tensors(a), training._tensors(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert a.method.events == b.method.events


@methods
@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(
    method: str, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny(method)
    interrupted_fit(params, tmp_path / "disturbed", epoch, monkeypatch)
    resumed = fit(params, tmp_path / "disturbed")
    assert resumed.resumed == (epoch > 0)
    assert_same(fit(params, tmp_path / "calm"), resumed)


@methods
def test_two_runs_on_a_cpu_give_the_same_record(method: str, tmp_path: Path) -> None:
    first, second = (run(tiny(method), tmp_path / name, progress=False) for name in ("a", "b"))
    assert records.differences(records.load(first.folder), records.load(second.folder)) == []


@methods
def test_another_seed_gives_another_record_from_the_same_labels(method: str, tmp_path: Path) -> None:
    first, second = (run(tiny(method, seed=seed), tmp_path / str(seed), progress=False) for seed in (0, 1))
    found = records.differences(records.load(first.folder), records.load(second.folder))
    assert {"seed", "epochs.accuracy", "samples.loss"} <= set(found)
    assert "noise" not in found and "samples.noisy" not in found


@methods
def test_scrambled_clean_labels_and_tests_give_the_same_training(method: str, tmp_path: Path) -> None:
    params = tiny(method)
    problem = problem_of(params)
    assert problem.clean is not None
    images, labels = problem.tests["test"]
    scrambled = dataclasses.replace(problem, clean=problem.clean.flip(0), tests={"test": (images, labels.flip(0))})
    with training.cpu_threads(1):
        ours = training.fit(problem, params, tmp_path / "a", progress=False).method.state_dict()
        theirs = training.fit(scrambled, params, tmp_path / "b", progress=False).method.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@methods
def test_a_truncated_checkpoint_costs_one_epoch_and_one_line(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny(method)
    interrupted_fit(params, tmp_path / "disturbed", 3, monkeypatch)
    newest = checkpoints(tmp_path / "disturbed/checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    capsys.readouterr()
    resumed = fit(params, tmp_path / "disturbed")
    lines = "".join(capsys.readouterr()).splitlines()
    assert len(lines) == 1 and newest.name in lines[0]
    assert_same(fit(params, tmp_path / "calm"), resumed)


def test_where_all_checkpoints_are_damaged_training_starts_anew_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny("cross_entropy")
    interrupted_fit(params, tmp_path / "disturbed", 3, monkeypatch)
    for path in checkpoints(tmp_path / "disturbed/checkpoints"):
        path.write_bytes(b"")
    interrupted_fit(params, tmp_path / "disturbed", 1, monkeypatch)
    assert "starting anew" in "".join(capsys.readouterr())
    resumed = fit(params, tmp_path / "disturbed")
    assert resumed.resumed, "the first epoch of the new start was kept"
    assert_same(fit(params, tmp_path / "calm"), resumed)


@pytest.mark.parametrize(("override", "named"), [({"optim.lr": 0.125}, "params"), ({"noise.seed": 7}, "params")])
def test_an_unfinished_run_of_other_parameters_is_left_alone(
    override: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_fit(tiny("cross_entropy"), tmp_path, 2, monkeypatch)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path / "checkpoints")}
    with pytest.raises(NlkitError, match=f"unfinished run with other {named}"):
        fit(tiny("cross_entropy", **override), tmp_path)
    assert {path: path.read_bytes() for path in checkpoints(tmp_path / "checkpoints")} == before


@pytest.mark.parametrize("change", [{"sha256": "0"}, {"noise": None}])
def test_an_unfinished_run_on_other_data_or_labels_is_left_alone(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny("cross_entropy")
    interrupted_fit(params, tmp_path, 2, monkeypatch)
    problem = problem_of(params)
    if "noise" in change:
        change = {"noise": dataclasses.replace(problem.noise, sha256="0")}
    with pytest.raises(NlkitError, match=r"unfinished run with other (data|labels)"):
        training.fit(dataclasses.replace(problem, **change), params, tmp_path, progress=False)


def without_a_weight(tensors: dict[str, torch.Tensor], info: dict[str, Any]) -> None:
    del tensors[next(name for name in tensors if name.endswith("weight"))]


def with_another_shape(tensors: dict[str, torch.Tensor], info: dict[str, Any]) -> None:
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = torch.zeros(2, 2)


def without_rows(tensors: dict[str, torch.Tensor], info: dict[str, Any]) -> None:
    del info["rows"]


@methods
@pytest.mark.parametrize("change", [without_a_weight, with_another_shape, without_rows])
def test_a_checkpoint_that_other_code_wrote_is_an_error_and_no_crash(
    method: str, change: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny(method)
    interrupted_fit(params, tmp_path, 2, monkeypatch)
    found = load_latest(tmp_path / "checkpoints")
    assert found is not None
    tensors, info, _ = found
    change(tensors, info)
    save(tmp_path / "checkpoints", 2, tensors, info)
    with pytest.raises(NlkitError, match=r"checkpoints.*--fresh"):
        fit(params, tmp_path)


def test_threads_are_set_for_the_run_and_put_back() -> None:
    before = torch.get_num_threads()
    with training.cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tiny("cross_entropy"), tmp_path_factory.mktemp("finished"), progress=False).folder


def test_the_record_of_the_very_same_parameters_is_loaded(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlkit.training.runs.fit", lambda *_: pytest.fail("trained again"))
    found = run(tiny("cross_entropy"), finished, progress=False)
    assert found.origin == "loaded"
    assert found.record == load_run(finished).record
    assert list(found.epochs["epoch"]) == [1, 2, 3, 4] and len(found.samples) == 256


def test_other_parameters_in_the_same_folder_are_an_error_that_names_the_first_key(finished: Path) -> None:
    before = (finished / "record.json").read_bytes()
    with pytest.raises(NlkitError, match=r"optim\.lr: 0\.05 there, 0\.125 here"):
        run(tiny("cross_entropy", **{"optim.lr": 0.125}), finished, progress=False)
    assert (finished / "record.json").read_bytes() == before


def test_fresh_trains_anew_even_over_other_parameters_and_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny("cross_entropy"), tmp_path, progress=False)
    interrupted_fit(tiny("cross_entropy"), tmp_path, 2, monkeypatch)
    anew = run(tiny("cross_entropy", seed=3), tmp_path, fresh=True, progress=False)
    assert anew.origin == "trained"
    assert json.loads((tmp_path / "record.json").read_text())["seed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epochs.parquet", "record.json", "samples.parquet"]


def test_a_committed_record_is_found_where_no_folder_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("params", "notebooks"):
        (tmp_path / name).mkdir()
    records.adopt(finished, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert run(tiny("cross_entropy"), progress=False).folder.is_relative_to(tmp_path / "results")
    assert run(tiny("cross_entropy", seed=2), progress=False).folder.is_relative_to(tmp_path / "runs")
