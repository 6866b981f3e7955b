from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import mnist_files

from nlkit.data import data_root, idx, load_dataset, status, verify
from nlkit.errors import NlkitError
from nlkit.params.noise import NoiseParams, PMDNoiseParams
from nlkit.training.problem import observed_labels


def states(root: Path) -> dict[str, str]:
    return {row.name: row.state for row in status(root)}


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLKIT_DATA", "/elsewhere")
    assert data_root("here") == data_root(Path("here")) == Path("here")
    assert data_root(None) == Path("/elsewhere")
    monkeypatch.setenv("NLKIT_DATA", "")
    assert data_root(None) == Path("data")


def test_status_without_a_data_root(tmp_path: Path) -> None:
    found = states(tmp_path / "nowhere")
    assert found.pop("digits") == "present"
    arrays = ["cifar10", "cifar100", "mnist", "fashion_mnist", "cifar10n", "cifar100n"]
    assert found == dict.fromkeys([*arrays, "webvision", "food101n", "clothing1m", "animal10n"], "missing")


def test_status_follows_the_files(
    tmp_path: Path, write_cifar: Callable[..., Path], write_human: Callable[..., Path]
) -> None:
    folder = write_cifar(tmp_path)
    write_human(tmp_path / "cifar-n", "cifar10n", load_dataset("cifar10", tmp_path).labels, ".pt")
    assert states(tmp_path)["cifar10"] == states(tmp_path)["cifar10n"] == "present"
    (folder / "data_batch_1").write_bytes(b"nonsense")
    assert states(tmp_path)["cifar10"] == "corrupt" and states(tmp_path)["cifar10n"] == "present"
    (folder / "data_batch_1").unlink()
    assert states(tmp_path)["cifar10"] == "incomplete"
    (tmp_path / "cifar-n" / "CIFAR-10_human.pt").write_bytes(b"nonsense")
    assert states(tmp_path)["cifar10n"] == "corrupt"


def test_verify_says_what_was_found(
    tmp_path: Path, write_cifar: Callable[..., Path], write_human: Callable[..., Path]
) -> None:
    write_cifar(tmp_path)
    clean = load_dataset("cifar10", tmp_path).labels
    wrong = np.where(np.arange(50) < 20, (clean + 1) % 10, clean)
    write_human(tmp_path, "cifar10n", clean, ".npz", worse_label=wrong)
    assert verify("cifar10", tmp_path).startswith("cifar10: 50 training and 10 test images, 10 classes, sha256 ")
    assert "differs from the official archive" in verify("cifar10", tmp_path)
    assert verify("cifar10n", tmp_path).endswith("worst 40.00 %; aligned with cifar10")
    assert verify("digits", tmp_path).startswith("digits: 1347 training")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "cifar10n", "cifar100n"])
def test_verify_raises_for_what_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(NlkitError, match=f"{name} is missing.*`nlkit data get {name}`"):
        verify(name, tmp_path)


def test_status_and_verify_know_idx_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist_files(tmp_path)
    assert (states(tmp_path)["mnist"], states(tmp_path)["fashion_mnist"]) == ("present", "missing")
    assert verify("mnist", tmp_path).endswith("; 200 training and 50 test images instead of 60000 and 10000")
    monkeypatch.setattr(idx, "TRAIN_COUNT", 200)
    monkeypatch.setattr(idx, "TEST_COUNT", 50)
    assert verify("mnist", tmp_path).startswith("mnist: 200 training and 50 test images, 10 classes, sha256 ")
    assert verify("mnist", tmp_path).endswith("; the official counts")
    (tmp_path / "MNIST/raw" / idx.FILES[0]).unlink()
    assert states(tmp_path)["mnist"] == "incomplete"
    (tmp_path / "MNIST/raw" / idx.FILES[0]).write_bytes(b"nonsense")
    assert states(tmp_path)["mnist"] == "corrupt"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_symmetric_noise_is_defined_for_idx_files_and_asymmetric_is_not(tmp_path: Path, name: str) -> None:
    dataset = load_dataset(name, mnist_root(tmp_path, name))  # type: ignore[arg-type]

    def observed(params: NoiseParams | PMDNoiseParams) -> np.ndarray:
        return observed_labels(dataset, 200, params, tmp_path, torch.device("cpu"))

    wrong = observed(NoiseParams(kind="symmetric", rate=0.5, own_class=False)) != dataset.labels
    assert wrong.sum() == 100
    with pytest.raises(NlkitError, match=f"noise.kind 'asymmetric' is not defined for data.name '{name}'"):
        observed(NoiseParams(kind="asymmetric", rate=0.4))
    with pytest.raises(NlkitError, match=f"annotator 'worst' belongs to cifar10, not to {name}"):
        observed(NoiseParams(kind="human", annotator="worst"))
    with pytest.raises(NlkitError, match=f"no recipe for data.name '{name}'.*noise.probabilities"):
        observed(PMDNoiseParams(kind="pmd", type=1, rate=0.3))


def mnist_root(root: Path, name: str) -> Path:
    mnist_files(root, place={"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}[name])
    return root


def test_verify_raises_for_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(NlkitError, match="'imagenet' is unknown; use one of digits, cifar10"):
        verify("imagenet", tmp_path)
