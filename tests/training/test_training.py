"""Runs and what stands in their folder: checkpoints, and records; resumed, refused, loaded, or made anew."""

import json
import resource
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import tiny
import torch
from fuzzing import refused
from processes import FORK, child
from sklearn.metrics import roc_auc_score

from nlbook import contest, tables
from nlkit import run
from nlkit.data.files import read_tensors, write_tensors
from nlkit.outputs import OWNER
from nlkit.params import Params, registry
from nlkit.training import loop as training
from nlkit.training import measure, records
from nlkit.training.loop import checkpoints, load_latest, save_checkpoint
from nlkit.training.runs import usual_folder


def params(**own: Any) -> Params[Any]:
    """Parameters of four short epochs of cross-entropy on digits."""
    return tiny.params("cross_entropy", **{"data.train_size": 64, "training.snapshots": [1, 3, 99]}, **own)


PROBLEM = tiny.problem(count=70)
ENCODER = {"weight": torch.ones(1)}


def fit(folder: Path, changed: dict[str, Any] | None = None, **own: Any) -> training.Fit:
    """Train on the tiny problem, or on a changed one, or go on there."""
    problem = replace(PROBLEM, **(changed or {}))
    return training.fit(problem, params(**own), folder, progress=False)


def stop_at(epoch: int, folder: Path) -> None:
    """Train there until Ctrl-C in the middle of an epoch."""
    with tiny.interrupted("cross_entropy", epoch):
        fit(folder)


def test_a_run_gives_the_same_record_again_and_with_another_seed_another_one_of_the_same_labels(tmp_path: Path) -> None:
    first, second, other = (run(params(seed=k // 2), tmp_path / str(k), progress=False) for k in range(3))
    assert records.differences(first, second) == []
    found = records.differences(first, other)
    assert {"seed", "epochs.loss", "samples.loss"} <= set(found)
    assert "noise" not in found and "samples.noisy" not in found


def test_a_run_that_is_resumed_after_its_last_epoch_has_its_own_threshold(tmp_path: Path) -> None:
    own = tiny.params("dividemix", **{"method.threshold": 0.7})
    straight, resumed = (training.fit(PROBLEM, own, tmp_path, progress=False) for _ in range(2))
    assert resumed.resumed and straight.split.threshold == resumed.split.threshold == 0.7


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
        ({"changed": {"noise": replace(PROBLEM.noise, sha256="0")}}, "labels"),
        ({"changed": {"train": replace(PROBLEM.train, encoder=ENCODER)}}, "encoder"),
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


def test_the_quality_of_the_split_can_be_computed_from_the_recorded_samples(tmp_path: Path) -> None:
    found = run(params(), tmp_path, progress=False)
    samples, split = found.samples, found.record["split"]
    right, chosen = samples["noisy"] == samples["clean"], samples["p_clean"] > 0.5
    assert split["auc"] == roc_auc_score(right, samples["p_clean"])
    assert (split["precision"], split["recall"]) == (right[chosen].mean(), chosen[right].mean())
    found_of = {kind: found.epochs[f"hist_{kind}"].iloc[-1] for kind in ("clean", "noisy")}
    assert [sum(found_of["clean"]), sum(found_of["noisy"])] == [right.sum(), (~right).sum()]


def test_accuracy_is_that_of_the_ensemble_and_an_epoch_is_selected_by_the_validation_images() -> None:
    right = torch.nn.functional.one_hot(PROBLEM.tests["test"][1], 10).float()
    fake: Any = SimpleNamespace(logits=lambda images: (right, torch.stack([-right, right])))
    assert measure.accuracies(PROBLEM, fake) == {"accuracy": 100, "accuracy_1": 0, "accuracy_2": 100}
    columns = {"accuracy": [50, 60, 40], "accuracy_1": [30, 20, 10], "accuracy_val": [1, 2, 3], "epoch": [1, 2, 3]}
    found = measure.summary(pd.DataFrame(columns))
    assert [found[key] for key in ("selected", "last_10", "best", "best_single", "last")] == [40, 50, 60, 30, 40]


def test_other_parameters_there_are_refused_by_their_first_key_or_replaced_by_a_fresh_run(tmp_path: Path) -> None:
    path, other = run(params(), tmp_path, progress=False).folder / "record.json", params(**{"optim.lr": 0.125})
    before = path.read_bytes()
    refused(lambda: run(other, tmp_path, progress=False), r"optim\.lr: 0\.05 there, 0\.125 here")
    assert path.read_bytes() == before
    stop_at(2, tmp_path)
    assert run(params(seed=3), tmp_path, fresh=True, progress=False).origin == "trained"
    assert json.loads(path.read_text())["seed"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {OWNER, *records.FILES}


def test_a_run_of_changed_parameters_has_a_folder_of_its_own_and_tables_pass_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"data.train_size": 64, "training.epochs": 1, "training.snapshots": []}
    own, changed = (tiny.params("cross_entropy", **small, **{"optim.lr": lr}) for lr in (0.05, 0.125))
    tiny.in_project(own, tmp_path)
    monkeypatch.chdir(tmp_path)
    refused(contest.all_runs, "holds no results")
    Path("results").mkdir()
    for params, again in ((changed, False), (own, False), (changed, True), (own, True)):
        done = run(params, progress=False)
        assert done.params.optim.lr == params.optim.lr and (done.origin == "loaded") == again
    assert {path.parts[-3] for path in Path("runs").rglob("record.json")} == {"tiny", f"tiny-{changed.digest[:8]}"}
    assert usual_folder(own) == usual_folder(changed) == done.folder
    assert [one.params.optim.lr for one in contest.all_runs()] == [0.05]
    kept = records.adopt(done.folder, tmp_path / "results")
    run(changed, usual_folder(own), fresh=True, progress=False)
    assert contest.fresh_runs(tmp_path) == []  # so the committed record is taken, and the changed run stays
    assert run(own, progress=False).folder == tables.Source(tmp_path).run("cross_entropy", "tiny").folder == kept


@pytest.mark.parametrize("method", registry.names())
def test_a_run_that_diverges_is_refused_and_leaves_no_record(method: str, tmp_path: Path) -> None:
    diverging = tiny.params(method, **{"optim.lr": 1e9, "data.train_size": 64, "training.precision": "fp32"})
    refused(lambda: run(diverging, tmp_path / "out", progress=False), r"diverged in epoch \d+: .*; lower optim\.lr")
    assert not (tmp_path / "out/record.json").exists()


def test_a_run_resumed_under_other_code_tells_both_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "commit", lambda: "old")
    stop_at(2, tmp_path)
    monkeypatch.setattr(training, "commit", lambda: "new")
    assert fit(tmp_path).method.events == ["after epoch 2: commit old until here, then new"]


ROWS = [{"epoch": 1, "loss": 0.1 + 0.2, "auc": None, "tiny": 1e-310, "large": [2**60, float("inf")]}]
INFO = {"identity": {"params": "a"}, "rows": ROWS, "events": ["naïve"]}
TENSORS = {"weight": torch.ones(3, 5), "steps": torch.tensor([7])}


def test_tensors_and_info_come_back_as_they_were(tmp_path: Path) -> None:
    stored = {
        "odd": torch.randn(7, 3)[:, 1:],
        "channels_last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "empty": torch.zeros(2, 0, 5, dtype=torch.float64),
        "scalar": torch.tensor(3),
        "mask": torch.tensor([True, False]),
        "half": torch.randn(3).bfloat16(),
        "not_finite": torch.tensor([float("inf"), float("-inf"), float("nan")]),
    }
    save_checkpoint(tmp_path, 1, stored, INFO)
    found, info, notes = load_latest(tmp_path)
    assert info == INFO and notes == []
    torch.testing.assert_close(found, stored, rtol=0, atol=0, equal_nan=True)


def test_the_last_two_are_kept_and_one_just_written_outlives_those_of_later_epochs(tmp_path: Path) -> None:
    for epoch in range(1, 12):
        save_checkpoint(tmp_path, epoch, TENSORS, INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-00010.safetensors", "epoch-00011.safetensors"]
    save_checkpoint(tmp_path, 1, TENSORS, INFO)
    assert "epoch-00001.safetensors" in [path.name for path in checkpoints(tmp_path)]


def test_what_is_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "missing") == load_latest(tmp_path) == ({}, {}, [])
    save_checkpoint(tmp_path, 2, TENSORS, {"epoch": 2})
    (tmp_path / ".epoch-00003.safetensors.writing").write_bytes(b"half")
    (tmp_path / "epoch-00003.safetensors").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    _, info, notes = load_latest(tmp_path)
    assert info["epoch"] == 2 and notes == []


def test_a_large_file_is_in_memory_once(tmp_path: Path) -> None:
    path, size = tmp_path / "model.safetensors", 2**28
    write_tensors(path, {"weights": torch.zeros(size, dtype=torch.uint8)}, INFO)
    found = FORK.RawValue("q")

    def read() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read_tensors(path)
        found.value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return 0

    assert child(read)[0] == 0 and size // 2 < found.value * 1024 < 1.5 * size
