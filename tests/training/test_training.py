"""Runs and what stands in their folder: resumed, refused, loaded, or made anew."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from fuzzing import refused
from sklearn.metrics import roc_auc_score

from nlkit import NlkitError, load_run, run
from nlkit.outputs import OWNER
from nlkit.params import Params, registry
from nlkit.training import loop as training
from nlkit.training import records
from nlkit.training.loop import checkpoints, load_latest, save_checkpoint


def params(**own: Any) -> Params[Any]:
    """Parameters of four short epochs of cross-entropy on digits."""
    return tiny.params("cross_entropy", **{"data.train_size": 64, "training.snapshots": [1, 3, 99]}, **own)


def fit(folder: Path, changed: dict[str, Any] | None = None, **own: Any) -> training.Fit:
    """Train on the tiny problem, or on a changed one, or go on there."""
    problem = replace(tiny.problem(count=70), **(changed or {}))
    return training.fit(problem, params(**own), folder, progress=False)


def stop_at(epoch: int, folder: Path) -> None:
    """Train there until Ctrl-C in the middle of an epoch."""
    with tiny.interrupted("cross_entropy", epoch):
        fit(folder)


def test_two_runs_on_a_cpu_give_the_same_record_and_another_seed_another_one_of_the_same_labels(tmp_path: Path) -> None:
    made = [run(params(seed=seed), tmp_path / str(k), progress=False) for k, seed in enumerate((0, 0, 1))]
    first, second, other = (records.load(one.folder) for one in made)
    assert records.differences(first, second) == []
    found = records.differences(first, other)
    assert {"seed", "epochs.loss", "samples.loss"} <= set(found)
    assert "noise" not in found and "samples.noisy" not in found


def test_with_damaged_checkpoints_only_training_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop_at(3, tmp_path)
    for path in checkpoints(tmp_path / "checkpoints"):
        path.write_bytes(b"")
    stop_at(1, tmp_path)
    assert "starting anew" in "".join(capsys.readouterr())
    resumed, calm = fit(tmp_path), fit(tmp_path / "calm")
    assert resumed.resumed, "the first epoch of the new start was kept"
    assert tiny.same(resumed.method.state_dict(), calm.method.state_dict())
    assert [row | {"seconds": 0} for row in resumed.rows] == [row | {"seconds": 0} for row in calm.rows]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"optim.lr": 0.125}, "params"),
        ({"noise.seed": 7}, "params"),
        ({"changed": {"sha256": "0"}}, "data"),
        ({"changed": {"noise": replace(tiny.problem(count=70).noise, sha256="0")}}, "labels"),
    ],
)
def test_an_unfinished_run_of_another_identity_is_left_alone(given: dict[str, Any], named: str, tmp_path: Path) -> None:
    stop_at(2, tmp_path)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path / "checkpoints")}
    refused(lambda: fit(tmp_path, **given), f"unfinished run with other {named}")
    assert {path: path.read_bytes() for path in checkpoints(tmp_path / "checkpoints")} == before


def test_a_checkpoint_that_other_code_wrote_is_an_error_and_no_crash(tmp_path: Path) -> None:
    stop_at(2, tmp_path)
    tensors, info, _ = load_latest(tmp_path / "checkpoints")
    del tensors[next(name for name in tensors if name.endswith("weight"))]
    save_checkpoint(tmp_path / "checkpoints", 2, tensors, info)
    refused(lambda: fit(tmp_path), r"checkpoints.*--fresh")


def test_snapshots_after_the_last_epoch_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(training.fit(tiny.problem(count=64), params(), tmp_path).snapshots) == [1, 3, 4]
    assert "nlkit: training.snapshots: there will be none of [99]" in capsys.readouterr().out


def test_threads_are_set_for_the_run_and_put_back() -> None:
    before = torch.get_num_threads()
    with training.cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(params(), tmp_path_factory.mktemp("finished"), progress=False).folder


def test_the_record_of_the_very_same_parameters_is_loaded(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlkit.training.runs.fit", lambda *_: pytest.fail("trained again"))
    found = run(params(), finished, progress=False)
    assert found.origin == "loaded"
    assert found.record == load_run(finished).record
    assert list(found.epochs["epoch"]) == [1, 2, 3, 4] and len(found.samples) == 64


def test_the_quality_of_the_split_can_be_computed_from_the_recorded_samples(finished: Path) -> None:
    record = records.load(finished)
    samples, split = record.samples, record.info["split"]
    right, chosen = samples["noisy"] == samples["clean"], samples["p_clean"] > 0.5
    assert split["auc"] == roc_auc_score(right, samples["p_clean"])
    assert (split["precision"], split["recall"]) == (right[chosen].mean(), chosen[right].mean())


def test_other_parameters_in_the_same_folder_are_an_error_that_names_the_first_key(finished: Path) -> None:
    before = (finished / "record.json").read_bytes()
    with pytest.raises(NlkitError, match=r"optim\.lr: 0\.05 there, 0\.125 here"):
        run(params(**{"optim.lr": 0.125}), finished, progress=False)
    assert (finished / "record.json").read_bytes() == before


def test_fresh_trains_anew_even_over_other_parameters_and_checkpoints(tmp_path: Path) -> None:
    run(params(), tmp_path, progress=False)
    stop_at(2, tmp_path)
    assert run(params(seed=3), tmp_path, fresh=True, progress=False).origin == "trained"
    assert json.loads((tmp_path / "record.json").read_text())["seed"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {OWNER, *records.FILES}


@pytest.mark.parametrize("method", [name for name in registry.names()])
def test_a_run_that_diverges_is_refused_and_leaves_no_record(method: str, tmp_path: Path) -> None:
    diverging = tiny.params(method, **{"optim.lr": 1e9, "data.train_size": 64, "training.precision": "fp32"})
    refused(lambda: run(diverging, tmp_path / "out", progress=False), r"diverged in epoch \d+: .*; lower optim\.lr")
    assert not (tmp_path / "out/record.json").exists()


def test_a_run_resumed_under_other_code_tells_both_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "commit", lambda: "old")
    stop_at(2, tmp_path)
    monkeypatch.setattr(training, "commit", lambda: "new")
    assert fit(tmp_path).method.events == ["after epoch 2: commit old until here, then new"]


def test_a_committed_record_is_found_unnamed(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.in_project(params(), tmp_path)
    monkeypatch.chdir(tmp_path)
    records.adopt(finished, tmp_path / "results")
    assert run(params(), progress=False).folder.is_relative_to(tmp_path / "results")
    assert run(params(seed=2), progress=False).folder.is_relative_to(tmp_path / "runs")
