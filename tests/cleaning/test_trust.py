"""Everyday bad luck around `nlkit clean`: nothing of the user's is lost, and every refusal is one line."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import tiny
from fuzzing import refused as refusal
from pictures import clean, write_images

import nlkit
from nlbook import own_images
from nlkit.cleaning import results
from nlkit.cleaning.results import table_text
from nlkit.data.listing import read_listing, read_table
from nlkit.training import records

PLAIN: dict[str, Any] = {"method": "cross_entropy"}


@pytest.fixture(autouse=True)
def _no_drawings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "figures" not in request.node.name:
        monkeypatch.setattr("nlkit.cleaning.results._figures", lambda result: {})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_second_run_that_is_interrupted_leaves_the_first_and_is_resumed(tmp_path: Path, epoch: int) -> None:
    folder = write_images(tmp_path, 2, 10)
    clean(folder, **PLAIN, epochs=1, hold_out=0.3)
    before = contents(folder / "out")
    with tiny.interrupted("cross_entropy", epoch):
        clean(folder, **PLAIN, epochs=4, overwrite=True)
    after = contents(folder / "out")
    assert {name: after[name] for name in before if "images.safetensors" not in name} == {
        name: content for name, content in before.items() if "images.safetensors" not in name
    }
    again = clean(folder, **PLAIN, epochs=4, overwrite=True)
    assert again.run.origin == ("resumed" if epoch else "trained") and len(again.run.epochs) == 4
    assert records.load(folder / "out/scores").info["params"]["training"]["epochs"] == 4
    assert not (folder / "out/scores/test_scores.csv").exists(), "it belongs to the first run"
    straight = clean(folder, **PLAIN, epochs=4, out=folder / "straight/scores.csv")
    pd.testing.assert_frame_equal(again.scores, straight.scores)


def test_what_is_read_or_belongs_to_others_is_never_replaced(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder = write_images(tmp_path, 2, 10)
    labels, own = folder / "labels.csv", folder / "own"
    (own / "s").mkdir(parents=True)
    (own / "s/report.html").write_text("mine")
    (own / "t.csv").write_text("my,table")
    shutil.copytree(folder / "images", own / "u/images")
    for images, table, out, said in [
        ("images", labels, labels, "labels.csv is read; choose another"),
        ("images", labels, own / "s.csv", "holds 'report.html'"),
        ("images", labels, own / "t.csv", "is not a table that begins with"),
        ("own/u/images", labels, own / "u.csv", f"writes it and a folder {own / 'u'}, but"),
    ]:
        command = ["clean", folder / images, "--labels", table, "--out", out, "--overwrite", "--quiet"]
        assert said in refused(*command, "--epochs", "1", "--size", "8")


def test_a_refused_call_leaves_nothing(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder = write_images(tmp_path, 2, 10)
    (folder / "empty").mkdir()
    command = ["clean", folder / "empty", "--labels", folder / "labels.csv", "--out", folder / "a/b/s.csv", "--quiet"]
    assert "0 usable images (20 are left out, first '0.png': no such file; paths are relative" in refused(*command)


def test_scores_of_a_training_that_diverged_are_not_written(tmp_path: Path) -> None:
    folder = write_images(tmp_path, 2, 10)
    refusal(lambda: clean(folder, **PLAIN, settings={"optim.lr": 1e9}), "diverged")
    assert not (folder / "out/scores.csv").exists() and not (folder / "out/scores/record.json").exists()


def test_class_folders_do_not_vanish_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_images(tmp_path, 2, 10) / "images"
    for name in ("a", "b", "odd", "none"):
        (images / name).mkdir()
    for index in range(20):
        (images / f"{index}.png").rename(images / "ab"[index % 2] / f"{index}.png")
    for name in ("odd/x.jp2", "a/y.JP2", "a/none", "a/.hidden.jp2"):
        (images / name).write_bytes(b"JP")
    (images / "c").symlink_to(images / "a")
    notes = read_listing(images, None)[1]
    assert "c: is a link to a folder" in notes[0] and "2 folders hold no images" in notes[1] and len(notes) == 3
    assert "3 files with other endings, ['', '.jp2'], are passed over" in notes[2]
    (images / "b/same.png").symlink_to(images / "a/0.png")
    assert "is labelled 'b' here and 'a' as 'a/0.png'" in refusal(lambda: read_listing(images, None))
    monkeypatch.setattr("os.scandir", Mock(side_effect=PermissionError(13, "Permission denied", "images/b")))
    assert "images/b: cannot read the folder (Permission denied)" in refusal(lambda: read_listing(images, None))


CELLS = ["=cmd|x", "-a", "+b", "@c", "'=d", "''-e", "-1", "+2.5", "'-1", "it's", "'", "=", "a=b", "größe, “x”"]


def test_tables_hold_no_formula_and_come_back_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": CELLS, "label": CELLS[::-1], "p_clean": 0.5})
    (tmp_path / "t.csv").write_text(table_text(table), encoding="utf-8")
    assert not [cell for cell in pd.read_csv(tmp_path / "t.csv", dtype=str)["path"] if cell[0] in "=@"]
    assert [cells for _, cells in read_table(tmp_path / "t.csv", ("path", "label"))] == [
        *zip(CELLS, CELLS[::-1], strict=True)
    ]


@pytest.mark.parametrize("label", ["a\rb", "\x1b[31m", "a\nb", "\x85"])
def test_control_characters_in_labels_are_refused(tmp_path: Path, label: str) -> None:
    (tmp_path / "t.csv").write_text(f'path,label\n0.png,"{label}"\n', encoding="utf-8", newline="")
    assert "control character" in refusal(lambda: list(read_table(tmp_path / "t.csv", ("path", "label"))))
    write_images(tmp_path / label, 2, 1)
    assert "control character" in refusal(lambda: read_listing(tmp_path, None))


def test_options_that_do_not_apply_and_rows_that_contradict_are_refused(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    features, names = np.random.default_rng(0).normal(size=(40, 3)), [f"{i}.png" for i in range(40)]
    np.savez(tmp_path / "f.npz", features=features)
    rows = pd.DataFrame({"path": names, "label": ["a", "b"] * 20})
    rows.to_csv(tmp_path / "l.csv", index=False)
    pd.concat([rows, rows.tail(1).assign(label="a")]).to_csv(tmp_path / "twice.csv", index=False)
    rows.assign(really=[*"ab" * 19, "a", " "]).to_csv(tmp_path / "gap.csv", index=False)
    numbers = pd.DataFrame({"path": names, **{f"f{j}": features[:, j] for j in range(3)}})
    numbers.to_parquet(tmp_path / "f.parquet")
    numbers.assign(label=[0.5, 1.5] * 20).to_parquet(tmp_path / "float.parquet")
    numbers.assign(label=["a", "b"] * 19 + ["a", None]).to_parquet(tmp_path / "null.parquet")
    for file, table, options, said in [
        ("f.npz", "l.csv", ["--method", "bogus"], "--method: has no meaning"),
        ("f.npz", "l.csv", ["-s", "a=1"], "--set: has no meaning"),
        ("f.npz", "l.csv", ["--epochs", "3"], "--epochs: has no meaning"),
        ("f.npz", "l.csv", [tmp_path], "folder: has no meaning"),
        ("f.npz", "l.csv", ["--truth", "label"], "--truth label: must be"),
        ("f.npz", "l.csv", ["--out", tmp_path / "l.csv", "--overwrite"], "l.csv is read"),
        ("f.parquet", "twice.csv", [], "'39.png' has two labels"),
        ("float.parquet", None, [], "floating-point"),
        ("null.parquet", None, [], "'39.png' has no label in the column 'label'"),
        ("f.parquet", "gap.csv", ["--truth", "really"], "'39.png' has no label in the column 'really'"),
    ]:
        given = ["--features", tmp_path / file, *(["--labels", tmp_path / table] if table else [])]
        assert said in refused("clean", *given, "--out", tmp_path / "s.csv", *options)
    (tmp_path / "digits.csv").write_text("path,label\n" + "".join(f"{i},{'12'[i % 2] * 5000}\n" for i in range(40)))
    result = nlkit.clean_features(tmp_path / "f.npz", tmp_path / "digits.csv", tmp_path / "s.csv")
    assert len(result.scores) == 40


def test_figures_are_drawn_under_own_settings_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "font.size": 1000}):
        result = clean(write_images(tmp_path, 2, 10), **PLAIN)
    assert (tmp_path / "out/scores/report.html").read_text().count("data:image/svg+xml") == 3
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails, as with a broken matplotlibrc
    assert results._figures(result) == {}


def test_an_unknown_parameter_of_the_notebook_is_refused() -> None:
    given = dict.fromkeys(own_images.PARAMETERS, "") | {"metod": "tcl", "In": [], "_i": ""}
    assert "unknown parameter 'metod'" in refusal(lambda: own_images.own_or_digits(given))


def test_bad_arguments_are_refused_by_the_python_functions_too(tmp_path: Path) -> None:
    folder = write_images(tmp_path, 2, 10)
    images, labels, file = folder / "images", folder / "labels.csv", folder / "f.npz"
    np.savez(file, features=np.eye(20), labels=np.arange(20) % 2)
    options: list[dict[str, Any]] = [
        {"hold_out": "a"}, {"hold_out": float("nan")}, {"epochs": "a"}, {"epochs": 10**30}, {"size": "a"}, {"size": 0},
        {"settings": 5}, {"corrupt": 5}, {"method": 5}, {"truth": 5}, {"seed": "a"}, {"nonsense": 1},
    ]  # fmt: skip
    calls: list[Callable[[], object]] = [
        *(lambda given=given: nlkit.clean(images, labels, folder / "s.csv", **given) for given in options),
        *(lambda k=k: nlkit.clean_features(file, k=k, out=folder / "s.csv") for k in (0, -1, "a", 1.5)),
        lambda: nlkit.clean(None), lambda: nlkit.clean(images, 5), lambda: nlkit.clean(images, labels, 5),
        lambda: nlkit.clean_features(None), lambda: nlkit.clean_features(np.ones((20, 3))),
        lambda: nlkit.load_params(5), lambda: nlkit.load_params(None), lambda: nlkit.run(None),
        lambda: nlkit.run(str(labels)), lambda: nlkit.run(tiny.params(), out=5),
        lambda: nlkit.run(tiny.params(), folder / "o", data=5),
        lambda: nlkit.load_run(None), lambda: nlkit.load_classifier(5), lambda: nlkit.fit_two_components([]),
        lambda: nlkit.fit_two_components(None), lambda: nlkit.fit_two_components("ab"),
        lambda: nlkit.fit_two_components(np.ones((3, 3))),
    ]  # type: ignore[arg-type, list-item]  # fmt: skip
    before = contents(tmp_path)
    for call in calls:
        refusal(call)
    assert contents(tmp_path) == before
