"""Modules stand on those above them: the list in CONTRIBUTING.md is the order, and no import goes against it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nlkit"
LONGEST = 260
"""Lines of a module of the package; the aim is 80 to 250."""


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of the package that a file imports; what only a type checker sees does not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "nlkit":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nlkit."):
            yield str(node.module).split(".")[1]
        yield from imports(node)


def dependencies() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = module_of(path)
        if not name.startswith("__"):
            found.setdefault(name, set()).update(imports(ast.parse(path.read_text(encoding="utf-8"))))
    return {name: needs - {name} for name, needs in found.items()}


def order() -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = text.split("above it in this list:")[1].split("\n\n")[0]
    return re.findall(r"`(\w+)`", listed)


def test_the_list_names_every_module_once() -> None:
    assert sorted(order()) == sorted(dependencies())


def test_no_module_imports_from_one_below_it() -> None:
    place = {name: position for position, name in enumerate(order())}
    against = [(name, one) for name, needs in dependencies().items() for one in needs if place[one] > place[name]]
    assert not against


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}
