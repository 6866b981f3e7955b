"""Parameter files as trees of keys and values: YAML read safely, and overrides of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from nlkit.errors import NlkitError


def read_tree(path: Path) -> dict[str, Any]:
    """The keys and values of a parameter file; raises NlkitError for one that is missing or not valid."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader)
    except OSError as error:
        raise NlkitError(f"{path}: cannot read the parameter file ({error.strerror})") from None
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
    except (yaml.YAMLError, ValueError):
        raise NlkitError(f"-s {text}: the value is not valid YAML") from None


class _YamlLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice and reads 5e-4 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"key '{twice}' is given twice")
        return super().construct_mapping(node, deep)


_YamlLoader.add_implicit_resolver("!exponent", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
_YamlLoader.add_constructor("!exponent", lambda loader, node: float(node.value))
