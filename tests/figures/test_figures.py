import base64
import io
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny
from fuzzing import refused
from matplotlib.figure import Figure

import nlkit
from nlbook import contents
from nlkit import figures
from nlkit.cli import main
from nlkit.figures import images, style
from nlkit.figures.findings import valley
from nlkit.figures.images import gallery_rows
from nlkit.figures.losses import draw_mixture, histogram_medians
from nlkit.figures.notebook import show_gallery
from nlkit.figures.numbers import MOST, figure_csv
from nlkit.figures.viewer import loss_viewer
from nlkit.training.records import LOSS_EDGES

RECORDED = tiny.ROOT / "results/dividemix/digits-sym-50/seed-0"
PHOTOS = "results/tcl/cifar10n-worst-laptop/seed-0"
OF_A_RUN = ["loss_histograms", "p_clean_histograms", "loss_heatmap", "loss_ridges", "memorisation"]
OF_A_RUN += ["accuracy_curves", "split_curves", "split_confusion"]
DRAW: dict[str, Callable[[nlkit.Run], Figure]] = {name: getattr(figures, name) for name in OF_A_RUN}
DRAW |= {
    "transition_matrices": lambda run: figures.transition_matrices(figures.run_matrices(run), list("0123456789")),
    "gallery": lambda run: figures.gallery(run, run.images(), count=4),
}


@pytest.fixture(scope="module")
def known() -> nlkit.Run:
    return nlkit.load_run(RECORDED)


@pytest.fixture(scope="module", params=["clean labels", "none"])
def run(request: pytest.FixtureRequest, known: nlkit.Run) -> nlkit.Run:
    """A run, and the same run as if nobody knew the clean labels."""
    if request.param == "clean labels":
        return known
    epochs = known.epochs.drop(columns=["hist_clean", "hist_noisy", "auc_1", "auc_2"])
    hists = [np.add(*pair) for pair in zip(known.epochs["hist_clean"], known.epochs["hist_noisy"], strict=True)]
    epochs = epochs.assign(hist_all=hists, auc=np.nan)
    return tiny.with_tables(known, samples=known.samples.drop(columns="clean"), epochs=epochs)


@pytest.mark.parametrize("name", DRAW)
def test_each_figure_is_drawn_with_and_without_clean_labels(run: nlkit.Run, name: str) -> None:
    with plt.rc_context(style.SETTINGS):
        figure = DRAW[name](run)
        figure.canvas.draw()
    shown = sum(ax.has_data() for ax in figure.axes)
    assert shown == (sum(map(len, gallery_rows(run, 4).values())) if name == "gallery" else len(figure.axes))
    assert len(plt.get_fignums()) == 1
    titles = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    assert all(figure.bbox.x0 <= one.x0 and one.x1 <= figure.bbox.x1 and one.y1 <= figure.bbox.y1 for one in titles)


def test_ridges_end_with_a_run_that_is_over_before_its_warm_up(known: nlkit.Run) -> None:
    figure = figures.loss_ridges(tiny.with_tables(known, epochs=known.epochs.head(8)))
    assert [one.get_text() for one in figure.axes[0].get_yticklabels()][-1] == "epoch 8"


def test_the_viewer_carries_every_epoch_and_only_plain_data(run: nlkit.Run, known: nlkit.Run) -> None:
    html = loss_viewer(run, known).data
    content = json.loads(zlib.decompress(base64.b64decode(html.split('-data">')[1].split("</script>")[0])))
    assert len(content["edges"]) == 66 and [one["warm_up"] for one in content["runs"]] == [10, 10]
    for one, shown in zip(content["runs"], (run, known), strict=True):
        drawn = np.array([part["counts"] for part in one["parts"]]).sum(axis=0)
        assert np.array_equal(drawn, np.stack(list(known.epochs["hist_clean"] + known.epochs["hist_noisy"])))
        said = [words.split(" %")[0] for words in one["said"]]
        assert said == [f"test accuracy {x:.1f}" for x in shown.epochs["accuracy"]]
        assert ("AUC" in one["said"][0]) == ("clean" in shown.samples)
        rows = shown.samples.iloc[images.chosen(shown)]
        for name, column in (("given", "noisy"), ("predicted", "prediction")):
            assert one["images"][name] == list(map(str, rows[column]))
        assert one["mixtures"][-1]["means"] == pytest.approx(list(shown.epochs["mixture_means"].iloc[-1]), 1e-4)


def test_the_gallery_shows_what_its_titles_say_with_the_images_of_the_problem(run: nlkit.Run) -> None:
    assert np.array_equal(run.images(), run.problem().train.images.numpy())
    rows = gallery_rows(run, 5)
    errors = rows["surest label errors"]
    assert (errors["prediction"] != errors["noisy"]).all() and (errors["p_clean"] <= 0.5).all()
    assert errors["confidence"].is_monotonic_decreasing
    if "clean" not in run.samples:
        assert set(rows) == {"surest label errors"}
        return
    hardest = rows["hardest correct labels"]
    assert (hardest["noisy"] == hardest["clean"]).all() and hardest["p_clean"].is_monotonic_increasing


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nlkit.Run:
    """A run on photographs without thumbnails, on a machine without data."""
    monkeypatch.setenv("NLKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run = nlkit.load_run(shutil.copytree(tiny.ROOT / PHOTOS, "run", ignore=shutil.ignore_patterns(images.NAME)))
    tiny.in_project(run.params, tmp_path)
    return run


def pictures(run: nlkit.Run) -> list[list[int]]:
    """The pixels of each image in the gallery of a run; none where a line of text stands in its place."""
    axes = getattr(show_gallery(run), "axes", [])
    return [ax.images[0].get_array().ravel().tolist() for ax in axes if ax.images]


def test_adopted_thumbnails_give_the_gallery(photos: nlkit.Run, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (10_000, 1, 1, 3), np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(nlkit.Run, "images", lambda *_: np.broadcast_to(levels, (10_000, 32, 32, 3)))
        with_data, made = pictures(photos), images.at_hand(photos)
        assert main(["adopt", "run"]) == 0
    adopted = nlkit.load_run(PHOTOS)
    np.testing.assert_equal(images.read_thumbnails(adopted), made)
    assert pictures(adopted) == with_data and len(with_data) == 18
    assert pictures(photos) == [] and images.at_hand(photos) == {}
    shutil.rmtree("results")
    assert main(["adopt", "run"]) == 0 and "gallery was left out: cifar10 is missing" in capsys.readouterr().out


def test_unfit_thumbnails_are_refused(photos: nlkit.Run, known: nlkit.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    good, other = (tiny.ROOT / PHOTOS / images.NAME).read_bytes(), images.png(known, images.at_hand(known))
    for blob in (good[:9000], good + bytes(images.LIMIT), other, b""):
        (photos.folder / images.NAME).write_bytes(blob)
        refused(lambda: show_gallery(photos), r"gallery\.png: damaged, of other images, or above")
    noise = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), np.uint8)
    monkeypatch.setattr(nlkit.Run, "images", lambda *_: noise)
    refused(lambda: images.write_gallery(photos), "would take")


def test_every_page_of_photographs_has_the_thumbnails_of_its_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.ROOT)
    for page in (page for page in contents.run_pages(tiny.ROOT) if "-digits" not in page):
        run = nlkit.load_run(contents.committed(page).parent)
        shown = {index for table in gallery_rows(run).values() for index in table["index"]}
        assert shown <= set(images.read_thumbnails(run)), "write them again with nlkit.figures.images.write_gallery"


def test_images_that_are_not_those_of_the_record_are_refused(known: nlkit.Run) -> None:
    other = replace(known, info=known.info | {"data": {**known.info["data"], "sha256": "0"}})
    refused(lambda: other.images(), "not what the record was made from")


def test_a_mixture_is_drawn_where_its_values_lie_and_holds_the_whole_share_of_each_component() -> None:
    ax = plt.subplots()[1]
    draw_mixture(ax, [[0.3, 0.7], [0.4, 0.6], [0.001, 0.002]], 1.0, 5.0, scale=50, what="low, high")
    for line, weight, peak in zip(ax.lines, (0.3, 0.7), (2.6, 3.4), strict=True):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert x[y.argmax()] == pytest.approx(peak, abs=0.01)
        assert np.trapezoid(y, x) / 4 == pytest.approx(50 * weight, rel=1e-3)


def test_the_csv_of_a_histogram_has_the_counts_of_the_record(known: nlkit.Run) -> None:
    text = io.StringIO(figure_csv(figures.p_clean_histograms(known)))
    bins = pd.read_csv(text, index_col=["panel", "series"]).groupby(["panel", "series"], sort=False)
    for epoch in style.snapshots(known):
        for series, _, mask in style.groups(known.samples):
            one = bins.get_group((f"epoch {epoch}", series))
            counts, edges = np.histogram(known.samples[f"p_clean_{epoch}"][mask].astype(float), 25, (0, 1))
            assert one["y (samples)"].tolist() == counts.tolist() and counts.sum() == mask.sum()
            np.testing.assert_allclose(one[["x (P(clean))", "x_end"]], np.stack([edges[:-1], edges[1:]], 1))


def test_the_csv_of_a_figure_names_what_is_drawn_and_leaves_out_photographs() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([1, 2], [3, 4], "o-", color="#0072B2")
    left.fill_between([1, 2], [2, 3], [5, 6], label="_range")
    left.axvline(1.5)
    left.set(title="curves", xlabel="epoch")
    figure.legend(handles=[plt.Line2D([], [], color="#0072B2", marker="o", label="ours")])
    right.barh(["cat", "dog"], [7, 8], label="votes")
    right.imshow(np.array([[np.nan, 0.5]]))
    right.imshow(np.zeros((3, 3), np.uint8))
    right.scatter([9], [9], label="place")
    rows = (
        "curves,ours,line,,1,,3.0, curves,ours,line,,2,,4.0, curves,range,band,,1,,2.0,5 curves,range,band,,2,,3.0,6 "
        ",votes,bar,,0,7,cat, ,votes,bar,,0,8,dog, ,place,point,,9,,9.0, ,2,cell,0.5,0.5,1.5,cat,"
    )
    assert str(figure_csv(figure)).splitlines() == ["panel,series,kind,value,x (epoch),x_end,y,y_end", *rows.split()]
    left.scatter(*np.zeros((2, MOST + 1)))
    assert figure_csv(figure) is None and figure_csv(plt.figure()) is None


def test_histogram_medians_lie_within_the_bin_of_the_median() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.1, 3.0):
        losses = rng.exponential(scale, 1001)
        counts, _ = np.histogram(losses, LOSS_EDGES)
        middle = int(np.searchsorted(LOSS_EDGES, np.median(losses))) - 1
        median = histogram_medians(counts[None])[0]
        assert LOSS_EDGES[middle] <= median <= LOSS_EDGES[middle + 1]
    assert np.isnan(histogram_medians(np.zeros((1, 65)))).all()


def test_the_findings_are_those_of_the_tables(run: nlkit.Run, known: nlkit.Run) -> None:
    right = float((known.samples["noisy"] == known.samples["clean"]).mean())
    epochs = run.epochs.assign(accuracy=[60.0, *[50.0] * 79], share_clean=1.0, precision=right, recall=1.0)
    samples = run.samples.assign(prediction=run.samples["noisy"])
    text = figures.findings(tiny.with_tables(run, epochs=epochs, samples=samples)).data
    said = ["(80) 50.00 %", "(1) was chosen with the test set and did 10.00 points better: more than", "two humps"]
    truth = ["nearly all of these: it predicts the wrong label for 100.0 %", "no gain", "hold 0.0 %", "in common"]
    unknown = ["contradicts 0.0 % of all labels", "above 0.5 for 100.0 % of the labels; how many"]
    found = [words for words in said + truth + unknown if words in text]
    assert found == said + (truth if "clean" in run.samples else unknown)


@pytest.mark.parametrize(("gap", "height", "two"), [(20, 100, True), (4, 100, False), (0, 100, False), (20, 1, False)])
def test_two_humps_have_a_valley_and_many_labels_and_no_open_bin(gap: int, height: int, two: bool) -> None:
    counts = height * sum(np.exp(-((np.arange(65) - centre) ** 2) / 18) for centre in (30, 30 + gap))
    counts[0] = 900
    assert (valley(counts) is not None) == two
