"""Who takes part in the comparison; its tables, and those of label-error detection, say what the records say.

Figures invent nothing, and cleanlab's rows are of the same probabilities as ours.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from sklearn.metrics import roc_auc_score

import nlkit
from nlbook import contest, detection
from nlbook.contest import LOOKS
from nlbook.figures import contest as drawn
from nlbook.figures.contest import ACCURACY, AUC, Quantity
from nlkit.methods import confident_learning as confident
from nlkit.params import registry
from nlkit.training.runs import Run

RESULTS = tiny.ROOT / "results"
CELLS = ["digits-sym-50", "digits-sym-80", "digits-pmd-35"]


def with_names(run: Run, paper: str, cell: str) -> Run:
    """The same run as if it were of another method and cell."""
    return replace(run, params=run.params.model_copy(update={"paper": paper, "cell": cell}))


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    found = [run for paper in ("cross_entropy", "dividemix") for run in contest.runs_below(RESULTS, paper)]
    return [run for run in found if run.params.cell == "digits-sym-50"]


@pytest.mark.parametrize(
    ("paper", "cell", "expected"),
    [
        ("codim", "digits-sym-80", ("codim", "digits-sym-80")), ("codim", "digits-sym-80-no-ctr", None),
        ("codim", "digits-sym-80-sup", ("codim-sup", "digits-sym-80")), ("tcl", "digits-sym-80-sup", None),
        ("dividemix", "cifar10n-worst-laptop", ("dividemix", "cifar10n-worst-laptop")),
        ("simclr", "digits", None), ("elr", "cifar10-sym-50", None), ("dividemix", "digits-sym-5", None),
    ],
)  # fmt: skip
def test_variations_and_pretraining_do_not_compete(paper: str, cell: str, expected: tuple[str, str] | None) -> None:
    cells = ["digits-sym-20", "digits-sym-50", "digits-sym-80", "digits-asym-40", "digits-pmd-35"]
    assert contest.entry(paper, cell, [*cells, "cifar10n-worst-laptop"]) == expected


def test_contestants_stand_in_the_order_of_the_book_with_their_seeds(runs: Sequence[Run]) -> None:
    mixed = [with_names(runs[0], "tcl", "digits-sym-80"), *reversed(runs)]
    groups = contest.contestants(mixed, CELLS)
    assert [list(rivals) for rivals in groups.values()] == [["cross_entropy", "dividemix"], ["tcl"], []]
    assert [run.params.seed for run in groups["digits-sym-50"]["dividemix"]] == [0, 1, 2, 3, 4]


def test_the_accuracy_table_has_the_mean_of_the_records_and_says_what_was_not_run(runs: Sequence[Run]) -> None:
    table = contest.accuracy_table(contest.contestants([*runs, with_names(runs[0], "tcl", CELLS[2])], CELLS))
    values = [run.record["accuracy"]["last"] for run in runs if run.params.paper == "dividemix"]
    expected = f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} (5)"
    assert table.loc["DivideMix", CELLS[0]] == f"{expected}{contest.TIED}"
    assert "≈" not in table.loc["Cross-entropy", CELLS[0]]
    assert (table[CELLS[1]] == "not run here").all() and table.loc["TCL", CELLS[0]] == "not run here"


def test_methods_are_tied_where_the_interval_of_their_difference_holds_zero() -> None:
    low, high = contest.interval(90.0, 450)
    assert (round(low, 1), round(high, 1)) == (86.9, 92.4)  # Wilson's formula by hand
    tied = contest.tied({"best": 98.0, "near": 97.0, "far": 90.0}, 450)
    assert tied == dict.fromkeys(("best", "near"), contest.TIED) | {"far": ""}
    assert contest.interval(99.8, 450)[0] < contest.interval(98.2, 450)[1]  # they overlap, and yet
    assert contest.tied({"best": 99.8, "other": 98.2}, 450) == {"best": contest.TIED, "other": ""}


@pytest.mark.parametrize("change", ["data", "noise", "model", "views", "passes"])
def test_only_equals_are_ranked(runs: Sequence[Run], change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = runs[0], with_names(runs[0], "elr", CELLS[0])
    monkeypatch.setitem(contest.BUDGETS, first.record["data"]["train"], contest.passes_of(first))
    assert list(contest.of_equals({"cross_entropy": [first], "elr": [other]})) == ["cross_entropy", "elr"]
    if change == "passes":
        other = tiny.with_tables(other, epochs=other.epochs.iloc[:53])
    else:
        key, value = {"data": ("train_size", 9), "model": ("width", 9), "views": ("pad", 9)}.get(change, ("seed", 9))
        part = getattr(other.params, change).model_copy(update={key: value})
        other = replace(other, params=other.params.model_copy(update={change: part}))
    rivals = {"cross_entropy": [first], "elr": [other]}
    assert list(contest.of_equals(rivals)) == ["cross_entropy"] and list(contest.unequal(rivals)) == ["elr"]


def test_further_draws_stand_in_one_row_with_their_own_deviation(runs: Sequence[Run]) -> None:
    again = [with_names(run, run.params.paper, f"{CELLS[0]}-noise-1") for run in runs[:2]]
    row = contest.draws_table([*runs, *again], CELLS[0]).loc["Cross-entropy"]
    values = [run.record["accuracy"]["last"] for run in runs if run.params.paper == "cross_entropy"]
    means = [np.mean(values), np.mean(values[:2])]
    assert row["last"] == f"{np.mean(means):.1f}{contest.TIED}" and (row["draws"], row["runs"]) == (2, 7)
    assert row["deviation of draws"] == round(np.std(means, ddof=1), 1)
    assert row["deviation of seeds"] == round(np.mean([np.var(values, ddof=1), np.var(values[:2], ddof=1)]) ** 0.5, 1)


def test_the_cost_table_counts_pretraining_where_a_run_has_it() -> None:
    found = contest.runs_below(RESULTS, "codim") + contest.runs_below(RESULTS, "cross_entropy")
    table = contest.cost_table(contest.contestants(found, CELLS)["digits-sym-50"])
    plain, started = table.loc["Cross-entropy"], table.loc["CoDiM-Self"]
    assert (plain["passes an epoch"], plain["passes of a run"], plain["of them pre-training"]) == ("3.0", "180", "–")
    assert (plain["seconds of pre-training"], started["of them pre-training"]) == ("–", "285")
    assert float(started["seconds of pre-training"]) > 0


def test_a_method_without_a_rule_has_no_passes(runs: Sequence[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    find = registry.find
    monkeypatch.setattr(registry, "find", lambda name: replace(find(name), passes=None))
    table = contest.cost_table(contest.contestants(runs, CELLS)["digits-sym-50"])
    assert set(table["passes an epoch"]) == set(table["passes of a run"]) == {"–"}


@pytest.mark.parametrize("chosen", [CELLS, CELLS[:1], CELLS[2:]])
def test_every_figure_is_drawn_with_and_without_records(runs: Sequence[Run], chosen: list[str]) -> None:
    groups = contest.contestants(runs, chosen)
    curves = drawn.epoch_curves(groups), drawn.epoch_curves(groups, "auc")
    without = detection.detection_curves({}), drawn.dots({CELLS[0]: {}}, detection.PRECISION)
    for figure in (drawn.dots(groups, ACCURACY), drawn.dots(groups, AUC), *curves, *without):
        figure.canvas.draw()


def test_the_dots_lie_at_the_means_of_the_records_and_every_method_has_a_look_of_its_own(runs: Sequence[Run]) -> None:
    figure = drawn.dots(contest.contestants(runs, CELLS[:1]), ACCURACY)
    shown = {(line.get_marker(), round(float(line.get_xdata()[0]), 6)) for line in figure.axes[0].lines}
    for paper in ("cross_entropy", "dividemix"):
        values = [run.record["accuracy"]["last"] for run in runs if run.params.paper == paper]
        assert (LOOKS[paper].marker, round(float(np.mean(values)), 6)) in shown
    assert {key.split("-")[0] for key in LOOKS} == {entry.paper for entry in registry.everything() if entry.looks}
    for part in ("label", "colour", "marker"):
        assert len({getattr(look, part) for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("quantity", [ACCURACY, AUC])
def test_the_scale_of_what_is_missing_can_be_inverted_and_grows(quantity: Quantity) -> None:
    values = np.array(quantity.ticks[::-1], dtype=float)
    places = quantity.place(values)
    assert (np.diff(places) > 0).all()
    np.testing.assert_allclose(quantity.value(places), values)


SHORT = {"training.epochs": 2, "training.snapshots": [1], "model.width": 4, "data.train_size": 400}


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> contest.Rivals:
    """Short runs of confident learning and of cross-entropy on the same labels."""
    files = [tiny.ROOT / f"params/{paper}/{CELLS[0]}.yaml" for paper in ("confident_learning", "cross_entropy")]
    own = [nlkit.load_params(file, **SHORT) for file in files]
    made = [nlkit.run(params, tmp_path_factory.mktemp("run"), progress=False) for params in own]
    return contest.contestants(made, CELLS[:1])[CELLS[0]]


def test_the_rows_are_those_of_a_slow_count(rivals: contest.Rivals) -> None:
    table = detection.detection_table(rivals)
    samples = rivals["cross_entropy"][0].samples.astype(float)
    rows = sorted(samples.itertuples(), key=lambda row: (row.p_clean, -row.loss, row.index))
    wrong = [row.noisy != row.clean for row in rows]
    marked = [row.noisy != row.clean for row in rows if row.p_clean <= 0.5]
    row = table.loc["Cross-entropy"]
    assert row["precision at E"] == f"{np.mean(wrong[: sum(wrong)]):.3f}"
    assert row["marked"] == str(len(marked)) and row["precision of the marked"] == f"{np.mean(marked):.3f}"
    assert row["recall of the marked"] == f"{sum(marked) / sum(wrong):.3f}"
    assert row["AUC"] == f"{rivals['cross_entropy'][0].record['split']['auc']:.3f}"
    order = detection.inspection_order(
        rivals["cross_entropy"][0], detection.own_judgement(rivals["cross_entropy"][0])[0]
    )
    assert order.tolist() == [row.Index for row in rows]


def test_cleanlab_stands_below_and_agrees(rivals: contest.Rivals) -> None:
    run, table = rivals["confident_learning"][0], detection.detection_table(rivals)
    assert detection.out_of_fold(rivals["cross_entropy"][0]) is None
    index = list(table.index)
    place = index.index("Confident learning")
    assert all(name.startswith("cleanlab ") for name in index[place + 2 : place + 4])
    _, default, proper = detection.out_of_fold_judgements(run).values()
    right, own = ~detection.wrong_labels(run), detection.own_judgement(run)
    assert roc_auc_score(right, proper[0]) == pytest.approx(roc_auc_score(right, own[0]), abs=2e-3)
    assert (proper[1] == own[1]).mean() > 0.98  # type: ignore[attr-defined]
    auc = table["AUC"]
    assert auc.iloc[place + 1] == auc.iloc[place + 2] == f"{roc_auc_score(right, default[0]):.3f}"


def test_the_estimated_errors_stand_beside_the_true_ones(rivals: contest.Rivals) -> None:
    table, wrong = detection.errors_table(rivals), detection.wrong_labels(rivals["confident_learning"][0])
    assert table["wrong (E)"].tolist() == [wrong.sum()] and table["labels"].tolist() == [400]
    assert detection.errors_table({}).loc[0, "estimated"] == "not run here"


def test_the_matrices_are_row_stochastic_and_the_joint_is_that_of_the_method(rivals: contest.Rivals) -> None:
    run = rivals["confident_learning"][0]
    matrices = detection.joint_matrices(run)
    assert len(matrices) == 2
    p, labels = torch.from_numpy(detection.out_of_fold(run)), torch.from_numpy(run.samples["noisy"].to_numpy(np.int64))
    joint = confident.calibrated(confident.confident_joint(p, labels), labels).T.numpy()
    expected = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(matrices["estimated: confident joint"], expected)
    for matrix in matrices.values():
        np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_the_curves_end_at_the_noise_rate_and_at_everything_found(rivals: contest.Rivals) -> None:
    figure = detection.detection_curves(rivals)
    figure.canvas.draw()
    rate = 100 * detection.wrong_labels(rivals["cross_entropy"][0]).mean()
    curves = [[line for line in ax.lines if line.get_marker() not in ("None", "")] for ax in figure.axes]
    assert [len(lines) for lines in curves] == [2, 2]
    assert all(line.get_ydata()[-1] == pytest.approx(rate) for line in curves[0])
    assert all(line.get_ydata()[-1] == pytest.approx(100) for line in curves[1])
