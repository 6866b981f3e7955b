from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nlkit import NlkitError, load_params, run
from nlkit.params import Params
from nlkit.training import records

ROOT = Path(__file__).parents[2]
FILES = ["epochs.parquet", "record.json", "samples.parquet"]


def tiny(**overrides: Any) -> Params:
    small = {"training.epochs": 2, "training.snapshots": [1], "model.width": 2, "data.train_size": 64}
    return load_params(ROOT / "params/cross_entropy/digits-sym-50.yaml", **small, **overrides)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tiny(), tmp_path_factory.mktemp("run"), progress=False).folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def rewrite(folder: Path, record: records.Record, **changes: Any) -> records.Record:
    return records.write(folder, {**record.info, **changes}, record.epochs, record.samples)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    info = json.loads((folder / "record.json").read_text())
    change(info)
    (folder / "record.json").write_text(json.dumps(info))


def test_a_record_is_three_files_and_has_every_key(original: Path) -> None:
    assert names(original) == FILES
    info = records.load(original).info
    assert {name for name, field in records.RecordInfo.model_fields.items() if field.is_required()} <= set(info)
    assert {"last", "best", "last_single", "best_single"} <= set(info["accuracy"])
    assert {"nominal", "realised", "sha256"} <= set(info["noise"])
    assert sum(path.stat().st_size for path in original.iterdir()) < records.LIMIT


def test_what_is_written_is_what_is_loaded(folder: Path, tmp_path: Path) -> None:
    record = records.load(folder)
    written = rewrite(tmp_path / "copy", record)
    loaded = records.load(tmp_path / "copy")
    assert records.differences(written, loaded) == records.differences(record, loaded) == []
    assert loaded.info == record.info


def test_a_record_above_the_limit_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    record = records.load(folder)
    noise = np.random.default_rng(0).random(records.LIMIT // 8 + 1000)
    with pytest.raises(NlkitError, match="record fewer snapshots"):
        records.write(tmp_path / "large", record.info, record.epochs, pd.DataFrame({"loss": noise}))
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_failed_rename_never_leaves_a_mixture_that_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    record, replace = records.load(folder), os.replace
    done: list[Path] = []

    def fail(source: Path, target: Path) -> None:
        if len(done) == renames:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(NlkitError, match="cannot write the record"):
        records.write(folder, {**record.info, "seed": 9}, record.epochs.head(1), record.samples)
    assert set(names(folder)) <= set(FILES)
    with pytest.raises(NlkitError, match="no record there"):
        records.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_an_error_that_names_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(NlkitError, match=name):
        records.load(folder)


@pytest.mark.parametrize("name", ["epochs.parquet", "samples.parquet"])
def test_a_changed_table_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(NlkitError, match=f"{name}: content does not match record.json"):
        records.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"format": 1}', "[" * 100_000, "\udcff"])
def test_a_damaged_record_json_is_an_error(folder: Path, text: str) -> None:
    (folder / "record.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(NlkitError, match=r"record\.json"):
        records.load(folder)


def test_a_changed_value_is_noticed_by_the_hash_that_the_record_carries(folder: Path) -> None:
    edit(folder, lambda info: info["accuracy"].update(last=99.5))
    with pytest.raises(NlkitError, match=r"record\.json: content does not match its own sha256"):
        records.load(folder)
    edit(folder, lambda info: info.pop("sha256"))
    with pytest.raises(NlkitError, match=r"record\.json: content does not match its own sha256"):
        records.load(folder)


def test_the_first_records_carried_no_hash_and_are_still_read(folder: Path) -> None:
    edit(folder, lambda info: (info.pop("sha256"), info.update(format=1)))
    assert records.load(folder).info["format"] == 1


def test_a_record_of_another_format_is_refused(folder: Path) -> None:
    edit(folder, lambda info: info.update(format=3))
    with pytest.raises(NlkitError, match="format"):
        records.load(folder)


@pytest.mark.parametrize("key", [key for key in records.RecordInfo.model_fields if key != "commit"])
def test_a_value_of_another_kind_is_refused(folder: Path, key: str) -> None:
    edit(folder, lambda info: info.update({key: [None] if isinstance(info.get(key), dict) else {"a": 1}}))
    with pytest.raises(NlkitError, match=key):
        records.load(folder)


def test_find_lists_the_records_by_path_and_no_unfinished_ones(folder: Path, tmp_path: Path) -> None:
    record = records.load(folder)
    for name in ("b/two", "a/one", "a/.writing-x", ".adopting-y/record"):
        rewrite(tmp_path / "all" / name, record)
    (tmp_path / "all/a/.writing-x/epochs.parquet").unlink()
    found = [one.folder.relative_to(tmp_path / "all") for one in records.find(tmp_path / "all")]
    assert [path.as_posix() for path in found] == ["a/one", "b/two"]


def test_adopt_copies_to_the_place_of_the_cell_and_keeps_what_is_there(folder: Path, tmp_path: Path) -> None:
    target = records.adopt(folder, tmp_path / "results")
    assert target == tmp_path / "results/cross_entropy/digits-sym-50/seed-0"
    assert names(target) == FILES and names(target.parent) == ["seed-0"]
    assert records.differences(records.load(folder), records.load(target)) == []
    before = (target / "record.json").read_bytes()
    with pytest.raises(NlkitError, match="never edited"):
        records.adopt(folder, tmp_path / "results")
    assert (target / "record.json").read_bytes() == before


@pytest.mark.parametrize("change", [{"paper": "../../elsewhere"}, {"cell": "../up"}, {"seed": "0/../../up"}])
def test_adopt_writes_nowhere_but_below_results(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    edit(folder, lambda info: info.update(change))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NlkitError):
        records.adopt(folder, tmp_path / "results" / "deep")
    assert sorted(tmp_path.rglob("*")) == before


def test_adopt_into_what_is_no_folder_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(NlkitError, match="results"):
        records.adopt(folder, tmp_path / "results")


def test_times_machine_and_versions_make_no_difference(folder: Path, tmp_path: Path) -> None:
    record = records.load(folder)
    other = {"seconds": 1.0, "device": {"type": "cuda"}, "versions": {}, "commit": None, "started": "", "finished": ""}
    epochs = record.epochs.assign(seconds=99.0)
    changed = records.write(tmp_path / "other", {**record.info, **other}, epochs, record.samples)
    assert records.differences(record, changed) == []


def other_columns(record: records.Record) -> tuple[pd.DataFrame, pd.DataFrame]:
    return record.epochs.drop(columns="auc"), record.samples


def other_length(record: records.Record) -> tuple[pd.DataFrame, pd.DataFrame]:
    return record.epochs, record.samples.head(3)


def unknown_auc(record: records.Record) -> tuple[pd.DataFrame, pd.DataFrame]:
    return record.epochs.assign(auc=pd.Series([None, None], dtype=object)), record.samples


def other_list(record: records.Record) -> tuple[pd.DataFrame, pd.DataFrame]:
    lists = [*record.epochs["hist_clean"][:-1], record.epochs["hist_clean"].iloc[-1][::-1]]
    return record.epochs.assign(hist_clean=lists), record.samples


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_columns, "epochs"),
        (other_length, "samples"),
        (unknown_auc, "epochs.auc"),
        (other_list, "epochs.hist_clean"),
    ],
)
def test_a_difference_is_named_the_same_from_both_sides(
    folder: Path, tmp_path: Path, change: Callable[[records.Record], tuple[pd.DataFrame, pd.DataFrame]], named: str
) -> None:
    record = records.load(folder)
    changed = records.write(tmp_path / "changed", {**record.info, "seed": 5}, *change(record))
    for there in (changed, records.load(tmp_path / "changed")):
        assert records.differences(record, there) == records.differences(there, record) == ["seed", named]
