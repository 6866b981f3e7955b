"""The house: rooms stand on those above them in CONTRIBUTING.md, nothing runs in a circle, sizes are kept."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nlkit"
FREE = {"nlkit", "nlkit.__main__", "nlkit.cli"}
"""Modules that may import anything: the public names and the command line."""


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): ast.parse(path.read_text(encoding="utf-8")) for path in python_files("nlkit")}


def rooms() -> list[str]:
    """The rooms from the ground up; those of the top level come first, in a room that is called so."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("| room of `nlkit` | holds |")[1]
    return ["top level", *re.findall(r"^\| `(\w+)` \|", table.split("\n\n")[0], re.MULTILINE)]


def room(name: str) -> str:
    """The room of a module; that of a file which lies directly in the package is the top level."""
    parts = name.split(".")
    return parts[1] if (PACKAGE / parts[1]).is_dir() else "top level"


def imports(tree: ast.AST, whole: bool) -> Iterator[str]:
    """Modules of the package that code imports, within functions too where it is `whole`.

    What only a type checker sees does not count.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not whole:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in ("nlkit", "nlbook"))
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("nlkit", "nlbook"):
            deeper = (f"{node.module}.{name.name}" for name in node.names)
            yield from {name if name in MODULES else str(node.module) for name in deeper}
        yield from imports(node, whole)


def test_the_table_names_every_room_once() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert sorted(rooms()) == sorted({"top level", *folders})


def test_a_room_imports_only_from_rooms_above_it() -> None:
    place = {name: position for position, name in enumerate(rooms())}
    against = [
        (name, used)
        for name, tree in MODULES.items()
        for used in imports(tree, whole=True)
        if name not in FREE and (used not in MODULES or used in FREE or place[room(used)] > place[room(name)])
    ]
    assert against == []


def test_nothing_runs_in_a_circle() -> None:
    graph = {name: set(imports(tree, whole=False)) - {name} for name, tree in MODULES.items() if name not in FREE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


# These may only fall, but for what a new feature brings. The aims are 10,500, 2,300 and 11,500 lines, and 100 files.
@pytest.mark.parametrize(("folder", "most"), [("nlkit", 11_699), ("book/nlbook", 2_300), ("tests", 11_499)])
def test_a_part_of_the_project_stays_small(folder: str, most: int) -> None:
    found = sum(map(lines, python_files(folder)))
    assert found <= most


def test_files_are_few_and_short() -> None:
    found, top = len(python_files("nlkit")), len(list(PACKAGE.glob("*.py")))
    assert found <= 98 and top <= 9
    lengths = {module(path): lines(path) for folder in ("nlkit", "book/nlbook") for path in python_files(folder)}
    assert {name: length for name, length in lengths.items() if length > 260} == {}
