"""Labels from outside: what people said about CIFAR, and files of one's own."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import refused
from trees import cifar_folder, human_file, label_file

from nlkit.data import Dataset, load_dataset, sources, status, verify
from nlkit.data.dataset import check_labels
from nlkit.errors import NlkitError
from nlkit.noise import human, human_labels, label_sources, read_label_file

LABELS = [3, 0, 9, 1, 1]


@pytest.fixture
def cifar10(tmp_path: Path, small_cifar: None) -> Dataset:
    cifar_folder(tmp_path)
    return load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("folder", ["", "cifar-n", "CIFAR-N"])
@pytest.mark.parametrize(("name", "ending"), [("cifar10", ".npz"), ("cifar10", ".pt"), ("cifar100", ".pt")])
def test_each_annotator_from_each_place(tmp_path: Path, small_cifar: None, folder: str, name: str, ending: str) -> None:
    """Of CIFAR-100 the labels are the fine ones."""
    cifar_folder(tmp_path, name)
    dataset, coarse = load_dataset(name, tmp_path), np.arange(50) % 20
    path = human_file(tmp_path / folder, f"{name}n", dataset.labels, ending, noisy_coarse_label=coarse)
    stored = human.read_human_file(f"{name}n", path, None)
    for annotator in human.HUMAN_FILES[f"{name}n"].keys:
        labels = human_labels(annotator, tmp_path, dataset)
        assert labels.dtype == np.int64 and labels.shape == (50,) and (labels.max() > 20) == (name == "cifar100")
        np.testing.assert_array_equal(labels, stored[annotator])


WRONG = [(np.zeros(49, int), "shape [49]; expected [50]"), (np.zeros((50, 1), int), "shape [50, 1]; expected [50]")]
WRONG += [(np.full(50, 10), "label 10 at index 0 is outside 0..9 (50 of 50"), (np.full(50, -1), "label -1 at index 0")]
WRONG += [(odd, "nothing but integers") for odd in (np.zeros(50), np.zeros(50, bool), [0.0] * 50, [True, *range(49)])]
WRONG += [(odd, "nothing but integers") for odd in ([2**70] * 50, "0" * 50, [[0]] * 50, None)]


@pytest.mark.parametrize(("values", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_list_of_labels_is_refused(values: Any, said: str) -> None:
    message = refused(lambda: check_labels(values, 50, 10, "some file"))
    assert message.startswith("some file: label") and said in message


def test_files_of_people_that_do_not_fit_are_refused(tmp_path: Path, cifar10: Dataset) -> None:
    def said() -> str:
        return refused(lambda: human_labels("worst", tmp_path, cifar10))

    assert "cifar10n is missing" in said() and "`nlkit data get cifar10n`" in said()
    for members in ([], ["a/data.pkl", "b/data.pkl"], ["data.pkl"]):
        with zipfile.ZipFile(tmp_path / "CIFAR-10_human.pt", "w") as archive:
            for name in members:
                archive.writestr(name, pickle.dumps({}))
        assert "instead of one" in said()
    for key in ("worse_label", "aggre_label"):
        human_file(tmp_path, "cifar10n", cifar10.labels, ".pt", **{key: np.full(50, 10)})
        assert f", key '{key}': label 10" in said()
    np.savez(tmp_path / "cifar10n.npz", clean_label=cifar10.labels)
    assert "key 'aggre_label' is missing" in said()
    clean = cifar10.labels.copy()
    clean[[3, 5, 8]] = (clean[[3, 5, 8]] + 1) % 10
    human_file(tmp_path, "cifar10n", clean, ".npz")
    assert "disagrees with the labels of cifar10 at 3 of 50 images" in said()


def test_status_and_verify_know_the_labels_of_people(tmp_path: Path, cifar10: Dataset) -> None:
    def states() -> dict[str, str]:
        return {row.name: row.state for row in status(tmp_path, known)}

    known = sources() | label_sources()
    wrong = np.where(np.arange(50) < 20, (cifar10.labels + 1) % 10, cifar10.labels)
    path = human_file(tmp_path / "cifar-n", "cifar10n", cifar10.labels, ".pt", worse_label=wrong)
    assert (states()["cifar10n"], states()["cifar100n"]) == ("present", "missing")
    assert verify("cifar10n", tmp_path, known).endswith("worst 40.00 %; aligned with cifar10")
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    assert "cifar10 is missing or unusable, so not compared" in verify("cifar10n", tmp_path, known)
    path.write_bytes(b"nonsense")
    assert states()["cifar10n"] == "corrupt"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint64", ">i4"])
@pytest.mark.parametrize("ending", [".npy", ".npz", ".NPY"])
def test_integers_of_the_right_number_and_range_are_read(tmp_path: Path, ending: str, dtype: str) -> None:
    path = tmp_path / f"noisy{ending}"
    with path.open("wb") as file:
        array = np.array(LABELS, dtype)
        np.savez(file, anything=array) if ending == ".npz" else np.save(file, array)
    for given in (path, label_file(tmp_path / "x.json", LABELS)):
        found = read_label_file(given, 5, 10)
        assert found.dtype == np.int64 and found.tolist() == LABELS
        for count in (0, 4, 6, 50_000):
            with pytest.raises(NlkitError, match=rf"labels of shape \[5\]; expected \[{count}\]"):
                read_label_file(given, count, 10)
        with pytest.raises(NlkitError, match=r"is outside 0\.\.8 \(1 of 5 labels are\)"):
            read_label_file(given, 5, 9)


def test_the_key_labels_wins_in_an_npz(tmp_path: Path) -> None:
    path = label_file(tmp_path / "noisy.npz", np.array(LABELS), clean=np.zeros(5, int))
    assert read_label_file(path, 5, 10).tolist() == LABELS
    np.savez(path, a=np.array(LABELS), b=np.array(LABELS))
    refused(lambda: read_label_file(path, 5, 10), r"noisy\.npz: holds 2 arrays; expected one")


FOREIGN = ["", "[0, 1", '{"0": 1}', "3", "null", "[0, NaN]", "[0, null]", f"[0, {10**30}]", "[" * 100_000, "\ud800"]


@pytest.mark.parametrize("text", [*FOREIGN, f"[0, {'9' * 9999}]"], ids=range(len(FOREIGN) + 1))
def test_foreign_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "noisy.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(lambda: read_label_file(path, 2, 10), r"noisy\.json: ")


@pytest.mark.parametrize("name", ["noisy", "noisy.pt", "noisy.csv"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    assert refused(lambda: read_label_file(tmp_path / name, 2, 10)).endswith("a label file is .npy, .npz or .json")
