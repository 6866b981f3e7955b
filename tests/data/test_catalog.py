from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nlkit.data import data_root, load_dataset, status, verify
from nlkit.errors import NlkitError


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
    assert found == dict.fromkeys(["cifar10", "cifar100", "cifar10n", "cifar100n"], "missing")


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


def test_verify_raises_for_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(NlkitError, match="'imagenet' is unknown; use one of digits, cifar10"):
        verify("imagenet", tmp_path)
