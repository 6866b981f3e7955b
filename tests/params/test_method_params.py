"""The parameter files of the methods carry the official values, and impossible ones are refused in one line."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nlkit import NlkitError, load_params
from nlkit.training import encoders

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params"
FILES = sorted(PARAMS.glob("*/*.yaml"))


def cells(pattern: str, *left_out: str) -> list[Path]:
    """The parameter files that a pattern names, but for the laptop settings and names with these endings."""
    return [path for path in FILES if path.match(f"{pattern}.yaml") and not path.stem.endswith(("-laptop", *left_out))]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def assert_settings(path: Path, expected: dict[str, Any]) -> None:
    """Each value of a file that `expected` names by its dotted key is the one given there."""
    found = {key: operator.attrgetter(key)(load_params(path)) for key in expected}
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()} == expected


OFFICIAL = yaml.safe_load(Path(__file__).with_name("official.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("one", OFFICIAL, ids=operator.itemgetter("files"))
def test_files_have_the_settings_of_the_paper_or_of_the_official_code(one: dict[str, Any]) -> None:
    paths = cells(one["files"], *one.get("without", []))
    assert paths
    for path in paths:
        assert_settings(path, one["settings"])


@pytest.mark.parametrize("path", cells("codim/*"), ids=named)
def test_names_of_codim_say_what_is_in_the_file_and_the_gradient_of_the_contrast_is_the_same(path: Path) -> None:
    sup, weak, without = (path.stem.endswith(end) for end in ("-sup", "-weak", ("-weak", "-no-ctr")))
    tau = 0.1 if sup else 0.5
    own = {"method.variant": "sup" if sup else "self", "method.ssl_views": "weak" if weak else "strong"}
    own |= {"method.tau_c": tau, "method.lambda_c": 0 if without else tau / 2}
    assert_settings(path, own | {"method.penalty": "-asym-" in path.stem})


@pytest.mark.parametrize("path", cells("codim/cifar*"), ids=named)
def test_what_codim_takes_over_from_dividemix_is_that(path: Path) -> None:
    ours = load_params(path)
    theirs = load_params(PARAMS / "dividemix" / f"{path.stem.removesuffix('-sup')}.yaml")
    for section in ("data", "noise", "views", "model", "optim"):
        assert getattr(ours, section) == getattr(theirs, section)
    expected = theirs.method.model_dump(exclude={"name"}) | {"warm_up": 5}
    assert {key: value for key, value in ours.method.model_dump().items() if key in expected} == expected
    assert (ours.training.epochs, ours.training.batch_size) == (theirs.training.epochs, theirs.training.batch_size)


@pytest.mark.parametrize("cell", ["digits-sym-80", "cifar10-sym-90"])
def test_the_first_stage_of_tcl_plus_is_that_of_the_cell(cell: str) -> None:
    plain, plus = (load_params(PARAMS / f"tcl/{name}.yaml") for name in (cell, f"{cell}-plus"))
    assert plus.method.first == plain.method and plus.method.first_epochs == plain.training.epochs
    shared = {"data", "noise", "views", "model", "optim"}
    assert plus.model_dump(include=shared) == plain.model_dump(include=shared)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in ("codim", "lra_diffusion")], ids=named)
def test_the_encoder_that_a_file_names_is_there_and_of_the_same_images(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    params = load_params(path)
    referred = encoders.referred(params)
    assert (referred is None) == (params.method.pretraining is None)
    assert referred is None or referred.data == params.data
    assert referred is not None or path.parent.name != "codim"


GOOD = {"dividemix": "dividemix/cifar10-sym-50"}
GOOD |= {"elr": "elr/digits-sym-50", "mixup": "mixup/digits-sym-50", "confident": "confident_learning/digits-sym-50"}
GOOD |= {"tcl": "tcl/cifar10-sym-50", "simclr": "simclr/cifar10"}
GOOD |= {"codim": "codim/digits-sym-50", "codim cifar": "codim/cifar10-sym-50", "tcl_plus": "tcl/cifar10-sym-90-plus"}
GOOD |= {"lra": "lra_diffusion/cifar10-sym-50", "lra digits": "lra_diffusion/digits-sym-50-identity"}
NAN = float("nan")
BAD: dict[str, dict[str, list[Any]]] = {
    "mixup": {"alpha": [0, NAN], "beta": [0.7]},
    "elr": {"beta": [1.0, -0.1], "weight": [-1], "clamp": [0.5, 0], "lambda": [3]},
    "confident": {"folds": [1, 21], "score": ["entropy"]},
    "simclr": {"temperature": [0]},
    "tcl": {
        "warm_up": [-1], "lr_warm_up": [0], "scale1": [1.1], "queue": [65536], "mixture_per": ["image"],
        "dropout": [1.0], "marginal_weight": [float("inf")], "strong.hue": [0.6], "strong.kind": ["randaugment"],
    },
    "codim": {"variant": ["both"], "tau_c": [0], "encoder": [3]},
    "codim cifar": {"strong": [{"kind": "autoaugment", "pad": -1}]},
    "lra": {
        "k": [0], "width": [1], "timesteps": [1], "horizon": [0], "ema_decay": [1], "evaluate": ["best"],
        "weighted": [1], "distance": ["manhattan"], "encoder.kind": ["dino"], "encoder.weights": ["x"],
    },
}  # fmt: skip
VALUES = [(name, f"method.{key}", one) for name, keys in BAD.items() for key, many in keys.items() for one in many]


def refusal(name: str, overrides: dict[str, Any]) -> str:
    """What is said of a good file with these overrides: one line that begins with the file."""
    path = PARAMS / f"{GOOD[name]}.yaml"
    with pytest.raises(NlkitError) as caught:
        load_params(path, **overrides)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(("name", "key", "value"), VALUES)
def test_a_bad_value_is_refused_in_one_line_with_file_and_key(name: str, key: str, value: Any) -> None:
    assert f"'{key}" in refusal(name, {key: value})


FILE = {"method.encoder": {"kind": "file", "train": "a.npy", "test": "b.npy"}, "method.bank": "view"}
CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("dividemix", {"noise.kind": "human"}, "annotator"),
    ("dividemix", {"noise.kind": "file"}, "noise.file"),
    ("dividemix", {"noise.kind": "human", "noise.annotator": "fine"}, "fine"),
    ("dividemix", {"noise.kind": "human", "noise.annotator": "worst", "data.name": "digits"}, "human"),
    ("dividemix", {"noise.kind": "asymmetric", "data.name": "cifar100"}, "asymmetric"),
    ("elr", {"method.cosine_epochs": 4, "optim.drop_epochs": [2]}, "optim.drop_epochs has no meaning"),
    ("simclr", {"data.name": "digits"}, "digits need 'affine'"),
    ("tcl", {"paper": "dividemix"}, "method.name"),
    ("tcl_plus", {"method.first_epochs": 400, "training.epochs": 400}, "first_epochs must be below training.epochs"),
    ("codim", {"method.variant": "sup", "method.cl_subset": "unlabelled"}, "needs method.variant 'self'"),
    ("codim cifar", {"data.name": "digits"}, "needs colours; digits need 'affine'"),
    ("codim", {"method.mixed": "labelled"}, "method.lambda_u 0"),
    ("codim", {"method.balanced": 30, "method.loss_epochs": 5}, "method.loss_epochs 1"),
    ("lra", {"method.sampling_steps": 501}, "more than half of method.timesteps"),
    ("lra", {"method.retrieval": "precomputed"}, "needs method.query 'cached'"),
    ("lra", {"method.horizon": 199.0}, "method.horizon is 199"),
    ("lra", {"training.batch_size": 1}, "training.batch_size is 1"),
    ("lra digits", {"method.encoder.kind": "clip"}, "needs photographs in colour"),
    ("lra digits", FILE | {"method.query": "cached"}, "needs method.query 'cached' and method.bank 'plain'"),
]


@pytest.mark.parametrize(("name", "overrides", "words"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(name: str, overrides: dict[str, Any], words: str) -> None:
    assert words in refusal(name, overrides)


def test_settings_at_their_later_defaults_leave_the_hash_of_older_records_as_it_was() -> None:
    plain = load_params(PARAMS / "dividemix/digits-sym-50.yaml")
    assert not {"mixed", "balanced"} & set(plain.model_dump(mode="json")["method"])
    given = load_params(PARAMS / "dividemix/digits-sym-50.yaml", **{"method.mixed": "all", "method.balanced": None})
    assert given.digest == plain.digest
    assert plain.digest != load_params(PARAMS / "dividemix/digits-sym-50.yaml", **{"method.balanced": 30}).digest
