"""What `nlkit clean` writes, when it trains again, what data it takes and refuses, and how it chooses."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from fuzzing import refused, watched
from pictures import QUICK, clean, write_images
from PIL import Image

import nlkit
from nlkit.cleaning.defaults import Situation, choose, choose_side, offered
from nlkit.cli import main
from nlkit.data.files import read_tensors, write_tensors
from nlkit.outputs import OWNER
from nlkit.params import make_params
from nlkit.training import records

COLUMNS = ["path", "label", "p_clean", "suggested_label", "confidence"]
COLUMNS += ["is_label_issue", "label_quality", "given_label", "predicted_label"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 120 images in 3 classes, a quarter mislabelled, cleaned with a third held out."""
    folder = write_images(tmp_path_factory.mktemp("finished"), 3, 40, flips=0.25)
    clean(folder, epochs=12, hold_out=0.33, truth="truth", settings={"model.width": 8})
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A copy of the outcome, beside the images themselves."""
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


def test_the_table_has_a_row_an_image_and_the_promised_columns(finished: Path) -> None:
    names = {"record.json", "epochs.parquet", "samples.parquet", "model.safetensors", "model.md", "params.yaml"}
    names |= {"report.html", "dropped.csv", "test_scores.csv", "evidence.safetensors", "images.safetensors", OWNER}
    assert {path.name for path in (finished / "out/scores").iterdir()} == names
    table = pd.read_csv(finished / "out/scores.csv")
    held_out = pd.read_csv(finished / "out/scores/test_scores.csv")
    given = pd.read_csv(finished / "labels.csv").set_index("path")
    assert list(table) == COLUMNS
    assert len(table) + len(held_out) == 120 and len(held_out) == pytest.approx(40, abs=2)
    assert not set(table["path"]) & set(held_out["path"])
    assert (table["label"] == given.loc[table["path"], "label"].to_numpy()).all()
    for name, other in (("given_label", "label"), ("suggested_label", "predicted_label")):
        assert (table[name] == table[other]).all()
    for name in ("p_clean", "confidence", "label_quality"):
        assert table[name].between(0, 1).all()
    agrees = table["given_label"] == table["predicted_label"]
    assert np.allclose(table["label_quality"][agrees], table["confidence"][agrees])
    assert (table["label_quality"][~agrees] <= table["confidence"][~agrees]).all()
    assert (table["is_label_issue"] == (~agrees & (table["p_clean"] <= 0.5))).all()


def test_the_wrong_labels_are_found(finished: Path) -> None:
    table, given = pd.read_csv(finished / "out/scores.csv"), pd.read_csv(finished / "labels.csv").set_index("path")
    truth = given.loc[table["path"], "truth"].to_numpy()
    record = records.load(finished / "out/scores").info
    assert record["split"]["auc"] > 0.97 and record["accuracy"]["last"] > 96
    assert (table["suggested_label"] == truth).mean() > 0.97
    assert (table["is_label_issue"] == (table["label"] != truth)).mean() > 0.95


def test_a_grey_classifier_takes_the_luminance_of_colours_and_skips_no_images(finished: Path, tmp_path: Path) -> None:
    grey = np.asarray(Image.open(finished / "images/0.png"))
    Image.fromarray(np.dstack([grey] * 3) ^ np.uint8([0, 0, 1])).save(tmp_path / "colour.png")
    (tmp_path / "bad.png").write_bytes(b"x")
    paths = [tmp_path / "bad.png", tmp_path / "colour.png", finished / "images/0.png"]
    classifier = nlkit.load_classifier(finished / "out/scores")
    table = classifier.predict(path for path in paths)
    assert table["path"].tolist() == list(map(str, paths))
    found = table["predicted_label"]
    assert found.isna().tolist() == [True, False, False] and found[1] == found[2]
    refused(lambda: classifier.predict(paths[1]), "expected a list of paths, not '")


def test_a_classifier_is_loaded_onto_the_device_asked_for(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: nlkit.load_classifier(finished / "out/scores", "gpu"), "expected auto, cpu or cuda")
    monkeypatch.setattr("nlkit.cleaning.classifier.choose_device", torch.device)  # meta: shapes on no machine
    method = nlkit.load_classifier(finished / "out/scores", "meta").method
    assert {tensor.device.type for tensor in method.state_dict().values()} == {"meta"} == {method.device.type}


@pytest.mark.parametrize("damage", [0, 100, -20, "pipe", {"shape": [1]}, {"mean": []}, {"params": 5}, {"classes": 1}])
def test_a_damaged_model_is_refused(done: Path, damage: Any) -> None:
    path = done / "scores/model.safetensors"
    blob, (tensors, info) = path.read_bytes(), read_tensors(path)
    if isinstance(damage, dict):
        write_tensors(path, tensors, info | damage)
    else:
        path.unlink()
        os.mkfifo(path) if damage == "pipe" else path.write_bytes(blob[:damage])
    with watched():
        refused(lambda: nlkit.load_classifier(done / "scores"), r"model\.safetensors: not a ")


def test_the_settings_run_again_to_the_same_record(finished: Path, tmp_path: Path) -> None:
    command = ["run", str(finished / "out/scores/params.yaml"), "--out", str(tmp_path / "again"), "--quiet"]
    assert main(command) == 0
    assert records.differences(records.load(tmp_path / "again"), records.load(finished / "out/scores")) == []


def test_the_report_shows_what_was_found_and_loads_nothing(finished: Path) -> None:
    page = BeautifulSoup((finished / "out/scores/report.html").read_text(encoding="utf-8"), "html.parser")
    table = pd.read_csv(finished / "out/scores.csv")
    shown = [one.text for one in page.select(".gallery .small")]
    assert set(shown) <= set(table["path"][table["is_label_issue"]]) and len(shown) == table["is_label_issue"].sum()
    assert all(tag["src"].startswith("data:image/") and tag["alt"] for tag in page.find_all("img"))
    assert not page.find_all(["script", "link", "iframe"])


def test_names_from_outside_cannot_write_into_the_report(tmp_path: Path) -> None:
    folder = write_images(tmp_path, 2, 10, names="<script>x&{}.png")
    labels = pd.read_csv(folder / "labels.csv")
    labels["label"] = labels["label"].map({"c0": "<b>$\\frac", "c1": "<img src=x>"})
    labels.loc[0, "label"] = "<img src=x>"
    labels.to_csv(folder / "labels.csv", index=False)
    clean(folder, epochs=6)
    page = BeautifulSoup((folder / "out/scores/report.html").read_text(encoding="utf-8"), "html.parser")
    assert not page.find_all(["script", "b"]) and all(tag["src"] != "x" for tag in page.find_all("img"))


def test_scores_are_not_replaced_unasked(finished: Path, done: Path, refused: Callable[..., str]) -> None:
    command, out = [finished / "images", "--labels", finished / "labels.csv"], done / "scores.csv"
    assert "exists; choose another name" in refused("clean", *command, "--out", out, "--quiet")
    out.unlink()
    assert "other settings, labels or images" in refused("clean", *command, "--out", out, "--quiet")


def test_a_finished_run_is_not_trained_again_until_images_or_settings_change(folder: Path) -> None:
    first = clean(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nlkit.training.runs.fit", lambda *_: pytest.fail("trained"))
        pd.testing.assert_frame_equal(clean(folder, overwrite=True).scores, first.scores)
    assert clean(folder, overwrite=True, epochs=3).run.origin == "trained"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "images/0.png")
    assert clean(folder, overwrite=True, epochs=3).run.origin == "trained"
    (folder / "out/scores/evidence.safetensors").write_bytes(b"damaged")
    assert clean(folder, overwrite=True, epochs=3).run.origin == "trained"


@pytest.mark.parametrize(("classes", "each"), [(2, 5), (2, 33), (300, 2)])
def test_many_classes_and_few_images_come_through(tmp_path: Path, classes: int, each: int) -> None:
    result = clean(write_images(tmp_path, classes, each))
    assert len(repr(result)) < 900
    assert result.choices.set_index("what").loc["network"].tolist() == ["small_cnn, width 4", "asked for"]
    assert (result.choices["why"] == "asked for").sum() == 2, "the number of epochs, too"
    assert len(result.scores) == classes * each and result.scores["given_label"].nunique() == classes
    assert result.scores[["p_clean", "confidence"]].notna().all().all()
    assert result.accuracy is None and result.run.record["accuracy"]["best"] is None


def test_a_class_of_one_image_odd_names_and_corrupt_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path, 2, 12, names="größe 图 {}, “x”.png")
    labels = pd.read_csv(folder / "labels.csv")[["path", "label"]]
    labels.loc[3, "label"] = "только одна"
    (folder / "images/broken.jpg").write_bytes(b"<html>")
    labels.loc[len(labels)] = ["broken.jpg", "c0"]
    labels.to_csv(folder / "labels.csv", index=False)
    command = ["clean", str(folder / "images"), "--labels", str(folder / "labels.csv"), "--epochs", "2", "--quiet"]
    assert main([*command, "--out", str(folder / "s.csv"), "--hold-out", "0.2"]) == 0
    printed, told = capsys.readouterr()
    assert "%, against the given labels, which may be wrong too\n" in printed
    assert "left out 'broken.jpg': not an image of a known kind" in told
    assert "are never predicted, and their scores tell nothing: 'c1' (9 images), 'только одна' (1 images)\n" in told
    table = pd.read_csv(folder / "s.csv")
    assert "только одна" in set(table["label"]) and labels["path"][3] in set(table["path"])
    assert pd.read_csv(folder / "s/dropped.csv")["path"].tolist() == ["broken.jpg"]
    assert main([*command, "--out", str(folder / "t.csv"), "--corrupt", "fail"]) == 2
    assert "broken.jpg" in capsys.readouterr().err and not (folder / "t.csv").exists()


def test_a_tree_needs_no_table(folder: Path) -> None:
    for _, row in pd.read_csv(folder / "labels.csv").iterrows():
        (folder / "tree" / row["label"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "images" / row["path"], folder / "tree" / row["label"])
    table = nlkit.clean(folder / "tree", out=folder / "s.csv", progress=False, **QUICK).scores
    assert (table["path"].str.split("/").str[0] == table["label"]).all() and len(table) == 20


@pytest.mark.parametrize("method", offered())
def test_every_method_cleans(tmp_path: Path, method: str) -> None:
    scores = clean(write_images(tmp_path, 3, 11), method=method, epochs=3).scores
    assert len(scores) == 33 and scores["p_clean"].between(0, 1).all()
    classifier = nlkit.load_classifier(tmp_path / "out/scores")
    found = classifier.predict([tmp_path / "images" / name for name in scores["path"]])
    assert (found["predicted_label"] == scores["predicted_label"]).all()
    assert np.allclose(found["confidence"], scores["confidence"], atol=1e-6)


def test_bad_options_are_refused_in_one_line(folder: Path, refused: Callable[..., str]) -> None:
    images, labels, out = folder / "images", ("--labels", folder / "labels.csv"), ("--out", folder / "s.csv")
    for options, said in [
        (("--method", "magic"), "--method magic: expected one of elr"),
        (("--method", "simclr"), "--method simclr"),
        (("--hold-out", "1.5"), "hold_out"),
        (("--size", "3"), "'size' is 3"),
        (("--hold-out", "nan"), "hold_out"),
        (("--epochs", "0"), "epochs"),
        (("--truth", "nothing"), "expected the columns path,label,nothing"),
        (("--test", folder / "none.csv"), "none.csv"),
        (("-s", "optim.rl=1"), "unknown key 'optim.rl'"),
        (("--corrupt", "ignore"), "--corrupt"),
    ]:
        assert said in refused("clean", images, *labels, *options, *out)
    assert not (folder / "s").exists()
    assert "no such folder" in refused("clean", folder / "nothing", *labels, *out)
    assert "no images in sub-folders" in refused("clean", images, *out)
    (folder / "empty").mkdir()
    said = refused("clean", folder / "empty", *labels, "--out", folder / "a/b/s.csv", "--quiet")
    assert "0 usable images (20 are left out, first '0.png': no such file; paths are relative" in said
    with (folder / "labels.csv").open("a") as file:
        file.write("../labels.csv,c0,c0\n")
    said = refused("clean", images, *labels, *out)
    assert "labels.csv, line 22: the path '../labels.csv' leaves the folder" in said


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("method", offered())
def test_defaults_are_valid_parameters_at_every_size(method: str, gpu: bool) -> None:
    folder = {"name": "folder", "folder": "x", "side": 32}
    for images in (10, 33, 500, 4999, 5000, 60_000, 1_000_000):
        content, why = choose(Situation(images, 100, 32, gpu), 32, method, flip=False)
        params = make_params({**content, "cell": "x", "data": folder}, {}, source="test")
        assert images % params.training.batch_size != 1 or params.training.batch_size == 1
        assert not params.views.flip and list(why) == ["what", "value", "why"]


def test_images_are_never_enlarged_and_large_sets_get_fewer_pixels() -> None:
    assert [choose_side(Situation(1200, 10, side, False)) for side in (3, 8, 20, 32)] == [8, 8, 16, 24]
    assert [choose_side(Situation(images, 10, 500, False)) for images in (100, 1200, 4000, 60_000)] == [64, 24, 32, 32]
