"""The one door for settings: typed sections, parameter files, what they are based on, and overrides."""

import functools
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from nlkit.errors import NlkitError
from nlkit.files import as_path, project_root, read_bytes
from nlkit.params import registry, sections
from nlkit.params.views import AnyViewParams, ViewParams, check_views

M = TypeVar("M", bound=registry.MethodParams, covariant=True)
"""The section of a method; `Params[DivideMixParams]` are the parameters of a run of DivideMix."""


class Params(sections.Section, Generic[M]):
    """Everything that decides the outcome of a run."""

    paper: sections.Name
    cell: sections.Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Annotated[sections.AnyDataParams, Field(discriminator="name")]
    noise: Annotated[sections.AnyNoiseParams, Field(discriminator="kind")]
    views: AnyViewParams = ViewParams()
    model: Annotated[sections.AnyModelParams, Field(discriminator="name")]
    optim: sections.OptimParams
    training: sections.TrainingParams
    method: SerializeAsAny[M]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuses sections that do not belong together."""
        entry, method = registry.find(self.method.name), self.method
        check_views(self.data, self.views, method)
        if self.paper != entry.paper:
            raise ValueError(f"method.name is '{entry.name}' but paper is '{self.paper}'; they must agree")
        if not isinstance(self.data, sections.DataParams) and self.noise.kind != "none":
            raise ValueError(f"data.name '{self.data.name}' needs noise.kind 'none'; its labels are as they were given")
        sections.check_noise(self.noise, self.data.name)
        if method.own_schedule and (self.optim.drop_epochs or self.optim.schedule != "steps"):
            key = "drop_epochs" if self.optim.drop_epochs else "schedule"
            raise ValueError(f"optim.{key} has no meaning for {self.paper}, whose learning rate is a curve")
        entry.check(self)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved parameters: the identity of a run."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_params(path: str | Path, **overrides: Any) -> Params[Any]:
    """Read a parameter file and apply overrides, whose keys may be dotted (``**{"noise.rate": 0.2}``).

    Raises NlkitError for a missing or unreadable file, an unknown key, a wrong type or an impossible value.
    """
    return make_params(read_tree(as_path(path, "load_params")), overrides, source=str(path))


def deviation(params: Params[Any], root: Path | None = None) -> str:
    """How parameters differ from the file of their cell in a project, the seed aside; empty where they do not."""
    file = (root or project_root()) / "params" / params.paper / f"{params.cell}.yaml"
    if not file.exists():
        return f"there is no {file}"
    cell = load_params(file, seed=params.seed)
    other = first_difference(cell.model_dump(mode="json"), params.model_dump(mode="json"))
    return "" if cell.digest == params.digest else f"has other parameters than {file} ({other})"


def first_difference(theirs: Any, ours: Any, key: str = "") -> str:
    """The first key in which two nested parameter dictionaries differ, with both values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            if theirs.get(name) != ours.get(name):
                return first_difference(theirs.get(name), ours.get(name), f"{key}.{name}" if key else name)
    return f"{key}: {theirs} there, {ours} here"


def make_params(content: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> Params[Any]:
    """Resolve nested keys and dotted overrides to Params; `source` names the origin in an error message."""
    try:
        merged: dict[str, Any] = json.loads(json.dumps(resolve_base(content, source), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise NlkitError(f"{source}: not a tree of keys and plain values ({error})") from None
    try:
        for key, value in overrides.items():
            _assign(merged, key, value)
        section = _method_section(merged.get("method"))
        return Params[section].model_validate_json(json.dumps(merged, default=str))  # type: ignore[valid-type]
    except RecursionError:
        raise NlkitError(f"{source}: keys or lists lie too deep in one another") from None
    except ValidationError as error:
        raise NlkitError(f"{source}: {first_problem(error)}") from None
    except (NlkitError, ValueError) as error:
        raise NlkitError(f"{source}: {error}") from None


def _method_section(method: Any) -> type[registry.MethodParams]:
    """The type of the section `method`, which its key `name` tells."""
    if not isinstance(method, Mapping):
        return registry.MethodParams  # a mistake, of which the validation tells
    if "name" not in method:
        raise NlkitError("key 'method.name' is missing")
    return registry.find(str(method["name"])).params


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        branch = tree.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise NlkitError(f"key '{dotted}': '{parent}' holds a value, not a group of keys")
        tree = branch
    if isinstance(value, Mapping) and isinstance(tree.get(last), dict):
        for key, inner in value.items():
            _assign(tree[last], str(key), inner)
    else:
        tree[last] = value


def first_problem(error: ValidationError) -> str:
    """What is wrong first, in one line that names the key and its value."""
    first = error.errors(include_url=False)[0]
    forms = {"strong", "contrast_strong", "encoder", "noise", "data", "views", "model"}  # the kind follows these
    key = ".".join(str(part) for before, part in itertools.pairwise(("", *first["loc"])) if before not in forms)
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):  # of what tells the other keys of a section
        context = first["ctx"]
        key = f"{key}.{context['discriminator'].strip(chr(39))}"
        if "tag" in context:
            return f"key '{key}' is '{context['tag']}': expected one of {context['expected_tags']}"
    if first["type"] in ("missing", "union_tag_not_found"):
        return f"key '{key}' is missing"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}' (value {first['input']!r:.200}); remove it or correct its spelling"
    message = first["msg"].removeprefix("Value error, ")
    return f"key '{key}' is {first['input']!r:.200}: {message}" if key else message


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
            raise NlkitError(f"{wrong}: there is no file {path}; call it inside the project (papermill: --cwd DIR)")
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
        if any(key.tag.endswith(":merge") for key, _ in node.value):
            raise yaml.YAMLError("the merge key << is refused; write its keys out")
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
            raise yaml.YAMLError(f"key '{keys.most_common(1)[0][0]}' is given twice")
        return mapping


_YamlLoader.add_implicit_resolver("!exponent", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
_YamlLoader.add_constructor("!exponent", lambda loader, node: float(node.value))
