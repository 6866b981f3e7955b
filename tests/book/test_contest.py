"""Who takes part in the comparison, what its tables say, and that its figures invent nothing."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from nlbook import contest
from nlbook.contest import LOOKS
from nlbook.figures import contest as drawn
from nlbook.figures.contest import ACCURACY, AUC, Quantity
from nlkit.params import registry
from nlkit.training.runs import Run

matplotlib.use("agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parents[2] / "results"
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
    table = contest.accuracy_table(contest.contestants(runs, CELLS))
    values = [run.record["accuracy"]["last"] for run in runs if run.params.paper == "dividemix"]
    expected = f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} (5)"
    assert table.loc["DivideMix", "digits-sym-50"] == expected
    assert (table["digits-pmd-35"] == "not run here").all() and table.loc["TCL", "digits-sym-50"] == "not run here"


def test_the_cost_table_names_the_seconds_of_pretraining_only_where_a_record_has_them(runs: Sequence[Run]) -> None:
    record = copy.deepcopy(runs[-1].record) | {"encoder": {"seconds": 42.0}}
    started = replace(with_names(runs[-1], "codim", "digits-sym-50"), record=record)
    table = contest.cost_table(contest.contestants([*runs, started], CELLS)["digits-sym-50"])
    assert table["seconds of pre-training"].to_dict() == {"Cross-entropy": "–", "DivideMix": "–", "CoDiM-Self": "42"}
    assert table.loc["Cross-entropy", "passes"] == "3.0" and table.loc["Cross-entropy", "passes of a run"] == "180"


def test_a_method_without_a_rule_has_no_passes(runs: Sequence[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    find = registry.find
    monkeypatch.setattr(registry, "find", lambda name: replace(find(name), passes=None))
    table = contest.cost_table(contest.contestants(runs, CELLS)["digits-sym-50"])
    assert set(table["passes"]) == set(table["passes of a run"]) == {"–"}


@pytest.mark.parametrize("chosen", [CELLS, CELLS[:1], CELLS[2:]])
def test_every_figure_is_drawn_with_and_without_records(runs: Sequence[Run], chosen: list[str]) -> None:
    groups = contest.contestants(runs, chosen)
    made = [
        drawn.accuracy_dots(groups), drawn.auc_dots(groups), drawn.epoch_curves(groups),
        drawn.epoch_curves(groups, "auc"), drawn.cost_and_accuracy(groups, contest.passes_of, "passes"),
    ]  # fmt: skip
    for figure in made:
        figure.canvas.draw()
        plt.close(figure)


def test_the_dots_lie_at_the_means_of_the_records(runs: Sequence[Run]) -> None:
    figure = drawn.accuracy_dots(contest.contestants(runs, CELLS[:1]))
    shown = {(line.get_marker(), round(float(line.get_xdata()[0]), 6)) for line in figure.axes[0].lines}
    for paper in ("cross_entropy", "dividemix"):
        values = [run.record["accuracy"]["last"] for run in runs if run.params.paper == paper]
        assert (LOOKS[paper].marker, round(float(np.mean(values)), 6)) in shown
    plt.close(figure)


def test_every_method_has_a_look_of_its_own() -> None:
    assert {key.split("-")[0] for key in LOOKS} == {entry.paper for entry in registry.everything() if entry.looks}
    for part in ("label", "colour", "marker"):
        assert len({getattr(look, part) for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("quantity", [ACCURACY, AUC])
def test_the_scale_of_what_is_missing_can_be_inverted_and_grows(quantity: Quantity) -> None:
    values = np.array(quantity.ticks[::-1], dtype=float)
    places = quantity.place(values)
    assert (np.diff(places) > 0).all()
    np.testing.assert_allclose(quantity.value(places), values)
