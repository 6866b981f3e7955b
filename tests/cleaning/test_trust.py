"""Everyday bad luck around `nlkit clean`: nothing of the user's is lost, and every refusal is one line."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from fuzzing import refused as refusal
from fuzzing import seen
from pictures import clean, write_images

import nlkit
from nlbook import own_images
from nlkit.cleaning import results
from nlkit.cleaning.results import table_text
from nlkit.data.listing import read_listing, read_table
from nlkit.training import records

PLAIN: dict[str, Any] = {"method": "cross_entropy"}


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_second_run_that_is_interrupted_leaves_the_first_and_is_resumed(folder: Path, epoch: int) -> None:
    clean(folder, **PLAIN, epochs=1, hold_out=0.3)
    before = seen(folder / "out")
    with tiny.interrupted("cross_entropy", epoch):
        clean(folder, **PLAIN, epochs=4, overwrite=True)
    after, cache = seen(folder / "out"), folder / "out/scores/images.safetensors"
    assert {path: after[path] for path in before if path != cache} | {cache: before[cache]} == before
    again = clean(folder, **PLAIN, epochs=4, overwrite=True)
    assert again.run.origin == ("resumed" if epoch else "trained") and len(again.run.epochs) == 4
    assert records.load(folder / "out/scores").info["params"]["training"]["epochs"] == 4
    assert not (folder / "out/scores/test_scores.csv").exists(), "it belongs to the first run"
    straight = clean(folder, **PLAIN, epochs=4, out=folder / "straight/scores.csv")
    pd.testing.assert_frame_equal(again.scores, straight.scores)


def test_what_is_read_or_belongs_to_others_is_never_replaced(folder: Path, refused: Callable[..., str]) -> None:
    labels, own = folder / "labels.csv", folder / "own"
    (own / "s").mkdir(parents=True)
    (own / "s/report.html").write_text("mine")
    (own / "t.csv").write_text("my,table")
    shutil.copytree(folder / "images", own / "u/images")
    for images, table, out, said in [
        ("images", labels, labels, "labels.csv is read; choose another"),
        ("images", labels, folder / "images.csv", "images is read; choose another"),
        ("images", labels, labels / "s.csv", "cannot write"),
        ("images", labels, own / "s.txt", "expected the name of a table"),
        ("images", labels, own / "s.csv", "holds 'report.html'"),
        ("images", labels, own / "t.csv", "is not a table that begins with"),
        ("own/u/images", labels, own / "u.csv", f"writes it and a folder {own / 'u'}, but"),
    ]:
        command = ["clean", folder / images, "--labels", table, "--out", out, "--overwrite", "--quiet"]
        assert said in refused(*command, "--epochs", "1", "--size", "8")


def test_scores_of_a_training_that_diverged_are_not_written(folder: Path) -> None:
    refusal(lambda: clean(folder, **PLAIN, settings={"optim.lr": 1e9}), "diverged")
    assert not (folder / "out/scores.csv").exists() and not (folder / "out/scores/record.json").exists()


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


def test_a_report_has_figures_under_own_settings_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "font.size": 1000}):
        result = clean(folder, **PLAIN)
    assert (folder / "out/scores/report.html").read_text().count("data:image/svg+xml") == 3
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails, as with a broken matplotlibrc
    assert results._figures(result) == {}


def test_an_unknown_parameter_of_the_notebook_is_refused() -> None:
    given = dict.fromkeys(own_images.PARAMETERS, "") | {"metod": "tcl", "In": [], "_i": ""}
    assert "unknown parameter 'metod'" in refusal(lambda: own_images.own_or_digits(given))


def test_bad_arguments_are_refused_by_the_python_functions_too(folder: Path) -> None:
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
    before = seen(folder)
    for call in calls:
        refusal(call)
    assert seen(folder) == before
