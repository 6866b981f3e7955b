"""The table of label-error detection says what the records say, and cleanlab's rows are of the same probabilities."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import nlkit
from nlbook import contest, detection
from nlkit.methods import confident_learning as confident
from nlkit.training.runs import Run

ROOT = Path(__file__).parents[2]
CELL = "digits-sym-50"
SHORT = {"training.epochs": 2, "training.snapshots": [1], "model.width": 4, "data.train_size": 400}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Short runs of confident learning and of cross-entropy on the same labels."""
    made = {}
    for paper in ("confident_learning", "cross_entropy"):
        params = nlkit.load_params(ROOT / f"params/{paper}/{CELL}.yaml", **SHORT)
        made[paper] = nlkit.run(params, out=tmp_path_factory.mktemp(paper), progress=False)
    return made


@pytest.fixture(scope="module")
def rivals(runs: dict[str, Run]) -> contest.Rivals:
    return contest.contestants(list(runs.values()), [CELL])[CELL]


def test_the_rows_are_those_of_a_slow_count(rivals: contest.Rivals, runs: dict[str, Run]) -> None:
    table = detection.detection_table(rivals)
    samples = runs["cross_entropy"].samples.astype(float)
    rows = sorted(samples.itertuples(), key=lambda row: (row.p_clean, -row.loss, row.index))
    wrong = [row.noisy != row.clean for row in rows]
    marked = [row.noisy != row.clean for row in rows if row.p_clean <= 0.5]
    row = table.loc["Cross-entropy"]
    assert row["precision at E"] == f"{np.mean(wrong[: sum(wrong)]):.3f}"
    assert row["marked"] == str(len(marked)) and row["precision of the marked"] == f"{np.mean(marked):.3f}"
    assert row["recall of the marked"] == f"{sum(marked) / sum(wrong):.3f}"
    assert row["AUC"] == f"{runs['cross_entropy'].record['split']['auc']:.3f}"
    order = detection.inspection_order(runs["cross_entropy"], detection.own_judgement(runs["cross_entropy"])[0])
    assert order.tolist() == [row.Index for row in rows]


def test_the_probabilities_of_the_record_give_back_p_clean_and_the_issues(runs: dict[str, Run]) -> None:
    run = runs["confident_learning"]
    p = detection.out_of_fold(run)
    assert p is not None and detection.out_of_fold(runs["cross_entropy"]) is None
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=5e-3)
    labels = run.samples["noisy"].to_numpy(np.int64)
    others = np.where(np.arange(10) == labels[:, None], 0, p).max(axis=1)
    margin = (p[np.arange(len(p)), labels] - others + 1) / 2
    np.testing.assert_allclose(run.samples["p_clean"].to_numpy(float), margin, atol=2e-3)
    assert detection.own_judgement(run)[1].sum() == run.epochs["issues"].iloc[-1]  # type: ignore[union-attr]


def test_cleanlab_stands_below_and_agrees(rivals: contest.Rivals, runs: dict[str, Run]) -> None:
    run, table = runs["confident_learning"], detection.detection_table(rivals)
    index = list(table.index)
    place = index.index("Confident learning")
    assert all(name.startswith("cleanlab ") for name in index[place + 2 : place + 4])
    _, default, proper = detection.out_of_fold_judgements(run).values()
    right, own = ~detection.wrong_labels(run), detection.own_judgement(run)
    assert roc_auc_score(right, proper[0]) == pytest.approx(roc_auc_score(right, own[0]), abs=2e-3)
    assert (proper[1] == own[1]).mean() > 0.98  # type: ignore[attr-defined]
    auc = table["AUC"]
    assert auc.iloc[place + 1] == auc.iloc[place + 2] == f"{roc_auc_score(right, default[0]):.3f}"


def test_the_estimated_errors_stand_beside_the_true_ones(rivals: contest.Rivals, runs: dict[str, Run]) -> None:
    table, wrong = detection.errors_table(rivals), detection.wrong_labels(runs["confident_learning"])
    assert table["wrong (E)"].tolist() == [wrong.sum()] and table["labels"].tolist() == [400]
    assert detection.errors_table({}).loc[0, "estimated"] == "not run here"


def test_the_matrices_are_row_stochastic_and_the_joint_is_that_of_the_method(runs: dict[str, Run]) -> None:
    run = runs["confident_learning"]
    matrices = detection.joint_matrices(run)
    assert len(matrices) == 2
    p, labels = torch.from_numpy(detection.out_of_fold(run)), torch.from_numpy(run.samples["noisy"].to_numpy(np.int64))
    joint = confident.calibrated(confident.confident_joint(p, labels), labels).T.numpy()
    expected = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(matrices["estimated: confident joint"], expected)
    for matrix in matrices.values():
        np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_the_curves_end_at_the_noise_rate_and_at_everything_found(rivals: contest.Rivals, runs: dict[str, Run]) -> None:
    figure = detection.detection_curves(rivals)
    figure.canvas.draw()
    rate = 100 * detection.wrong_labels(runs["cross_entropy"]).mean()
    curves = [[line for line in ax.lines if line.get_marker() not in ("None", "")] for ax in figure.axes]
    assert [len(lines) for lines in curves] == [2, 2]
    assert all(line.get_ydata()[-1] == pytest.approx(rate) for line in curves[0])
    assert all(line.get_ydata()[-1] == pytest.approx(100) for line in curves[1])
    for without_records in (detection.detection_curves({}), detection.detection_dots({CELL: {}})):
        without_records.canvas.draw()
