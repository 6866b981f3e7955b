"""Parameter files as trees of keys and values: YAML read safely, what a file is based on, and overrides."""

import functools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nlkit.errors import NlkitError
from nlkit.files import project_root, read_bytes

MOST_BASES = 8
MOST_BYTES = 64 * 2**10
_BASE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)  # no `..`, no absolute path, no hidden file


def read_tree(path: Path) -> dict[str, Any]:
    """Keys and values of a parameter file laid over those of its `base`; raises NlkitError as `resolve_base` does."""
    return resolve_base(_read(path), str(path), _params_root(path))


def resolve_base(tree: Mapping[str, Any], source: str, root: Path | None = None) -> dict[str, Any]:
    """The tree laid over the one that its key `base` names, which may have a base itself; unchanged without the key.

    `base` is a path below `root` (the project's `params/` where it is left out) without the suffix `.yaml`. Groups of
    keys are merged; everything else, such as a list or null, replaces what the base says. A group that has another
    `kind` or `name` than the base's replaces it too, since other keys belong to it. Raises NlkitError, which begins
    with `source`, for a base that is no such path or not there, for a circle, and for more than MOST_BASES files.
    """
    layers = _layers(tree, source, root or project_root() / "params")
    return functools.reduce(_laid_over, (layer for _, layer in reversed(layers)))


def sources(path: Path) -> list[Path]:
    """A parameter file and all that it is based on, the nearest first; raises NlkitError as `read_tree` does."""
    return [file for file, _ in _layers(_read(path), str(path), _params_root(path))]


def _layers(tree: Mapping[str, Any], source: str, root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The tree and those that it stands on, the nearest first, with their files and without their keys `base`."""
    layers = [(Path(source), dict(tree))]
    while "base" in layers[-1][1]:
        name = layers[-1][1].pop("base")
        wrong = f"{layers[-1][0]}: key 'base' is {name!r:.80}"
        if not isinstance(name, str) or not _BASE.fullmatch(name):
            raise NlkitError(f"{wrong}: expected a path below {root} without suffix, such as bases/dividemix/cifar10")
        path = root / f"{name}.yaml"
        if not path.is_file():
            raise NlkitError(f"{wrong}: there is no file {path}")
        if any(path.resolve() == file.resolve() for file, _ in layers):
            raise NlkitError(f"{wrong}: that file is itself based on this one")
        if len(layers) > MOST_BASES:
            raise NlkitError(f"{wrong}: at most {MOST_BASES} files may be based on one another")
        layers.append((path, _read(path)))
    return layers


def _laid_over(base: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    if any(base[key] != tree[key] for key in ("kind", "name") if key in base and key in tree):
        return tree
    both = {key for key in base.keys() & tree.keys() if isinstance(base[key], dict) and isinstance(tree[key], dict)}
    return base | tree | {key: _laid_over(base[key], tree[key]) for key in both}


def _params_root(path: Path) -> Path:
    """The nearest folder `params` with base files that the file lies in, else that of the project."""
    above = (folder for folder in (*path.parents, *path.absolute().parents) if folder.name == "params")
    return next((folder for folder in above if (folder / "bases").is_dir()), project_root() / "params")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(read_bytes(path, MOST_BYTES).decode(), Loader=_YamlLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NlkitError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(content, dict):
        raise NlkitError(f"{path}: a parameter file holds keys and values at the top, not {type(content).__name__}")
    return content


def parse_override(text: str) -> tuple[str, Any]:
    """Split `dotted.key=value` of the command line; the value is read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise NlkitError(f"-s {text}: expected dotted.key=value, for example -s seed=1")
    try:
        return key.strip(), yaml.load(value, Loader=_YamlLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise NlkitError(f"-s {text}: the value is not valid YAML") from None


class _YamlLoader(yaml.SafeLoader):
    """Safe YAML that refuses aliases, which can make a small file endless, and a key given twice; 5e-4 is a number."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"the alias *{self.peek_event().anchor} is refused; write its value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
            raise yaml.YAMLError(f"key '{keys.most_common(1)[0][0]}' is given twice")
        return mapping


_YamlLoader.add_implicit_resolver("!exponent", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
_YamlLoader.add_constructor("!exponent", lambda loader, node: float(node.value))
