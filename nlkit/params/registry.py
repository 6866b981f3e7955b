"""The methods by name: each registers itself in its own file, `nlkit/methods/<name>.py`, and is found there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from nlkit.errors import NlkitError
from nlkit.lazy import DataFrame, Tensor
from nlkit.params.sections import Section

if TYPE_CHECKING:
    from nlkit.data.problem import Problem
    from nlkit.params import Params

PACKAGE = "nlkit.methods"


class MethodParams(Section):
    """The section `method` of a parameter file; each method has its own, whose `name` tells it from the others."""

    name: str
    own_schedule: ClassVar[bool] = False
    """Whether the learning rate is a curve of the method's own, so that `optim.drop_epochs` has no meaning."""

    pretrains: ClassVar[bool] = False
    """Whether what is trained is an encoder for other runs, which the method's `shared_weights()` returns."""

    @property
    def pretraining(self) -> tuple[str, str] | None:
        """The dotted key that names a parameter file of pre-training, and that file; None where none is needed."""
        return None

    def shared_with_pretraining(self) -> tuple[str, ...]:
        """Dotted keys in which a run and the pre-training that it refers to must agree, beside the data."""
        return ()

    def given_tensors(self, problem: Problem, root: Path, cut: bool) -> dict[str, Tensor] | None:
        """Tensors for `TrainingSet.encoder` from files that the parameters name, None where they name none.

        root: of the data; cut: whether only the first images of the data set are used.
        """
        return None


@dataclass(frozen=True)
class Look:
    """How a method appears: name, colour, marker, and whether (`page`) each of its runs has a page of its own."""

    label: str
    colour: str
    marker: str
    page: bool = True


@dataclass(frozen=True)
class OwnImages:
    """How a method is set for images of one's own.

    settings: its own keys for a number of epochs, the side of the images in pixels, and the number of classes;
    shorter: by how much fewer epochs it is trained; why: what is said where it is the default.
    """

    settings: Callable[[int, int, int], dict[str, Any]]
    shorter: int = 1
    why: str = "asked for"


@dataclass(frozen=True)
class Entry:
    """What the rest of the project knows of a method.

    name: `method.name` in parameter files. paper: its folder in `params/` and `results/`. build: makes it from a
    training set and parameters. looks: by the ending of a cell's name, `""` for most; none for what is no contestant.
    shown: the settings that tables show. chapter: its page in `book/`. place: its order in tables and figures.
    check: raises ValueError for parameters that do not belong together. passes: forward-equivalents of a run, from
    parameters, number of training images and epoch table. own_images: None where `nlkit clean` does not offer it.
    tiny: settings of a run of a second, for tests.
    """

    name: str
    paper: str
    params: type[MethodParams]
    build: Callable[..., Any]
    looks: Mapping[str, Look] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    chapter: str = ""
    place: int = 1000  # behind all that name one
    check: Callable[[Params[Any]], None] = lambda params: None
    passes: Callable[[Params[Any], int, DataFrame], float] | None = None
    own_images: OwnImages | None = None
    tiny: Mapping[str, Any] = field(default_factory=dict)


_ENTRIES: dict[str, Entry] = {}
Built = TypeVar("Built")


def register(params: type[MethodParams], **facts: Any) -> Callable[[Built], Built]:
    """Decorator of a method's class: makes it known by the name in `params`; `facts` are fields of `Entry`."""
    (name,) = get_args(params.model_fields["name"].annotation)
    paper = facts.pop("paper", name)
    facts = {"chapter": paper, **facts, "tiny": {"name": name, **facts.get("tiny", {})}}

    def keep(build: Built) -> Built:
        _ENTRIES[name] = Entry(name, paper, params, build, **facts)  # type: ignore[arg-type]
        return build

    return keep


def names() -> list[str]:
    """The names of all methods, from the files in `nlkit/methods/`; nothing is imported."""
    files = (Path(__file__).parents[1] / "methods").glob("[!_]*.py")
    return sorted(file.stem for file in files if file.stem != "base")


def find(name: str) -> Entry:
    """The method of this name; only its own file is imported. Raises NlkitError for an unknown name."""
    if name not in _ENTRIES:
        if name not in names():
            raise NlkitError(f"key 'method.name' is '{name}': expected one of {', '.join(names())}")
        import_module(f"{PACKAGE}.{name}")
    return _ENTRIES[name]


def everything() -> list[Entry]:
    """All methods in the order of the book."""
    return sorted(map(find, names()), key=lambda entry: (entry.place, entry.name))


def contestants() -> dict[str, Look]:
    """The looks of all that compete, by paper and ending of the cell's name (`codim-sup`), in the order of the book."""
    return {f"{one.paper}{ending}": look for one in everything() for ending, look in one.looks.items()}
