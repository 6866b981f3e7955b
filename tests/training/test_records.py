import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import numpy as np
import pandas as pd
import pytest
import tiny
from fuzzing import refused

from nlbook import contest
from nlkit import load_run, run
from nlkit.outputs import OWNER
from nlkit.training import records

FILES = ["epochs.parquet", "record.json", "samples.parquet"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = {"training.epochs": 2, "training.snapshots": [1], "data.train_size": 64}
    return run(tiny.params("cross_entropy", **small), tmp_path_factory.mktemp("run"), progress=False).folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    info = json.loads((folder / "record.json").read_text())
    change(info)
    (folder / "record.json").write_text(json.dumps(info))


def test_a_record_above_the_limit_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    record = records.load(folder)
    samples = pd.DataFrame({"loss": np.frombuffer(np.random.default_rng(0).bytes(records.LIMIT), "int64")})
    refused(lambda: records.write(tmp_path / "large", record.info, record.epochs, samples), "record fewer snapshots")
    assert not (tmp_path / "large").exists()


def test_tables_of_numbers_and_words_come_back_as_they_were_written(folder: Path, tmp_path: Path) -> None:
    info, numbers = records.load(folder).info, np.random.default_rng(0).random(500)
    table = pd.DataFrame({kind: (200 * numbers).astype(kind) for kind in ("float16", "float64", "uint8", "int64")})
    table = table.assign(found=numbers > 0.5, why=np.where(numbers > 0.5, "loss", None))
    again = records.write(tmp_path / "again", info, table, table.head(9))
    pd.testing.assert_frame_equal(again.epochs, table)
    pd.testing.assert_frame_equal(again.samples, table.head(9))


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_failed_rename_leaves_nothing_that_loads(folder: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    record, ends = records.load(folder), [OSError(28, "No space left on device")]
    replace = Mock(wraps=os.replace, side_effect=[DEFAULT] * renames + ends)
    monkeypatch.setattr(os, "replace", replace)
    other = {**record.info, "seed": 9}, record.epochs.head(1), record.samples
    refused(lambda: records.write(folder, *other), "cannot write the record")
    assert {*os.listdir(folder)} <= {OWNER, *FILES}
    refused(lambda: records.load(folder), "no record there")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(lambda: records.load(folder), name)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"format": 1}', "[" * 100_000, "\udcff"])
def test_a_damaged_record_json_is_an_error(folder: Path, text: str) -> None:
    (folder / "record.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(lambda: records.load(folder), r"record\.json")


def test_only_the_first_records_carried_no_hash_and_those_of_a_later_format_are_refused(folder: Path) -> None:
    edit(folder, lambda info: info.pop("sha256"))
    refused(lambda: records.load(folder), r"record\.json: content does not match its own sha256")
    edit(folder, lambda info: info.update(format=1))
    assert records.load(folder).info["format"] == 1
    edit(folder, lambda info: info.update(format=3))
    refused(lambda: records.load(folder), "format")


@pytest.mark.parametrize("group", records.NEEDED)
def test_a_group_that_lacks_a_key_is_refused_where_no_hash_would_tell(folder: Path, group: str) -> None:
    edit(folder, lambda info: (info.pop("sha256"), info.update(format=1), info[group].pop(records.NEEDED[group][0])))
    refused(lambda: records.load(folder), rf"record\.json: key '{group}.{records.NEEDED[group][0]}' is missing")


@pytest.mark.parametrize("key", sorted(records.RecordInfo.model_fields.keys() - {"commit", "encoder"}))
def test_a_value_of_another_kind_is_refused(folder: Path, key: str) -> None:
    edit(folder, lambda info: info.update({key: [None] if isinstance(info.get(key), dict) else {"a": 1}}))
    refused(lambda: records.load(folder), key)


def test_runs_below_a_folder_are_the_records_by_path_and_no_unfinished_ones(folder: Path, tmp_path: Path) -> None:
    for name in ("b/two", "a/one", "a/unfinished"):
        shutil.copytree(folder, tmp_path / "all" / name / "seed-0")
    (tmp_path / "all/a/unfinished/seed-0/record.json").unlink()
    found = [one.folder.relative_to(tmp_path / "all") for one in contest.runs_below(tmp_path / "all")]
    assert [path.as_posix() for path in found] == ["a/one/seed-0", "b/two/seed-0"]


def test_adopt_copies_to_its_cell_only_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = load_run(folder).params
    assert len(repr(load_run(folder / "record.json"))) < 300
    tiny.in_project(own, tmp_path)
    monkeypatch.chdir(tmp_path)
    target = records.adopt(folder / "record.json", tmp_path / "results")
    assert target == tmp_path / "results/cross_entropy/tiny/seed-0"
    assert sorted(os.listdir(target)) == FILES and os.listdir(target.parent) == ["seed-0"]
    assert records.load(folder).info == records.load(target).info
    before = (target / "record.json").read_bytes()
    refused(lambda: records.adopt(folder, tmp_path / "results"), "never edited")
    assert (target / "record.json").read_bytes() == before
    refused(lambda: records.adopt(folder, folder / "record.json"), "cannot write there")
    shutil.rmtree(tmp_path / "results")
    tiny.in_project(own.model_copy(update={"optim": own.optim.model_copy(update={"lr": 0.5})}), tmp_path)
    refused(lambda: records.adopt(folder, tmp_path / "results"), r"other .*\(optim\.lr: 0\.5 there, 0\.05 here")
    shutil.rmtree(tmp_path / "params")
    refused(lambda: records.adopt(folder, tmp_path / "results"), r"there is no .*cross_entropy/tiny\.yaml; only runs")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("change", [{"paper": "../../elsewhere"}, {"cell": "../up"}, {"seed": "0/../../up"}])
def test_adopt_writes_nowhere_but_below_results(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    edit(folder, lambda info: info.update(change))
    before = sorted(tmp_path.rglob("*"))
    refused(lambda: records.adopt(folder, tmp_path / "results" / "deep"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        ("epochs", lambda epochs: epochs.drop(columns="auc"), "epochs"),
        ("samples", lambda samples: samples.head(3), "samples"),
        ("samples", lambda samples: samples.astype({"p_clean": np.float16}).assign(loss=np.float16(1)), "samples.loss"),
        ("epochs", lambda epochs: epochs.assign(auc=pd.Series([None, None], dtype=object)), "epochs.auc"),
        ("epochs", lambda epochs: epochs.assign(hist_clean=[[0] * 65] * 2), "epochs.hist_clean"),
    ],
)
def test_a_difference_is_named_both_ways(folder: Path, tmp_path: Path, table: str, change: Any, named: str) -> None:
    """Times, machine and versions make none."""
    record = records.load(folder)
    other = {"seconds": 1.0, "device": {"type": "cuda", "name": "any"}, "versions": {}, "commit": None, "started": ""}
    tables = {"epochs": record.epochs.assign(seconds=99.0), "samples": record.samples}
    tables[table] = change(tables[table])
    changed = records.write(tmp_path / "changed", {**record.info, **other, "seed": 5}, **tables)
    for there in (changed, records.load(tmp_path / "changed")):
        assert records.differences(record, there) == records.differences(there, record) == ["seed", named]
