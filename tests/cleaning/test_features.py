from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from nlkit import NlkitError, noise
from nlkit.cleaning import features as module
from nlkit.cleaning.features import clean_features, encode_images, neighbour_posteriors, unit
from nlkit.cli import main
from nlkit.files import write_atomically


def write_digits(folder: Path, rate: float = 0.3, count: int = 1797) -> tuple[Path, Path]:
    """Pixels of the digits as features, and a table of labels of which a share is wrong."""
    digits = load_digits()
    clean = digits.target[:count]
    given = noise.symmetric(clean, rate, 10, seed=7, own_class=False)
    names = [f"{i}.png" for i in range(count)]
    np.savez(folder / "features.npz", features=digits.data[:count].astype(np.float32))
    pd.DataFrame({"path": names, "label": given, "truth": clean}).to_csv(folder / "labels.csv", index=False)
    return folder / "features.npz", folder / "labels.csv"


def test_digits_are_cleaned_by_their_pixels(tmp_path: Path) -> None:
    file, labels = write_digits(tmp_path)
    result = clean_features(file, labels, tmp_path / "s.csv", hold_out=0.33, truth="truth")
    assert result.auc is not None and result.auc > 0.99
    assert result.accuracy is not None and result.accuracy > 95
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table)[:5] == ["path", "label", "p_clean", "suggested_label", "confidence"]
    assert result.test_scores is not None and len(table) + len(result.test_scores) == 1797
    assert (table["p_clean"] == table["label_quality"]).all()


def test_a_vote_is_that_of_a_slow_oracle() -> None:
    features, labels, further = torch.randn(40, 5), torch.arange(40) % 3, torch.randn(6, 5)
    found = [torch.cat(list(part)) for part in neighbour_posteriors(features, labels, further, 3, k=7, rounds=2)]
    centre = features.mean(dim=0)
    bank, queries = unit(features, centre).numpy(), unit(further, centre).numpy()
    search = NearestNeighbors(n_neighbors=8).fit(bank)

    def vote(distances: np.ndarray, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
        shares = np.zeros((len(index), 3))
        for i, j in np.ndindex(index.shape):
            neighbour = index[i, j]
            shares[i, labels[neighbour]] += weights[neighbour] * np.exp((1 - distances[i, j] ** 2 / 2) / 0.1)
        return shares / shares.sum(axis=1, keepdims=True)

    weights, (distances, index) = np.ones(40), search.kneighbors(bank)
    for _ in range(2):
        expected = vote(distances[:, 1:], index[:, 1:], weights)
        weights = np.maximum(expected[np.arange(40), labels], 0.01)
    assert np.allclose(found[0].numpy(), expected, atol=1e-5)
    assert np.allclose(found[1].numpy(), vote(*search.kneighbors(queries, 7), weights), atol=1e-5)


def test_equal_rows_do_not_vote_for_themselves() -> None:
    features, labels = torch.ones(12, 4), torch.tensor([0] * 11 + [1])
    features[:, 0] = torch.arange(12) % 2  # six copies of each of two rows
    found, _ = neighbour_posteriors(features, labels, features[:0], 2, k=5, rounds=1)
    assert next(found)[11, 1] == 0


def test_parquet_rows_find_their_labels_by_path(tmp_path: Path) -> None:
    file, labels = write_digits(tmp_path, count=200)
    features, table = np.load(file)["features"], pd.read_csv(labels, dtype=str)
    columns = pd.DataFrame({f"f{j}": features[:, j] for j in range(64)})
    columns["path"] = table["path"]
    columns.to_parquet(tmp_path / "plain.parquet")
    columns.assign(label=table["label"]).sample(frac=1, random_state=1).to_parquet(tmp_path / "labelled.parquet")
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    options = [("plain.parquet", labels), ("plain.parquet", tmp_path / "shuffled.csv"), ("labelled.parquet", None)]
    done = [clean_features(tmp_path / name, one, tmp_path / "s.csv", overwrite=True) for name, one in options]
    assert "64 numbers a row, columns 'f0' to 'f63'" in done[2].notes[0]
    found = [result.scores.sort_values("path", ignore_index=True) for result in done]
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])


def test_labels_may_be_numbers_in_the_npz_file_and_long_numbers_in_a_table(tmp_path: Path) -> None:
    digits = load_digits()
    np.savez(tmp_path / "f.npz", features=digits.data[:100], labels=digits.target[:100])
    table = clean_features(tmp_path / "f.npz", None, tmp_path / "s.csv").scores
    assert table["label"].tolist() == [str(label) for label in digits.target[:100]]
    long = pd.DataFrame({"path": range(100), "label": ["1" * 5000, "2" * 5000] * 50})
    long.to_csv(tmp_path / "long.csv", index=False)
    table = clean_features(tmp_path / "f.npz", tmp_path / "long.csv", tmp_path / "t.csv").scores
    assert table["label"].tolist() == long["label"].tolist()


def test_bad_features_labels_and_options_are_refused(
    tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, names = np.random.default_rng(0).normal(size=(40, 3)), [f"{i}.png" for i in range(40)]
    labels = pd.DataFrame({"path": names, "label": ["a", "b"] * 20})
    rows = pd.DataFrame({"path": names, **{f"f{j}": features[:, j] for j in range(3)}})
    gap = [*"ab" * 19, "a", " "]
    tables = {"l": labels, "twice": pd.concat([labels, labels.tail(1).assign(label="a")])}
    for name, table in (tables | {"gap": labels.assign(really=gap)}).items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    parquets = {"rows": rows, "twice": rows.iloc[[0, 0]], "nameless": rows[["f0"]], "other": rows[:1].assign(path="x")}
    parquets |= {"float": rows.assign(label=[0.5, 1.5] * 20), "null": rows.assign(label=[*gap[:39], None])}
    for name, table in parquets.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    for name, array in {"f": features, "nan": features * np.nan, "objects": np.array([{}])}.items():
        np.savez(tmp_path / f"{name}.npz", features=array)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    write_atomically(tmp_path / "own/mine", "")
    monkeypatch.setattr(module, "_evidence", Mock(side_effect=AssertionError("refused before any long work")))
    for file, table, options, said in [
        ("f.npz", None, [], "no whole numbers 'labels'"),
        ("f.npz", "twice.csv", [], "41 rows"),
        ("f.npz", "l.csv", ["--method", "bogus"], "--method: has no meaning"),
        ("f.npz", "l.csv", ["-s", "a=1"], "--set: has no meaning"),
        ("f.npz", "l.csv", ["--epochs", "3"], "--epochs: has no meaning"),
        ("f.npz", "l.csv", ["--test", tmp_path / "l.csv"], "--test"),
        ("f.npz", "l.csv", ["--hold-out", "2"], "hold-out"),
        ("f.npz", "l.csv", [tmp_path], "folder: has no meaning"),
        ("f.npz", "l.csv", ["--truth", "label"], "--truth label: must be"),
        ("f.npz", "l.csv", ["--out", tmp_path / "l.csv", "--overwrite"], "l.csv is read"),
        ("f.npz", "l.csv", ["--out", tmp_path / "own.csv"], "holds 'mine'"),
        ("nan.npz", "l.csv", [], "not finite"),
        ("objects.npz", "l.csv", [], "objects.npz"),
        ("none.npz", "l.csv", [], "no such file"),
        ("bad.parquet", "l.csv", [], "not a parquet file"),
        ("rows.parquet", "twice.csv", [], "'39.png' has two labels"),
        ("rows.parquet", "gap.csv", ["--truth", "really"], "'39.png' has no label in the column 'really'"),
        ("twice.parquet", "l.csv", [], "two rows"),
        ("nameless.parquet", "l.csv", [], "a column 'path'"),
        ("other.parquet", "l.csv", [], "no row for 1 paths"),
        ("float.parquet", None, [], "floating-point"),
        ("null.parquet", None, [], "'39.png' has no label in the column 'label'"),
        ("resnet18", "l.csv", [], "name the folder"),
        ("resnet19", "l.csv", [], "the ending '' is unknown"),
        (None, "l.csv", [], "name the folder"),
    ]:
        given = ["--features", tmp_path / file if "." in file else file] if file else []
        given += ["--labels", tmp_path / table] if table else []
        assert said in refused("clean", *given, "--out", tmp_path / "s.csv", *options)


def test_an_encoder_makes_features(folder: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]) -> None:
    (folder / "images/bad.png").write_bytes(b"")
    with (folder / "labels.csv").open("a") as file:
        file.write("bad.png,c0,c0\n")
    images, labels = folder / "images", folder / "labels.csv"
    command = [images, "--labels", labels, "--features", "resnet18", "--device", "cpu", "--out", folder / "s.csv"]
    offline = Mock(side_effect=OSError("no network"))
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    assert "its weights cannot be had (no network)" in refused("clean", *command, "--quiet")
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 5))
    monkeypatch.setattr("nlkit.cleaning.features.encoder", lambda name: network)
    assert main(["clean", *map(str, command)]) == 0
    scores = pd.read_csv(folder / "s.csv")
    assert len(scores) == 20 and (scores["suggested_label"] == scores["label"]).all()
    for table, truth, said in [(labels, None, "'bad.png' cannot be used"), (None, "x", "with --labels")]:
        with pytest.raises(NlkitError, match=said):
            encode_images("resnet18", images, table, truth, "fail", "cpu")
