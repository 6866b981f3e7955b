"""The parameter files of the methods carry the official values, and impossible ones are refused in one line."""

import functools
import operator
import re
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from fuzzing import refused

from nlkit import load_params
from nlkit.params import make_params, read_tree
from nlkit.training import encoders

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params"
FILES = sorted(PARAMS.glob("*/*.yaml"))
load = functools.cache(load_params)


def cells(pattern: str, *left_out: str) -> list[Path]:
    """The parameter files that a pattern names, but for the laptop settings and names with these endings."""
    found = [path for path in FILES if path.match(f"{pattern}.yaml") and not path.stem.endswith(left_out)]
    return [path for path in found if "-laptop" not in path.stem]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def assert_settings(path: Path, expected: dict[str, Any]) -> None:
    """Each value of a file that `expected` names by its dotted key is the one given there."""
    params = load(path)
    found = {key: operator.attrgetter(key)(params) for key in expected}
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()} == expected


def read(name: str) -> Any:
    """What a table beside this file holds."""
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("one", read("official.yaml"), ids=operator.itemgetter("files"))
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
    assert_settings(path, own | {"method.penalty": bool(re.search(r"-asym-|cifar100?n", path.stem))})


@pytest.mark.parametrize("path", cells("codim/cifar*"), ids=named)
def test_what_codim_takes_over_from_dividemix_is_that(path: Path) -> None:
    ours = load(path)
    theirs = load(PARAMS / "dividemix" / f"{path.stem.removesuffix('-sup')}.yaml")
    for section in ("data", "noise", "views", "model", "optim"):
        assert getattr(ours, section) == getattr(theirs, section)
    expected = theirs.method.model_dump(exclude={"name"}) | {"warm_up": 5}
    assert {key: value for key, value in ours.method.model_dump().items() if key in expected} == expected
    assert (ours.training.epochs, ours.training.batch_size) == (theirs.training.epochs, theirs.training.batch_size)


@pytest.mark.parametrize("cell", ["digits-sym-80", "cifar10-sym-90"])
def test_the_first_stage_of_tcl_plus_is_that_of_the_cell(cell: str) -> None:
    plain, plus = (load(PARAMS / f"tcl/{name}.yaml") for name in (cell, f"{cell}-plus"))
    assert plus.method.first == plain.method and plus.method.first_epochs == plain.training.epochs
    shared = {"data", "noise", "views", "model", "optim"}
    assert plus.model_dump(include=shared) == plain.model_dump(include=shared)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in ("codim", "lra_diffusion")], ids=named)
def test_the_named_encoder_is_there_and_of_the_same_images(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params = load(path)
    referred = encoders.referred(params)
    assert (referred is None) == (params.method.pretraining is None)
    assert referred is None or referred.data == params.data
    assert referred is not None or path.parent.name != "codim"


REFUSED = read("refused.yaml")
VALUES = [
    (name, key, value) for name, keys in REFUSED["values"].items() for key, values in keys.items() for value in values
]


@pytest.mark.parametrize(("name", "key", "value"), VALUES)
def test_a_bad_value_is_refused_in_one_line_with_file_and_key(name: str, key: str, value: Any) -> None:
    assert f"'{key}" in tiny.refusal(PARAMS / f"{name}.yaml", **{key: value})


@pytest.mark.parametrize("one", REFUSED["contradictions"], ids=lambda one: f"{one['file']} {one['settings']}")
def test_settings_that_contradict_each_other_are_refused(one: dict[str, Any]) -> None:
    assert one["says"] in tiny.refusal(PARAMS / f"{one['file']}.yaml", **one["settings"])


@pytest.mark.parametrize("one", REFUSED["sections"], ids=operator.itemgetter("says"))
def test_sections_that_do_not_fit_the_others_are_refused(one: dict[str, Any]) -> None:
    content = read_tree(PARAMS / f"{one['file']}.yaml") | {key: one[key] for key in one.keys() - {"file", "says"}}
    said = refused(lambda: make_params(content, {}, "some.yaml"))
    assert said.startswith("some.yaml: ") and one["says"] in said
