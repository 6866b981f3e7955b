"""Parameter files: keys, defaults, digests, overrides, and what `base:` means."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import yaml
from fuzzing import refused

from nlkit import load_params
from nlkit.params import MOST_BASES, Params, make_params, parse_override, read_tree, resolve_base, sources
from nlkit.params.views import ViewParams

PARAMS = Path(__file__).parents[2] / "params"
CELL = PARAMS / "cross_entropy" / "digits-sym-50-views.yaml"
GOOD = PARAMS / "dividemix" / "cifar10-sym-50.yaml"


def write(root: Path, **files: str) -> Path:
    """A folder `params` with files, whose names have two underscores for a slash; gives the path of the last."""
    (root / "params" / "bases").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / "params" / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode(errors="surrogateescape"))
    return path


REQUIRED = {
    "paper", "cell", "data.name", "noise.kind", "model.name", "optim.lr", "training.epochs", "method.name",
    "method.warm_up",
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(REQUIRED | {*pd.json_normalize(read_tree(GOOD))}))
def test_a_missing_key_has_a_default_or_is_named(key: str, tmp_path: Path) -> None:
    tree = read_tree(GOOD)
    *parents, last = key.split(".")
    branch = tree
    for parent in parents:
        branch = branch[parent]
    del branch[last]
    path = write(tmp_path, some=yaml.safe_dump(tree))
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
        ("<<: {seed: 1}", "merge key <<"), ("".join(f"k{i}: 1\n" for i in range(60_000)), "has at most 65536"),
        ("cell: 2020-01-01", ""), ("\udcff\udcfe\0seed", "YAML"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_tree_of_keys_is_refused(text: str, words: str, tmp_path: Path) -> None:
    assert words in tiny.refusal(write(tmp_path, some=text))
    assert "no such file" in tiny.refusal(tmp_path / "missing.yaml")
    assert "not a regular file" in tiny.refusal(tmp_path)


SECTIONS = {
    "cell": "other", "seed": 1, "data.train_size": 40, "noise.own_class": False, "views.zoom": 0.1, "model.width": 8,
    "optim.drop_epochs": [], "training.snapshots": [1], "method.mixture.tol": 0.5, "method.balanced": 30,
}  # fmt: skip


@pytest.mark.parametrize("key", SECTIONS)
def test_the_digest_changes_with_each_section(key: str) -> None:
    assert load_params(GOOD, **{key: SECTIONS[key]}).digest != load_params(GOOD).digest


def test_the_digest_depends_neither_on_key_order_nor_on_what_is_left_to_defaults() -> None:
    tree = load_params(GOOD).model_dump(mode="json")

    def backwards(branch: Any) -> Any:
        return {key: backwards(branch[key]) for key in reversed(branch)} if isinstance(branch, dict) else branch

    again = make_params(backwards(tree), {}, "reversed")
    assert make_params(tree | {"views": {}}, {}, "plain").views == ViewParams()
    assert isinstance(again, Params) and again == load_params(GOOD) and again.digest == load_params(GOOD).digest
    later = {"method.mixed": "all", "method.balanced": None}  # settings that older files do not know, as they were
    assert load_params(GOOD, **later).digest == again.digest
    with pytest.raises(ValueError, match="frozen"):
        again.seed = 1  # type: ignore[misc]


def test_command_line_overrides_are_read_as_yaml_where_exponents_without_a_point_are_numbers() -> None:
    assert parse_override("optim.weight_decay=1e-3") == ("optim.weight_decay", 1e-3)
    assert yaml.safe_load("1e-3") == "1e-3"  # the trap that the loader avoids
    assert parse_override("optim.drop_epochs=[1, 2]") == ("optim.drop_epochs", [1, 2])
    assert parse_override("noise.file=a=b") == ("noise.file", "a=b")


@pytest.mark.parametrize(
    ("base", "own", "expected"),
    [
        ("a: {b: 1}", "a: null", {"a": None}),
        ("a: {b: 2}", "a: 1", {"a": 1}),
        ("a: {kind: x, b: 1, c: 2}", "a: {kind: x, c: 3}", {"a": {"kind": "x", "b": 1, "c": 3}}),
        ("a: {kind: x, b: 1}", "a: {kind: y, c: 3}", {"a": {"kind": "y", "c": 3}}),
        ("a: {name: x, b: {kind: p, q: 1}}", "a: {b: {kind: r}}", {"a": {"name": "x", "b": {"kind": "r"}}}),
        ("a: {kind: x}", "a: {b: 1}", {"a": {"kind": "x", "b": 1}}),
    ],
)
def test_groups_are_merged_all_else_is_replaced(base: str, own: str, expected: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path, bases__family__one=base, some__cell=f"base: bases/family/one\n{own}")
    assert read_tree(path) == expected


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("3", "key 'base' is 3: expected a path below"),
        ("[bases/one, bases/two]", "key 'base' is ['bases/one', 'bases/two']: expected a path below"),
        ("bases/../../secret", "expected a path below"),
        ("/etc/hostname", "expected a path below"),
        ("bases/.hidden", "expected a path below"),
        ('"bases/one\\0"', "expected a path below"),
        ("bases", "there is no file"),
    ],
)
def test_a_base_that_is_no_file_below_params_is_refused(base: str, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, secret="a: 1", bases__one="a: 1", some__cell=f"base: {base}")
    message = refused(lambda: read_tree(path))
    assert message.startswith(f"{path}: key 'base' is") and words in message
    path = write(tmp_path, bases__one="a: [1", some__cell="base: bases/one")
    assert refused(lambda: read_tree(path)).startswith(str(tmp_path / "params/bases/one.yaml"))


def test_circles_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, bases__a="base: bases/b", bases__b="base: bases/a", some__cell="base: bases/a")
    message = refused(lambda: read_tree(path))
    assert message.startswith(f"{tmp_path / 'params/bases/b.yaml'}: key 'base' is 'bases/a'")
    assert "based on this one" in message
    assert "based on this one" in refused(lambda: read_tree(write(tmp_path, some__cell="base: some/cell")))
    refused(lambda: resolve_base({"base": "bases/a"}, "notebook", tmp_path / "params"), r"b\.yaml: .*based on this one")


def test_only_so_many_files_stand_on_one_another(tmp_path: Path) -> None:
    for place in range(MOST_BASES):
        write(tmp_path, **{f"bases__n{place}": f"base: bases/n{place + 1}\na{place}: 1"})
    write(tmp_path, **{f"bases__n{MOST_BASES}": "last: 1"})
    assert len(read_tree(tmp_path / "params/bases/n0.yaml")) == MOST_BASES + 1
    path = write(tmp_path, some__cell="base: bases/n0")
    assert f"at most {MOST_BASES} files" in refused(lambda: read_tree(path))


def test_sources_are_the_file_and_all_that_it_stands_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, bases__family__one="base: bases/two", bases__two="a: 1", some__cell="base: bases/family/one")
    monkeypatch.chdir(tmp_path)
    names = ["params/some/cell.yaml", "params/bases/family/one.yaml", "params/bases/two.yaml"]
    assert [str(path) for path in sources(Path(names[0]))] == names
    assert sources(Path(names[2])) == [Path(names[2])]


def test_bases_are_found_from_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_params(CELL)
    monkeypatch.chdir(CELL.parent)
    assert load_params(CELL.name) == expected
    copy = tmp_path / "mine.yaml"
    copy.write_bytes(CELL.read_bytes())
    assert load_params(copy) == expected
    monkeypatch.chdir(tmp_path)
    assert load_params(CELL) == expected
    refused(lambda: load_params("mine.yaml"), r"mine\.yaml: key 'base' is .*there is no file .*inside the project")


@pytest.mark.parametrize("path", sorted(PARAMS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_named_after_its_content_and_resolved_alike(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `papermill -f` does: it injects the keys of the file as they stand, `base` among them."""
    monkeypatch.chdir(PARAMS.parent)
    params, content = load_params(path), yaml.safe_load(path.read_text(encoding="utf-8"))
    assert make_params(content, {}, "notebook parameters") == params
    assert (params.paper, params.cell) == (path.parent.name, path.stem)


def test_overrides_are_laid_over_what_is_resolved_and_cannot_change_the_base() -> None:
    plain, changed = load_params(CELL), load_params(CELL, seed=3, **{"optim.lr": 0.5, "views": {"pad": 3}})
    assert (changed.seed, changed.optim.lr, changed.views.pad) == (3, 0.5, 3)
    assert changed.optim == plain.optim.model_copy(update={"lr": 0.5})
    assert changed.views == plain.views.model_copy(update={"pad": 3})
    refused(lambda: load_params(CELL, base="bases/cross_entropy/digits"), "unknown key 'base'")
