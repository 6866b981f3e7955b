"""The parameter files of LRA-diffusion carry the official values, and impossible ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nlkit import NlkitError, load_params
from nlkit.params.lra import LRADiffusionParams
from nlkit.training import encoders

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "params" / "lra_diffusion"
FILES = sorted(FOLDER.glob("*.yaml"))
CIFAR = [path for path in FILES if path.stem.startswith("cifar") and not path.stem.endswith("-laptop")]
GOOD = FOLDER / "cifar10-sym-50.yaml"


def test_every_cell_of_the_book_has_a_file() -> None:
    cells = {f"digits-{noise}" for noise in ("sym-20", "sym-50", "sym-80", "asym-40", "pmd-35")}
    cells |= {f"digits-{noise}-{change}" for noise in ("sym-50", "sym-80")
              for change in ("unweighted", "frozen", "identity")}  # fmt: skip
    cells |= {f"{data}-sym-{rate}" for data in ("cifar10", "cifar100") for rate in (20, 50, 80, 90)}
    cells |= {f"cifar10n-{labels}" for labels in ("aggregate", "random1", "random2", "random3", "worst")}
    cells |= {f"cifar10-pmd-{kind}" for kind in ("35", "70", "35-u30", "35-u60", "35-a30", "35-clip", "35-parity")}
    assert cells | {"cifar10-asym-40", "cifar100-pmd-35", "cifar100n"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", CIFAR, ids=lambda path: path.stem)
def test_cifar_has_the_settings_of_the_official_code(path: Path) -> None:
    params = load_params(path)
    optim, training, method = params.optim, params.training, params.method
    assert isinstance(method, LRADiffusionParams)
    assert (training.epochs, training.batch_size, optim.lr, optim.momentum, optim.weight_decay) == (
        200, 200, 1e-3, 0.9, 0,
    )  # fmt: skip
    assert (params.model.name, params.model.width, method.width) == ("resnet34", 64, 512)
    assert (method.k, method.weighted, method.draws, method.retrieval) == (10, True, 1, "online")
    assert (method.timesteps, method.sampling_steps, method.lr_warm_up, method.clip_norm) == (1000, 10, 5, 1)
    assert (method.ema_decay, method.distance, method.bank, method.exclude_self) == (0.9999, "euclidean", "view", False)
    assert (params.views.pad, params.views.flip) == (4, True)
    clip = path.stem.endswith("-clip")
    assert (method.encoder.kind, method.query) == (("clip", "cached") if clip else ("simclr", "view"))
    parity = path.stem.endswith("-parity")
    expected = (False, "raw", 1000) if parity else (True, "ema", None)
    assert (method.train_encoder, method.evaluate, method.horizon) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_encoder_that_a_file_names_is_there_and_of_the_same_images(path: Path) -> None:
    params = load_params(path)
    assert isinstance(params.method, LRADiffusionParams)
    referred = encoders.referred(params)
    assert (referred is not None) == (params.method.encoder.kind == "simclr")
    assert referred is None or referred.data == params.data


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method.k", 0), ("method.draws", 0), ("method.width", 1), ("method.timesteps", 1), ("method.clip_norm", 0),
        ("method.sampling_steps", 0), ("method.lr_warm_up", -1), ("method.horizon", 0), ("method.ema_decay", 1),
        ("method.evaluate", "best"), ("method.query", "bank"), ("method.bank", "centre"), ("method.weighted", 1),
        ("method.retrieval", "offline"), ("method.distance", "manhattan"), ("method.encoder.kind", "dino"),
        ("method.encoder.weights", "x"), ("method.encoder.params", 3), ("method.eta", 0.0),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_in_one_line_with_file_and_key(key: str, value: Any) -> None:
    with pytest.raises(NlkitError) as caught:
        load_params(GOOD, **{key: value})
    message = str(caught.value)
    assert message.startswith(str(GOOD)) and "\n" not in message
    assert f"'{key}'" in message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"optim.drop_epochs": [3]}, "drop_epochs"),
        ({"paper": "dividemix"}, r"method\.name"),
        ({"method.sampling_steps": 501}, r"more than half of method\.timesteps"),
        ({"method.retrieval": "precomputed"}, r"needs method\.query 'cached'"),
        ({"method.horizon": 199.0}, r"method\.horizon is 199"),
        ({"training.batch_size": 1}, r"training\.batch_size is 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(NlkitError, match=words):
        load_params(GOOD, **overrides)


@pytest.mark.parametrize("query", ["view", "cached"])
def test_a_table_of_features_knows_no_random_views(query: str) -> None:
    own = {"method.encoder": {"kind": "file", "train": "a.npy", "test": "b.npy"}, "method.query": query}
    with pytest.raises(NlkitError, match=r"needs method\.query 'cached' and method\.bank 'plain'"):
        load_params(FOLDER / "digits-sym-50-identity.yaml", **own, **{"method.bank": "view"})


def test_clip_is_not_for_digits() -> None:
    with pytest.raises(NlkitError, match="needs photographs in colour"):
        load_params(FOLDER / "digits-sym-50-identity.yaml", **{"method.encoder.kind": "clip"})


def test_the_digest_tells_the_settings_of_the_method_apart() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"method.k": 11}, {"method.weighted": False}, {"method.train_encoder": False}, {"method.evaluate": "raw"},
        {"method.exclude_self": True}, {"method.bank": "plain"}, {"method.query": "cached"},
        {"method.encoder.params": "params/simclr/other.yaml"}, {"method.horizon": 300.0},
    ]  # fmt: skip
    assert len({load_params(GOOD, **change).digest for change in changes}) == len(changes)
