from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from nlkit import load_params
from nlkit.params import Params, make_params, parse_override
from nlkit.params.files import read_tree

FOLDER = Path(__file__).parents[2] / "params"
GOOD = FOLDER / "dividemix" / "cifar10-sym-50.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


REQUIRED = {
    "paper", "cell", "data.name", "noise.kind", "model.name", "optim.lr", "training.epochs", "method.name",
    "method.warm_up",
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(REQUIRED | dict(leaves(read_tree(GOOD))).keys()))
def test_a_missing_key_has_a_default_or_is_named(key: str, tmp_path: Path) -> None:
    tree = read_tree(GOOD)
    *parents, last = key.split(".")
    branch = tree
    for parent in parents:
        branch = branch[parent]
    del branch[last]
    path = write(tmp_path, yaml.safe_dump(tree))
    if key in REQUIRED:
        assert f"key '{key}' is missing" in tiny.refusal(path)
    else:
        assert load_params(path).cell == "cifar10-sym-50"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: [1", "YAML"), ("seed: 1\nseed: 2", "'seed' is given twice"), ("", "NoneType"), ("- 1\n- 2", "list"),
        ("paper", "str"), ("data: {name: digits, name: cifar10}", "'name' is given twice"), ("a: \x00", "YAML"),
        ("a: !!python/object/apply:os.getcwd []", "YAML"), ("a: &x [*x]", "alias *x"), ("2020-01-01: 1", ""),
        ("cell: 2020-13-45", ""), ("seed: 0b_", ""), ("seed: " + "9" * 5000, ""), ("? [a, b]\n: 1", "YAML"),
        ("? !!binary aGk=\n: 1", ""), ("{}", "missing"), ("a: &x 1\nb: *x", "alias *x"), ("1: 2", "missing"),
        ("cell: 2020-01-01", ""),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_tree_of_keys_is_refused(text: str, words: str, tmp_path: Path) -> None:
    assert words in tiny.refusal(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "missing.yaml", "no such file"), (tmp_path, "not a regular file")):
        assert said in tiny.refusal(path)
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00seed")
    assert "YAML" in tiny.refusal(path)


def test_parameters_cannot_be_changed_once_made() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(GOOD).seed = 1  # type: ignore[misc]


SECTIONS = {
    "cell": "other", "seed": 1, "data.train_size": 40, "noise.own_class": False, "views.zoom": 0.1, "model.width": 8,
    "optim.drop_epochs": [], "training.snapshots": [1], "method.mixture.tol": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("key", SECTIONS)
def test_the_digest_changes_with_each_section(key: str) -> None:
    assert load_params(GOOD, **{key: SECTIONS[key]}).digest != load_params(GOOD).digest


def test_the_digest_depends_neither_on_key_order_nor_on_what_is_left_to_defaults() -> None:
    tree = load_params(GOOD).model_dump(mode="json")

    def backwards(branch: Any) -> Any:
        return {key: backwards(branch[key]) for key in reversed(branch)} if isinstance(branch, dict) else branch

    again = make_params(backwards(tree), {}, "reversed")
    assert isinstance(again, Params) and again == load_params(GOOD) and again.digest == load_params(GOOD).digest


def test_command_line_overrides_are_read_as_yaml_where_exponents_without_a_point_are_numbers() -> None:
    assert parse_override("optim.weight_decay=1e-3") == ("optim.weight_decay", 1e-3)
    assert yaml.safe_load("1e-3") == "1e-3"  # the trap that the loader avoids
    assert parse_override("optim.drop_epochs=[1, 2]") == ("optim.drop_epochs", [1, 2])
    assert parse_override("noise.file=a=b") == ("noise.file", "a=b")
